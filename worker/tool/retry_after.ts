// Reads a Retry-After header (RFC 9110 section 10.2.3): seconds, or an HTTP date.
// Used by http tools and by model adapters. Pure: the present comes in.

import { HOUR, SECOND } from "../../kit/units.ts";

/** Longest wait that is believed. */
const WAIT_MS_MAX = 24 * HOUR;

/** Milliseconds to wait; undefined if the header is absent or says neither seconds nor a date. */
export function retryAfterMs(header: string | null | undefined, nowMs: number): number | undefined {
  if (header === null || header === undefined) return undefined;
  const text = header.trim();
  const waitMs = /^\d{1,9}(\.\d{1,3})?$/.test(text) ? Number(text) * SECOND : Date.parse(text) - nowMs;
  if (Number.isNaN(waitMs)) return undefined;
  return Math.min(Math.max(Math.round(waitMs), 0), WAIT_MS_MAX);
}

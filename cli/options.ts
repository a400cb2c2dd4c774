// Parsers of option values that several verbs share.
// Called by the verbs through commander. Pure.
// A value that does not fit is a usage error that names the option.

import { parseDuration } from "../kit/units.ts";
import { UsageError } from "./failure.ts";

/** For options that may be repeated. */
export function collect(value: string, earlier: string[] = []): string[] {
  return [...earlier, value];
}

/** For repeatable key=value options. */
export function collectPairs(
  value: string,
  earlier: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  const equals = value.indexOf("=");
  if (equals <= 0) throw new UsageError(`"${value}" is not key=value`);
  return Object.fromEntries([...Object.entries(earlier), [value.slice(0, equals), value.slice(equals + 1)]]);
}

/** For --limit: a whole number from 1 to 10,000. */
export function parseLimit(value: string): number {
  if (!/^\d{1,5}$/.test(value) || Number(value) < 1 || Number(value) > 10_000) {
    throw new UsageError(`--limit ${value}: use a whole number from 1 to 10000`);
  }
  return Number(value);
}

/** For --since and --until: RFC 3339, or a duration back from now such as 15m. Milliseconds since the epoch. */
export function parseMoment(option: string, value: string, nowMs: number): number {
  const back = parseDuration(value);
  if (back !== undefined) return nowMs - back;
  const moment = /^\d{4}-\d{2}-\d{2}/.test(value) ? Date.parse(value) : Number.NaN;
  if (Number.isNaN(moment)) {
    throw new UsageError(`${option} ${value}: use a duration such as 15m or a time such as 2030-01-31T12:00:00Z`);
  }
  return moment;
}

// The W3C trace context: read from a caller's traceparent, written into one, and the ids that everybody who knows what a span is
// about gives it alike.
// Called where runs are made, where workers and agents are told their trace, and where spans are made. Pure.
// Never believes more of a header than its form: a trace id links records, it grants nothing.

import { sha256 } from "./json.ts";

/** A place in a trace. */
export interface TraceContext {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits. */
  readonly spanId: string;
  /** Whether spans of the trace are recorded. */
  readonly sampled: boolean;
}

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-|$)/;
const NO_TRACE = "0".repeat(32);
const NO_SPAN = "0".repeat(16);
const SAMPLED = 1;

/** What a traceparent header says; undefined for none and for one that is not of the form. */
export function traceContextIn(header: string | null | undefined): TraceContext | undefined {
  const found = header == null || header.startsWith("ff") ? null : TRACEPARENT.exec(header);
  const [, traceId = NO_TRACE, spanId = NO_SPAN, flags = "00"] = found ?? [];
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 };
}

/** The traceparent header of a place in a trace. */
export function traceparentOf({ traceId, spanId, sampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
}

/** The trace id of a run that was invoked outside of any trace: 32 hex digits, always the same for its id. */
export function traceIdOf(runId: string): string {
  return hexOf(`trace of ${runId}`, NO_TRACE.length);
}

/** Id of the span of what the text names: always the same, so that replicas agree on it without a word. */
export function spanIdOf(text: string): string {
  return hexOf(`span of ${text}`, NO_SPAN.length);
}

/** What names the span of one lease of a task. */
export interface LeaseName {
  readonly taskId: string;
  readonly attempt: number;
  readonly delivery: number;
  readonly sessionId: string;
}

/** Id of the span of a lease, which what its worker does is part of. */
export function leaseSpanId({ taskId, attempt, delivery, sessionId }: LeaseName): string {
  return spanIdOf(`${taskId}/${attempt}/${delivery}/${sessionId}`);
}

function hexOf(text: string, digits: number): string {
  return sha256(text).slice("sha256:".length, "sha256:".length + digits);
}

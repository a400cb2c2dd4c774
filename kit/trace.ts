// Trace ids of the W3C trace context: taken from a caller's traceparent header, or made from a run's id.
// Called by rpc/workflow_service.ts, by the commands that make runs, and where an agent is told its trace. Pure.
// Never believes more of the header than its form: a trace id links records, it grants nothing.

import { sha256 } from "./json.ts";

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-|$)/;
const NO_TRACE = "0".repeat(32);

/** The trace id in a traceparent header; undefined for none and for one that is not of the form. */
export function traceIdIn(header: string | null): string | undefined {
  const id = header === null || header.startsWith("ff") ? undefined : TRACEPARENT.exec(header)?.[1];
  return id === NO_TRACE ? undefined : id;
}

/** The trace id of a run that was invoked outside of any trace: 32 hex digits, always the same for its id. */
export function traceIdOf(runId: string): string {
  return sha256(`trace of ${runId}`).slice("sha256:".length, "sha256:".length + 32);
}

/** A traceparent header for something that is done in a trace: its span is always the same for the same text. */
export function traceparentOf(traceId: string, span: string): string {
  const spanId = sha256(`span of ${span}`).slice("sha256:".length, "sha256:".length + 16);
  return `00-${traceId}-${spanId}-01`;
}

// The trace that the calling program is in, if it traces with OpenTelemetry: so that a run continues the trace of its caller.
// Called by client.ts for each invocation. OpenTelemetry is no dependency: its API registers itself in one global place, and what is there
// is asked. Never throws: a trace is not worth an invocation.

/** Where the API of OpenTelemetry, in all versions 1, registers what a program set up. */
const API = Symbol.for("opentelemetry.js.api.1");

interface Registered {
  readonly context?: { active(): unknown };
  readonly propagation?: {
    inject(context: unknown, carrier: Record<string, string>, setter: { set: typeof setMember }): void;
  };
}

/** W3C trace context of the span that is active now; empty if there is none, or nothing is set up to pass it on. */
export function activeTraceparent(): string {
  const { context, propagation } = (globalThis as { [API]?: Registered })[API] ?? {};
  if (context === undefined || propagation === undefined) return "";
  const carrier: Record<string, string> = {};
  try {
    propagation.inject(context.active(), carrier, { set: setMember });
  } catch {
    return "";
  }
  return carrier["traceparent"] ?? "";
}

function setMember(carrier: Record<string, string>, name: string, value: string): void {
  carrier[name] = value;
}

// What a span is, and what takes spans that have ended: the seam between those who know what happened and the room that exports it.
// Made by server/telemetry and worker/telemetry; the room tracing implements the sink. Holds no behaviour.
// A span never holds a secret, an argument, a result, a prompt, or the message of a failure: names, classes, counts and sizes only.

/** Facts of a span. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

/** Something that happened in a span. */
export interface SpanEvent {
  readonly name: string;
  /** Since the epoch, in ms. */
  readonly timeMs: number;
  readonly attributes?: SpanAttributes;
}

/** A span that this one belongs to beside its parent, such as that of an earlier attempt. */
export interface SpanLink {
  readonly traceId: string;
  readonly spanId: string;
  readonly attributes?: SpanAttributes;
}

/** A span that has ended. */
export interface EndedSpan {
  readonly name: string;
  readonly kind: "internal" | "server" | "client" | "consumer";
  readonly traceId: string;
  readonly spanId: string;
  /** Absent: the root of its trace. */
  readonly parentSpanId?: string;
  /** Since the epoch, in ms, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: SpanAttributes;
  readonly events?: readonly SpanEvent[];
  readonly links?: readonly SpanLink[];
  /** Class of what went wrong; absent: nothing did. */
  readonly error?: string;
}

/** Takes spans of traces that are sampled. */
export interface SpanSink {
  /** Never throws and never waits; spans beyond a bound are dropped. */
  add(span: EndedSpan): void;
  /** Sends what is left, within a bounded time; never rejects. */
  close(): Promise<void>;
}

// Sends spans by OTLP: the one place where OpenTelemetry packages are loaded, and only once tracing is switched on.
// Opened by the server's main.ts and by a worker that starts. Spans arrive ended; batching, retries and the wire are the packages'.
// Nothing global of OpenTelemetry is touched: a program that embeds a worker may trace with settings of its own.

import type { HrTime, SpanContext, SpanKind } from "@opentelemetry/api";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import type { Clock } from "../kit/clock.ts";
import { DomainError, messageOf } from "../kit/errors.ts";
import type { EndedSpan, SpanAttributes, SpanSink } from "../kit/spans.ts";
import { SECOND } from "../kit/units.ts";
import type { TracingSettings } from "./settings.ts";

/** The packages and their versions, as a person installs them. */
export const PACKAGES =
  "@opentelemetry/api@1.10.0 @opentelemetry/sdk-trace@3.1.1 @opentelemetry/exporter-trace-otlp-proto@0.301.1";
/** Longest time that the last spans get when a process ends. */
const CLOSE_MS_MAX = 5 * SECOND;
/** Least time between two words about spans that cannot be sent. */
const TROUBLE_MS = 60 * SECOND;
const MESSAGE_CHARACTERS_MAX = 300;
const SAMPLED = 1;
// As the API numbers them.
const KINDS: Readonly<Record<EndedSpan["kind"], SpanKind>> = { internal: 0, server: 1, client: 2, consumer: 4 };
const STATUS = { unset: 0, error: 2 } as const;

/** What a sink is given beside its settings. */
export interface SinkOptions {
  readonly clock: Clock;
  /** Told when spans could not be sent, at most once a minute. */
  readonly onTrouble: (message: string, spans: number) => void;
  /** How the packages are loaded; by import unless a test says otherwise. */
  readonly load?: () => Promise<Packages>;
}

/** What is used of the packages. */
export type Packages = Pick<typeof import("@opentelemetry/sdk-trace"), "BatchSpanProcessor"> &
  Pick<typeof import("@opentelemetry/exporter-trace-otlp-proto"), "OTLPTraceExporter">;

/**
 * A sink.
 *
 * @throws DomainError CONFIG_INVALID when the packages are not installed.
 */
export async function openSpans(settings: TracingSettings, options: SinkOptions): Promise<SpanSink> {
  const { BatchSpanProcessor, OTLPTraceExporter } = await loaded(options.load ?? loadPackages);
  const processor = new BatchSpanProcessor({
    exporter: watched(new OTLPTraceExporter(), options),
    scheduledDelayMillis: settings.delayMs,
    maxQueueSize: settings.waitingMax,
  });
  const origin = originOf(settings);
  return {
    add: (span) => processor.onEnd(readable(span, origin)),
    async close() {
      const waited = new AbortController();
      const ended = processor.shutdown().catch(() => {});
      await Promise.race([ended, options.clock.sleep(CLOSE_MS_MAX, waited.signal)]);
      waited.abort();
    },
  };
}

async function loadPackages(): Promise<Packages> {
  const [{ BatchSpanProcessor }, { OTLPTraceExporter }] = await Promise.all([
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/exporter-trace-otlp-proto"),
  ]);
  return { BatchSpanProcessor, OTLPTraceExporter };
}

async function loaded(load: () => Promise<Packages>): Promise<Packages> {
  try {
    return await load();
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_MODULE_NOT_FOUND") throw error;
    const message = `ORLOJ_TRACING is otlp, and the packages for it are not installed: npm install ${PACKAGES}, or set ORLOJ_TRACING=off`;
    throw new DomainError("CONFIG_INVALID", message, {}, error);
  }
}

// The exporter tells nobody but its caller that it failed.
function watched(exporter: SpanExporter, { clock, onTrouble }: SinkOptions): SpanExporter {
  let lost = 0;
  let quietUntilMs = 0;
  return {
    export(spans, done) {
      exporter.export(spans, (result) => {
        if (result.error !== undefined) {
          lost += spans.length;
          if (clock.monotonic() >= quietUntilMs) {
            quietUntilMs = clock.monotonic() + TROUBLE_MS;
            onTrouble(messageOf(result.error).slice(0, MESSAGE_CHARACTERS_MAX), lost);
            lost = 0;
          }
        }
        done(result);
      });
    },
    shutdown: () => exporter.shutdown(),
  };
}

type Origin = Pick<ReadableSpan, "resource" | "instrumentationScope">;

function originOf({ serviceName, resource }: TracingSettings): Origin {
  const attributes = { "process.pid": process.pid, ...resource, "service.name": serviceName };
  const own: Origin["resource"] = {
    attributes,
    getRawAttributes: () => Object.entries(attributes),
    merge: (other) => other ?? own,
  };
  return { resource: own, instrumentationScope: { name: "orloj" } };
}

function readable(span: EndedSpan, origin: Origin): ReadableSpan {
  const { traceId, parentSpanId, startMs } = span;
  const endMs = Math.max(span.endMs, startMs);
  const context = contextOf(traceId, span.spanId);
  return {
    ...origin,
    name: span.name,
    kind: KINDS[span.kind],
    spanContext: () => context,
    ...(parentSpanId !== undefined && { parentSpanContext: contextOf(traceId, parentSpanId) }),
    startTime: hrTime(startMs),
    endTime: hrTime(endMs),
    duration: hrTime(endMs - startMs),
    ended: true,
    status: span.error === undefined ? { code: STATUS.unset } : { code: STATUS.error, message: span.error },
    attributes: attributesOf(span),
    links: (span.links ?? []).map((link) => ({
      context: contextOf(link.traceId, link.spanId),
      ...(link.attributes && { attributes: { ...link.attributes } }),
    })),
    events: (span.events ?? []).map(({ name, timeMs, attributes = {} }) => ({
      name,
      time: hrTime(timeMs),
      attributes: { ...attributes },
    })),
    ...{ droppedAttributesCount: 0, droppedEventsCount: 0, droppedLinksCount: 0 },
  };
}

function attributesOf({ attributes, error }: EndedSpan): SpanAttributes {
  return error === undefined ? attributes : { ...attributes, "error.type": error };
}

function contextOf(traceId: string, spanId: string): SpanContext {
  return { traceId, spanId, traceFlags: SAMPLED };
}

// Seconds and nanoseconds; a number of ms has room for microseconds.
function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / SECOND);
  return [seconds, Math.round((ms - seconds * SECOND) * 1_000) * 1_000];
}

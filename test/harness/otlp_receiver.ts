// A collector for tests: takes OTLP over HTTP in protobuf, as the product sends it, and keeps the spans.
//
//   const collector = await startOtlpReceiver();
//   … ORLOJ_TRACING=otlp, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url …
//   const spans = await collector.waitFor((all) => all.some(({ name }) => name === "run x"));
//
// Reads the wire by the field numbers of opentelemetry/proto/trace/v1, with a reader of its own: the exporter's code is not trusted to
// check itself. Closed at the end of the test file.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { atEndOfFile } from "./cleanup.ts";

/** A value of an attribute. */
export type AttributeValue = string | number | boolean | undefined;

/** A span as it arrived. */
export interface ReceivedSpan {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty: the root. */
  readonly parentSpanId: string;
  readonly name: string;
  /** 1 internal, 2 server, 3 client, 5 consumer. */
  readonly kind: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly events: readonly { readonly name: string; readonly attributes: Readonly<Record<string, AttributeValue>> }[];
  readonly links: readonly { readonly spanId: string; readonly attributes: Readonly<Record<string, AttributeValue>> }[];
  /** Empty: no error. */
  readonly error: string;
}

/** See the file header. */
export interface OtlpReceiver {
  readonly url: string;
  /** Spans so far. */
  readonly spans: readonly ReceivedSpan[];
  /** Requests so far, to any path. */
  readonly requests: number;
  /** Resolves with all spans once they fit; rejects after 20 s with what came. */
  waitFor(fits: (spans: readonly ReceivedSpan[]) => boolean): Promise<readonly ReceivedSpan[]>;
}

const WAIT_MS = 20_000;

/** Starts one on a free port of 127.0.0.1. */
export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const watchers = new Set<() => void>();
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => void chunks.push(chunk));
    request.on("end", () => {
      const isTraces = request.url === "/v1/traces" && request.headers["content-type"] === "application/x-protobuf";
      if (isTraces) spans.push(...spansOf(Buffer.concat(chunks)));
      response.writeHead(isTraces ? 200 : 404, { "content-type": "application/x-protobuf" }).end();
      for (const watcher of [...watchers]) watcher();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEndOfFile(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    get requests() {
      return requests;
    },
    waitFor: (fits) =>
      new Promise((resolve, reject) => {
        const end = () => {
          clearTimeout(timer);
          watchers.delete(look);
        };
        const timer = setTimeout(() => {
          end();
          const seen = spans.map(
            ({ service, name, spanId, parentSpanId }) => `${service} ${name} ${spanId} < ${parentSpanId}`,
          );
          reject(new Error(`no fitting spans within ${WAIT_MS} ms; seen:\n${seen.join("\n")}`));
        }, WAIT_MS);
        const look = () => {
          if (!fits(spans)) return;
          end();
          resolve([...spans]);
        };
        watchers.add(look);
        look();
      }),
  };
}

/** The spans below another one, and so on, as `name` with indented parts, sorted by their beginning. */
export function treeOf(spans: readonly ReceivedSpan[], parentSpanId: string, depth = 0): string[] {
  return spans
    .filter((span) => span.parentSpanId === parentSpanId)
    .sort((a, b) => Number(a.startNs - b.startNs))
    .flatMap(({ name, spanId }) => [`${"  ".repeat(depth)}${name}`, ...treeOf(spans, spanId, depth + 1)]);
}

type Fields = Map<number, (Uint8Array | bigint)[]>;

// A message as its fields; numbers of any kind as bigint, of a double its bits.
function fieldsOf(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields: Fields = new Map();
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    let value: Uint8Array | bigint;
    if (type === WireType.LengthDelimited) value = reader.bytes();
    else if (type === WireType.Bit64) value = BigInt(reader.fixed64());
    else if (type === WireType.Bit32) value = BigInt(reader.fixed32());
    else value = BigInt(reader.uint64());
    fields.set(number, [...(fields.get(number) ?? []), value]);
  }
  return fields;
}

function messages(fields: Fields, number: number): Fields[] {
  return (fields.get(number) ?? []).map((value) => fieldsOf(value as Uint8Array));
}

function text(fields: Fields, number: number): string {
  const [value] = fields.get(number) ?? [];
  return value === undefined ? "" : Buffer.from(value as Uint8Array).toString("utf8");
}

function hex(fields: Fields, number: number): string {
  const [value] = fields.get(number) ?? [];
  return value === undefined ? "" : Buffer.from(value as Uint8Array).toString("hex");
}

function whole(fields: Fields, number: number): bigint {
  const [value] = fields.get(number) ?? [];
  return typeof value === "bigint" ? value : 0n;
}

function attributesOf(fields: Fields, number: number): Record<string, AttributeValue> {
  return Object.fromEntries(
    messages(fields, number).map((pair) => [text(pair, 1), attributeValue(messages(pair, 2)[0])]),
  );
}

function attributeValue(value: Fields | undefined): AttributeValue {
  if (value === undefined) return undefined;
  if (value.has(1)) return text(value, 1);
  if (value.has(2)) return whole(value, 2) === 1n;
  if (value.has(3)) return Number(BigInt.asIntN(64, whole(value, 3)));
  const bits = new DataView(new ArrayBuffer(8));
  bits.setBigUint64(0, BigInt.asUintN(64, whole(value, 4)));
  return bits.getFloat64(0);
}

function spansOf(body: Uint8Array): ReceivedSpan[] {
  return messages(fieldsOf(body), 1).flatMap((resourceSpans) => {
    const resource = messages(resourceSpans, 1)[0];
    const service = String(resource && attributesOf(resource, 1)["service.name"]);
    return messages(resourceSpans, 2).flatMap((scopeSpans) =>
      messages(scopeSpans, 2).map((span): ReceivedSpan => {
        const status = messages(span, 15)[0];
        return {
          ...{ service, traceId: hex(span, 1), spanId: hex(span, 2), parentSpanId: hex(span, 4), name: text(span, 5) },
          ...{ kind: Number(whole(span, 6)), startNs: whole(span, 7), endNs: whole(span, 8) },
          attributes: attributesOf(span, 9),
          events: messages(span, 11).map((event) => ({ name: text(event, 2), attributes: attributesOf(event, 3) })),
          links: messages(span, 13).map((link) => ({ spanId: hex(link, 2), attributes: attributesOf(link, 4) })),
          error: status === undefined || whole(status, 3) !== 2n ? "" : text(status, 2),
        };
      }),
    );
  });
}

// A local server that plays a model provider, and the request that a turn is asked with.
// Called by the tests of the model adapters. Keeps every request that it got; closes with the test.

import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import type { Json, JsonObject } from "../../kit/json.ts";
import type { ModelRequest } from "../../worker/model/adapter.ts";
import { startLoopbackServer } from "../harness/loopback_server.ts";

/** One request as it came in. */
export interface SeenRequest {
  readonly path: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: JsonObject;
}

/** A request for a turn, with what a test changes. */
export function modelRequest(changes: Partial<ModelRequest> = {}): ModelRequest {
  return {
    model: { provider: "scripted", name: "m", hasSecretRef: false, script: [] },
    secret: "",
    headers: {},
    systemPrompt: "be brief",
    messages: [{ role: "user", text: "hello" }],
    tools: [],
    turn: 1,
    input: { question: "why" },
    results: {},
    signal: new AbortController().signal,
    ...changes,
  };
}

/** Starts a server that answers so; `url` is its base, `seen` what it was asked. */
export async function modelServer(answer: (response: ServerResponse, request: IncomingMessage) => void) {
  const seen: SeenRequest[] = [];
  const base = await startLoopbackServer((incoming, response) => {
    let text = "";
    incoming.on("data", (chunk) => {
      text += chunk;
    });
    incoming.on("end", () => {
      seen.push({ path: incoming.url, headers: incoming.headers, body: JSON.parse(text) as JsonObject });
      answer(response, incoming);
    });
  });
  return { seen, url: `${base}/v1` };
}

/** Streams events as providers do, in pieces that end anywhere: each write is `size` bytes. */
export function streams(events: readonly Json[], size = 7, tail = "data: [DONE]\n\n") {
  return (response: ServerResponse) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    const text = events.map((event) => `event: x\r\ndata: ${JSON.stringify(event)}\r\n\r\n`).join("") + tail;
    const bytes = Buffer.from(`: hello\n\n${text}`);
    for (let at = 0; at < bytes.length; at += size) response.write(bytes.subarray(at, at + size));
    response.end();
  };
}

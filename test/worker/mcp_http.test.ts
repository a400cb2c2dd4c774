// The mcp tool over streamable HTTP, against servers that a test plays: classes of what they answer, where no request goes, what is
// cut off, and that a session ends with its call.

import type { RequestListener, ServerResponse } from "node:http";
import { expect, test } from "vitest";
import { startLoopbackServer } from "../harness/loopback_server.ts";
import { failure, remote, callMcp as run } from "./mcp_calls.ts";

async function endpoint(listener: RequestListener) {
  const seen: { method: string | undefined; headers: Record<string, unknown> }[] = [];
  const base = await startLoopbackServer((request, response) => {
    seen.push({ method: request.method, headers: request.headers });
    listener(request, response);
  });
  return { seen, url: `${base}/mcp` };
}

test.each<[number, Record<string, string>, string]>([
  [401, {}, "Http4xx"],
  [429, { "retry-after": "2" }, "RateLimited"],
  [500, {}, "Http5xx"],
  [503, { "retry-after": "2" }, "Http503"],
  [200, { "content-type": "text/html" }, "ResponseInvalid"],
])("%i %o before the call is %s without effect", async (status, headers, failureClass) => {
  const server = await endpoint((_, response) => response.writeHead(status, headers).end("no"));
  const result = await run(remote(server.url, { "x-token": "t-1" }), "t");
  expect(result).toMatchObject(failure(failureClass, false));
  if (failureClass === "RateLimited") expect(result).toMatchObject({ failure: { retryAfterMs: 2_000 } });
  expect(server.seen[0]).toMatchObject({ method: "POST", headers: { "x-token": "t-1" } });
});

test("a redirect to another origin gets no request, and an answer without end is cut off", async () => {
  const other = await endpoint((_, response) => response.end());
  const moved = await endpoint((_, response) => response.writeHead(307, { location: other.url }).end());
  expect((await run(remote(moved.url), "t")).ok).toBe(false);
  expect(other.seen).toEqual([]);
  const flood = await endpoint((_, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    const more = () => {
      while (!response.destroyed && response.write("[".repeat(65_536)));
      if (!response.destroyed) response.once("drain", more);
    };
    more();
  });
  expect(await run(remote(flood.url), "t")).toMatchObject(failure("ResponseTooLarge", true));
});

/** A server that gives a session, answers calls of "t", holds all others, and says what came in; DELETE is answered as told. */
async function sessions(farewell: (response: ServerResponse) => void) {
  const seen: string[] = [];
  const held = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  const base = await startLoopbackServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const { id, method, params } = JSON.parse(text || "{}");
    seen.push(`${method ?? request.method} ${request.headers["mcp-session-id"] ?? "-"}`);
    if (request.method === "DELETE") return farewell(response);
    if (request.method === "GET") return response.writeHead(405).end();
    if (id === undefined) return response.writeHead(202).end();
    if (method === "tools/call" && params.name !== "t") {
      response.once("close", gone.resolve);
      return held.resolve();
    }
    const told = {
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: "s", version: "1" },
    };
    const result = method === "initialize" ? told : { content: [], isError: params.arguments.fail === true };
    response.writeHead(200, { "content-type": "application/json", "mcp-session-id": "s-1" });
    return response.end(JSON.stringify({ jsonrpc: "2.0", id, result }));
  });
  return { seen, held: held.promise, gone: gone.promise, url: `${base}/mcp` };
}

test("a session ends with its call, whatever became of it", async () => {
  const server = await sessions((response) => response.writeHead(200).end());
  const ended = () => server.seen.filter((one) => one === "DELETE s-1").length;
  expect(await run(remote(server.url), "t")).toMatchObject({ ok: true });
  expect(ended()).toBe(1);
  expect(await run(remote(server.url), "t", { fail: true })).toMatchObject(failure("McpError", false));
  expect(ended()).toBe(2);
  const controller = new AbortController();
  const stopped = run(remote(server.url), "hang", {}, { signal: controller.signal });
  await server.held;
  controller.abort();
  expect(await stopped).toMatchObject(failure("Cancelled", true));
  await server.gone;
  expect(ended()).toBe(3);
});

test.each<[string, (response: ServerResponse) => void]>([
  ["does not know how", (response) => response.writeHead(405).end()],
  ["breaks the connection", (response) => response.destroy()],
  ["never answers", () => {}],
])("a server that ends its session badly takes no result back: it %s", async (_, farewell) => {
  const server = await sessions(farewell);
  expect(await run(remote(server.url), "t")).toEqual({ ok: true, result: { text: "" } });
  expect(await run(remote(server.url), "t", { fail: true })).toMatchObject(failure("McpError", false));
});

test("nobody there is ConnectionRefused", async () => {
  expect(await run(remote("http://127.0.0.1:1/mcp"), "t")).toMatchObject(failure("ConnectionRefused", false));
});

// An MCP server over streamable HTTP whose tool makes one request to the counting server: what the conformance suite reaches by URL.
// It hands on the idempotency key and the leaked header that it gets, and gives its request up when its own caller does.

import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { atEndOfFile } from "../harness/cleanup.ts";

/** Starts one; /PATH of its URL calls /PATH of the counting server. */
export async function startMcpEndpoint(sinkUrl: string): Promise<string> {
  const server = createServer(async (incoming, response) => {
    if (incoming.method !== "POST") return response.writeHead(405).end();
    const { id, method, params } = JSON.parse(await textOf(incoming));
    if (id === undefined) return response.writeHead(202).end();
    let result: object = {
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: "effect", version: "1" },
    };
    if (method === "tools/call") {
      const controller = new AbortController();
      response.once("close", () => controller.abort());
      const headers = { "idempotency-key": one(incoming, "idempotency-key"), "x-leak": one(incoming, "x-leak") };
      const asked = await fetch(`${sinkUrl}${incoming.url}`, {
        method: "POST",
        headers,
        signal: controller.signal,
      }).catch(() => undefined);
      if (asked === undefined) return response.destroy();
      result = { isError: !asked.ok, content: [{ type: "text", text: await asked.text() }] };
    }
    response.writeHead(200, { "content-type": "application/json" });
    return response.end(JSON.stringify({ jsonrpc: "2.0", id, result }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEndOfFile(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function one(incoming: IncomingMessage, name: string): string {
  const value = incoming.headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? "";
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of incoming) text += chunk;
  return text;
}

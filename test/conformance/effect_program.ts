// The program behind the command tools and the local MCP servers of the conformance suite: each call of it is one request to the
// counting server, with the request id of the call. Run by workers; knows nothing of the tests.
//
//   node effect_program.ts command PATH     one request; its answer on standard output, exit 1 unless it is 2xx
//   node effect_program.ts mcp PATH         an MCP server whose tool "effect" makes one request

import { createInterface } from "node:readline";

const [mode = "", path = ""] = process.argv.slice(2);
const { SINK = "", LEAK = "" } = process.env;

async function request(key: string): Promise<{ ok: boolean; text: string }> {
  const headers = { "idempotency-key": key, "x-leak": LEAK };
  const response = await fetch(`${SINK}${path}`, { method: "POST", headers });
  return { ok: response.ok, text: await response.text() };
}

function say(message: object): void {
  process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
}

if (mode === "command") {
  const { ok, text } = await request(process.env["ORLOJ_REQUEST_ID"] ?? "");
  process.stdout.write(text);
  process.exitCode = ok ? 0 : 1;
} else {
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, method, params } = JSON.parse(line);
    if (method === "initialize") {
      const serverInfo = { name: "effect", version: "1" };
      say({ id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo } });
    }
    if (method !== "tools/call") continue;
    const { ok, text } = await request(params._meta["orloj.dev/request-id"]);
    say({ id, result: { isError: !ok, content: [{ type: "text", text }] } });
  }
}

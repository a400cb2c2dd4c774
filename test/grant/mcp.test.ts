// Calls of MCP servers: the server and its tool are the manifest's, the arguments the model's.

import { expect, test } from "vitest";
import type { Json } from "../../kit/json.ts";
import { renderMeans } from "../../server/grant/render.ts";
import type { ToolSpec } from "../../server/manifests/specs.ts";
import { mcpTool } from "./render_fixtures.ts";

const CALL = { requestId: "auto:task_1/2/0", nowMs: 0 };
const SECRETS: Record<string, string> = { "git/token": "canary-4711", "git/url": "https://mcp.example" };
const rendered = (tool: ToolSpec, args: Json, secrets = SECRETS) =>
  renderMeans(tool, args, (name, key) => secrets[`${name}/${key}`], CALL);

test("a process gets its command as it is written, secrets in its environment, and the request id", () => {
  const tool = mcpTool({
    local: { argv: ["git-mcp", "--stdio"], env: { TOKEN: "${{ secret.git.token }}" }, workDir: "repo" },
    tool: "search",
  });
  expect(rendered(tool, { q: "a" })).toEqual({
    ok: true,
    secrets: ["canary-4711"],
    means: {
      kind: "mcp",
      server: {
        kind: "local",
        argv: ["git-mcp", "--stdio"],
        env: { TOKEN: "canary-4711", ORLOJ_REQUEST_ID: CALL.requestId },
        workDir: "repo",
      },
      tool: "search",
      arguments: { q: "a" },
      requestId: CALL.requestId,
    },
  });
});

test("an address gets its headers, and the request id in the header that the tool declares", () => {
  const headers = { Authorization: "Bearer ${{ secret.git.token }}" };
  const remote = { url: "${{ secret.git.url }}/mcp", headers, allowPrivateNetwork: false };
  const tool = mcpTool({ remote, tool: "search", arguments: { query: "${{ args.q }}", limit: 5 } });
  expect(rendered(tool, { q: "a" })).toMatchObject({
    means: {
      server: {
        kind: "remote",
        url: "https://mcp.example/mcp",
        headers: { Authorization: "Bearer canary-4711", "Idempotency-Key": CALL.requestId },
      },
      arguments: { query: "a", limit: 5 },
    },
  });
});

test("nothing is inserted into a command, headers hold no control characters, arguments are an object", () => {
  const refused: [ToolSpec, Json, string][] = [
    [mcpTool({ local: { argv: ["x", "${{ args.q }}"], env: {} }, tool: "t" }), { q: "--evil" }, "ToolInvalid"],
    [
      mcpTool({
        remote: { url: "https://x/y", headers: { A: "${{ args.q }}" }, allowPrivateNetwork: false },
        tool: "t",
      }),
      { q: "a\r\nB: c" },
      "InvalidArguments",
    ],
    [mcpTool({ local: { argv: ["x"], env: { A: "${{ args.q }}" } }, tool: "t" }), { q: "a\0b" }, "InvalidArguments"],
    [mcpTool({ local: { argv: ["x"], env: {} }, tool: "t", arguments: "${{ args.q }}" }), { q: "text" }, "ToolInvalid"],
  ];
  for (const [tool, args, failureClass] of refused) {
    expect(rendered(tool, args)).toMatchObject({ ok: false, class: failureClass });
  }
});

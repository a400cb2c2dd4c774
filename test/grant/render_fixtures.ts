// Builders of tool specs for the grant tests.
// Called by test/grant/*.test.ts.

import type { Json } from "../../kit/json.ts";
import type { ToolSpec } from "../../server/manifests/specs.ts";

const BASE = {
  description: "",
  inputSchema: { type: "object" },
  effect: "write",
  guarded: false,
  idempotency: { mode: "cached", header: "Idempotency-Key", onUnknownOutcome: "deadLetter" },
  retry: { on: [], maxAttempts: 1, backoff: { initialMs: 1, maxMs: 1, factor: 1, jitter: "none" } },
  timeoutMs: 1_000,
} as const;

/** An http tool: POST to the URL. */
export function httpTool(
  url: string,
  more: { headers?: Record<string, string>; body?: Json; effect?: ToolSpec["effect"] } = {},
): ToolSpec {
  const { effect = "write", headers = {}, ...body } = more;
  return { ...BASE, type: "http", effect, http: { method: "POST", url, headers, allowPrivateNetwork: false, ...body } };
}

/** A command tool. */
export function commandTool(
  argv: string[],
  more: { stdin?: Json; env?: Record<string, string>; workDir?: string } = {},
): ToolSpec {
  const { env = {}, ...rest } = more;
  return { ...BASE, type: "command", command: { argv, env, maxOutputBytes: 1_000, ...rest } };
}

/** A webhook tool. */
export function webhookTool(more: Partial<NonNullable<ToolSpec["webhook"]>> = {}): ToolSpec {
  const url = "${{ secret.crm.url }}/hooks/${{ args.id }}";
  const signingSecret = "${{ secret.crm.signing }}";
  const webhook = { url, signingSecret, events: ["refund.created"], allowPrivateNetwork: false, ...more };
  return { ...BASE, type: "webhook", webhook };
}

/** A database tool: a Postgres whose address is a secret. */
export function databaseTool(more: Partial<NonNullable<ToolSpec["database"]>> = {}): ToolSpec {
  const statement = "select * from orders where id = $1 and region = $2";
  const parameters = ["${{ args.id }}", "eu-${{ args.region }}"];
  const bounds = { access: "readOnly", maxRows: 50, allowPrivateNetwork: true } as const;
  const database = {
    driver: "postgres",
    dsn: "${{ secret.shop.dsn }}",
    statement,
    parameters,
    ...bounds,
    ...more,
  } as const;
  return { ...BASE, type: "database", database };
}

/** An mcp tool. */
export function mcpTool(mcp: NonNullable<ToolSpec["mcp"]>): ToolSpec {
  return { ...BASE, type: "mcp", mcp };
}

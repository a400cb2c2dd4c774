// Renders a tool, arguments and secrets into the concrete means of one granted call.
// Called by commands/authorize_tool_call after policy allowed, with arguments that fit the tool's input schema.
// Pure: secrets come in by a function; nothing is sent, logged or kept. A failure's message never holds a value.
// The same request id reaches the endpoint for every repetition of a call, whatever the tool's effect.

import { type Json, sha256 } from "../../kit/json.ts";
import type { ToolSpec } from "../manifests/specs.ts";
import { RenderError, type RenderFailureClass } from "./pieces.ts";
import { type CommandMeansValue, renderCommand } from "./render_command.ts";
import { type DatabaseMeansValue, renderDatabase } from "./render_database.ts";
import { type HttpMeansValue, renderHttp } from "./render_http.ts";
import { type McpMeansValue, renderMcp } from "./render_mcp.ts";
import { renderWebhook, type WebhookMeansValue } from "./render_webhook.ts";
import { secretBinding, secretsMissing, toolTemplates } from "./templates.ts";

export type { RenderFailureClass } from "./pieces.ts";
export type { CommandMeansValue } from "./render_command.ts";
export type { DatabaseMeansValue } from "./render_database.ts";
export type { HttpMeansValue } from "./render_http.ts";
export type { McpMeansValue } from "./render_mcp.ts";
export type { WebhookMeansValue } from "./render_webhook.ts";
export { secretsMissing, secretsOf } from "./templates.ts";

/** What a grant carries. */
export type MeansValue = HttpMeansValue | CommandMeansValue | WebhookMeansValue | DatabaseMeansValue | McpMeansValue;

/** What a grant carries, or why there is none. */
export type RenderedMeans =
  | {
      readonly ok: true;
      readonly means: MeansValue;
      /** Secret values that the means may hold, each once. */
      readonly secrets: readonly string[];
    }
  | { readonly ok: false; readonly class: RenderFailureClass; readonly message: string };

/**
 * See the file header.
 *
 * @param secrets reads a secret now; undefined if it is nowhere.
 * @param call its request id, and the time of its grant in ms.
 */
export function renderMeans(
  tool: ToolSpec,
  args: Json,
  secrets: (name: string, key: string) => string | undefined,
  call: { readonly requestId: string; readonly nowMs: number },
): RenderedMeans {
  const templates = toolTemplates(tool);
  if (!templates.ok) return { ok: false, class: "ToolInvalid", message: templates.error };
  const { http, command, webhook, database, mcp, secrets: read } = templates.value;
  const { binding, values, missing } = secretBinding(read, secrets);
  if (missing.length > 0) return { ok: false, class: "SecretMissing", message: secretsMissing(missing) };
  const bindings = { args, secret: binding };
  const key = headerSafe(call.requestId);
  try {
    if (tool.http !== undefined && http !== undefined) {
      const means = renderHttp(tool.http, http, bindings, { header: tool.idempotency.header, key });
      return { ok: true, means, secrets: values };
    }
    if (tool.command !== undefined && command !== undefined) {
      return { ok: true, means: renderCommand(tool.command, command, bindings, key), secrets: values };
    }
    if (tool.webhook !== undefined && webhook !== undefined) {
      const { header } = tool.idempotency;
      const means = renderWebhook(tool.webhook, webhook, bindings, { header, key, nowMs: call.nowMs });
      return { ok: true, means, secrets: values };
    }
    if (tool.database !== undefined && database !== undefined) {
      return { ok: true, means: renderDatabase(tool.database, database, bindings, key), secrets: values };
    }
    if (tool.mcp !== undefined && mcp !== undefined) {
      const means = renderMcp(tool.mcp, mcp, bindings, { header: tool.idempotency.header, key });
      return { ok: true, means, secrets: values };
    }
    return { ok: false, class: "ToolInvalid", message: `tools of type ${tool.type} cannot be called` };
  } catch (error) {
    if (error instanceof RenderError) return { ok: false, class: error.failureClass, message: error.message };
    throw error;
  }
}

// A declared key may hold any text; what cannot stand in a header is replaced by its digest, which repeats as well.
function headerSafe(requestId: string): string {
  return /^[\x21-\x7e]{1,255}$/.test(requestId) ? requestId : sha256(requestId);
}

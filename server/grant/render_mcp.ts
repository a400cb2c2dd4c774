// Renders the block of an mcp tool: how its server is started or reached, and the arguments of one call.
// The command and the name of the tool are as the manifest wrote them. Called by render.ts.

import { isJsonObject, type JsonObject } from "../../kit/json.ts";
import type { Bindings } from "../../language/types.ts";
import type { ToolSpec } from "../manifests/specs.ts";
import { evaluationError, RenderError, renderPieces } from "./pieces.ts";
import { REQUEST_ID_VARIABLE, renderEnvironment } from "./render_command.ts";
import { renderHeaders, renderUrl } from "./render_http.ts";
import type { ToolTemplates } from "./templates.ts";

/** What a worker needs to ask an MCP server once. Holds secrets. */
export interface McpMeansValue {
  readonly kind: "mcp";
  readonly server: McpServerValue;
  /** Name of the server's tool. */
  readonly tool: string;
  readonly arguments: JsonObject;
  readonly requestId: string;
}

/** A process to start, or an address to reach. */
export type McpServerValue =
  | {
      readonly kind: "local";
      readonly argv: readonly string[];
      readonly env: Readonly<Record<string, string>>;
      readonly workDir?: string;
    }
  | {
      readonly kind: "remote";
      readonly url: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly allowPrivateNetwork: boolean;
    };

/** Renders one call. @throws RenderError */
export function renderMcp(
  spec: NonNullable<ToolSpec["mcp"]>,
  templates: NonNullable<ToolTemplates["mcp"]>,
  bindings: Bindings,
  call: { readonly header: string; readonly key: string },
): McpMeansValue {
  const server = spec.local
    ? renderLocal(spec.local, templates, bindings, call.key)
    : renderRemote(spec.remote, templates, bindings, call);
  return { kind: "mcp", server, tool: spec.tool, arguments: renderArguments(templates, bindings), requestId: call.key };
}

function renderLocal(
  local: NonNullable<NonNullable<ToolSpec["mcp"]>["local"]>,
  templates: NonNullable<ToolTemplates["mcp"]>,
  bindings: Bindings,
  key: string,
): McpServerValue {
  if (local.argv.some((word) => word.includes("${{"))) {
    throw new RenderError("ToolInvalid", "mcp.command: takes no insertion");
  }
  const env = { ...renderEnvironment("mcp.env", templates.env ?? [], bindings), [REQUEST_ID_VARIABLE]: key };
  const { argv, workDir } = local;
  return { kind: "local", argv, env, ...(workDir !== undefined && { workDir }) };
}

function renderRemote(
  remote: NonNullable<ToolSpec["mcp"]>["remote"],
  templates: NonNullable<ToolTemplates["mcp"]>,
  bindings: Bindings,
  call: { readonly header: string; readonly key: string },
): McpServerValue {
  if (remote === undefined || templates.url === undefined) {
    throw new RenderError("ToolInvalid", "mcp: names neither a command nor a url");
  }
  const url = renderUrl("mcp.url", renderPieces("mcp.url", templates.url, bindings));
  const headers = renderHeaders("mcp.headers", templates.headers ?? [], bindings);
  headers.set(call.header.toLowerCase(), [call.header, call.key]);
  const { allowPrivateNetwork } = remote;
  return { kind: "remote", url, headers: Object.fromEntries(headers.values()), allowPrivateNetwork };
}

function renderArguments(templates: NonNullable<ToolTemplates["mcp"]>, bindings: Bindings): JsonObject {
  if (templates.arguments === undefined) return bindings["args"] as JsonObject;
  const result = templates.arguments.evaluate(bindings);
  if (!result.ok) throw evaluationError("mcp.arguments", templates.arguments, result.error);
  if (isJsonObject(result.value)) return result.value;
  throw new RenderError("ToolInvalid", "mcp.arguments: is no object");
}

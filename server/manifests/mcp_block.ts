// Reads and writes the mcp block of a tool: which server, started by a command or reached at an address, and which of its tools.
// Called by tool.ts. The manifest fixes the server and the tool's name; a model chooses neither. The command takes no insertion:
// secrets reach a server in its environment, arguments in the call.

import type { JsonObject } from "../../kit/json.ts";
import type { Findings } from "./diagnostics.ts";
import { checkTemplate } from "./expressions.ts";
import { compact, Fields } from "./fields.ts";
import { checkSecrets } from "./secret_rule.ts";
import type { ToolSpec } from "./specs.ts";
import { readAddress, readHeaders, TOOL_VARIABLES } from "./tool_address.ts";
import { readArgv, readEnvironment, readWorkDir, refuseInsertions } from "./tool_blocks.ts";
import type { Tree } from "./tree.ts";

const LOCAL = ["command", "env", "workDir"];
const REMOTE = ["url", "headers", "allowPrivateNetwork"];

type Mcp = NonNullable<ToolSpec["mcp"]>;

/** Reads an mcp block. */
export function readMcp(findings: Findings, tree: Tree, path: string): Mcp | undefined {
  const fields = Fields.of(findings, tree, path, [...LOCAL, ...REMOTE, "tool", "arguments"]);
  if (fields === undefined) return undefined;
  const remote = fields.has("url");
  checkUnion(fields, remote);
  const tool = fields.requiredString("tool");
  if (tool !== undefined && (tool === "" || tool.length > 128 || tool.includes("${{"))) {
    const message = "the name of the server's tool is fixed: 1 to 128 characters, no insertion";
    findings.error("E-VALUE", fields.positionOf("tool"), fields.at("tool"), message, "write it out");
  }
  const argumentsTree = fields.get("arguments");
  if (argumentsTree !== undefined) {
    checkTemplate(findings, argumentsTree, fields.at("arguments"), TOOL_VARIABLES);
    checkSecrets(findings, argumentsTree, fields.at("arguments"));
  }
  const args = fields.json("arguments");
  const server = remote ? readRemote(fields) : readLocal(fields);
  if (tool === undefined || server === undefined) return undefined;
  return { ...server, tool, ...(args !== undefined && { arguments: args }) };
}

function checkUnion(fields: Fields, remote: boolean): void {
  if (!remote && !fields.has("command")) {
    const hint = "add command: [program, argument] or url: https://host/mcp";
    fields.findings.error(
      "E-MISSING",
      fields.tree.at,
      fields.path,
      'an MCP server is missing: "command" or "url"',
      hint,
    );
  }
  if (!remote && !fields.has("command")) return;
  for (const key of remote ? LOCAL : REMOTE) {
    if (!fields.has(key)) continue;
    const message = `"${key}" does not belong to a server with ${remote ? "url" : "command"}`;
    fields.findings.error("E-UNION", fields.positionOf(key), fields.at(key), message, "remove it");
  }
}

function readLocal(fields: Fields): Pick<Mcp, "local"> | undefined {
  const tree = fields.get("command");
  const argv = tree && readArgv(fields.findings, tree, fields.at("command"));
  if (tree && argv) refuseInsertions(fields.findings, tree, argv, fields.at("command"), "the command of an MCP server");
  const env = readEnvironment(fields);
  const workDir = readWorkDir(fields);
  return argv && { local: { argv, env, ...(workDir !== undefined && { workDir }) } };
}

function readRemote(fields: Fields): Pick<Mcp, "remote"> | undefined {
  const url = readAddress(fields, "url");
  const tree = fields.get("headers");
  const headers = tree === undefined ? {} : readHeaders(fields.findings, tree, fields.at("headers"));
  const allowPrivateNetwork = fields.boolean("allowPrivateNetwork", false);
  return url === undefined ? undefined : { remote: { url, headers, allowPrivateNetwork } };
}

/** The mcp block as a manifest would say it. */
export function mcpJson({ local, remote, tool, arguments: args }: Mcp): JsonObject {
  const server = local
    ? { command: [...local.argv], env: { ...local.env }, workDir: local.workDir }
    : { url: remote?.url, headers: { ...remote?.headers }, allowPrivateNetwork: remote?.allowPrivateNetwork };
  return compact({ ...server, tool, arguments: args });
}

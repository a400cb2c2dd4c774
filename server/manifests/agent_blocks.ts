// Reads and writes the blocks of the runtimes http, command, and handler, and says which keys of an agent belong to which runtime.
// Called by agent.ts. The rules are those of tools (tool_address.ts, tool_blocks.ts), with less to insert: a secret and nothing else,
// since the input is the body of the request, or standard input. A handler is a name; its code comes with a worker.
// Never renders anything: server/grant does, when a task is claimed.

import type { JsonObject } from "../../kit/json.ts";
import { AGENT_RUNTIMES, type AgentCommand, type AgentHttp, type AgentRuntime, type AgentSpec } from "./agent_spec.ts";
import type { Findings } from "./diagnostics.ts";
import { compact, Fields, readLabel } from "./fields.ts";
import { readAddress, readHeaders } from "./tool_address.ts";
import { readArgv, readEnvironment, readWorkDir, refuseInsertions } from "./tool_blocks.ts";
import type { Tree } from "./tree.ts";

/** What an agent's block may insert. */
export const AGENT_VARIABLES: readonly string[] = ["secret"];
/** Headers of a request to an agent that tell it which task it is, in lower case. */
const TASK_HEADERS = ["idempotency-key", "orloj-task-id", "orloj-run-id", "orloj-attempt"];

const UNGOVERNED = "such an agent calls its tools itself, where no policy holds them: use runtime model or handler";
const CODE = "what a handler says to a model is in its code: remove it or set runtime: model";
const OUTSIDE = "such an agent asks its models itself: remove it or set runtime: model";
/** Keys of a spec that only some runtimes have, with what to do about one elsewhere. */
const OWNED: Readonly<Record<string, Readonly<Partial<Record<AgentRuntime, string>>>>> = {
  systemPrompt: { http: OUTSIDE, command: OUTSIDE, handler: CODE },
  prompt: { http: OUTSIDE, command: OUTSIDE, handler: CODE },
  repairAttempts: { http: OUTSIDE, command: OUTSIDE, handler: CODE },
  tools: { http: UNGOVERNED, command: UNGOVERNED },
};
const LOOP_LIMITS = ["maxTurns", "maxToolCalls"];

/** Which block the runtime has, and that no other block and no key of another runtime is there. */
export function checkRuntime(fields: Fields, runtime: AgentRuntime): void {
  for (const block of AGENT_RUNTIMES) {
    if (block !== runtime && fields.has(block)) misplaced(fields, block, runtime, `remove it or set runtime: ${block}`);
  }
  if (!fields.has(runtime)) fields.missing(runtime);
  for (const [key, hints] of Object.entries(OWNED)) {
    const hint = hints[runtime];
    if (hint !== undefined && fields.has(key)) misplaced(fields, key, runtime, hint);
  }
}

/** Whether agents of the runtime take turns and call tools, and so have limits of both. */
export function takesTurns(runtime: AgentRuntime): boolean {
  return runtime === "model" || runtime === "handler";
}

/** Reports limits of a loop that is not ours. */
export function checkLimits(limits: Fields, runtime: AgentRuntime): void {
  if (takesTurns(runtime)) return;
  const hint = "nobody counts what such an agent does: remove it; timeout and maxOutputBytes hold";
  for (const key of LOOP_LIMITS) if (limits.has(key)) misplaced(limits, key, runtime, hint);
}

function misplaced(fields: Fields, key: string, runtime: AgentRuntime, hint: string): void {
  const message = `"${key}" does not belong to runtime "${runtime}"`;
  fields.findings.error("E-UNION", fields.positionOf(key), fields.at(key), message, hint);
}

/** Reads the block of a runtime that is not a model. */
export function readRuntimeBlock(
  fields: Fields,
  runtime: AgentRuntime,
): Pick<AgentSpec, "http" | "command" | "handler"> {
  const tree = runtime === "model" ? undefined : fields.get(runtime);
  if (tree === undefined) return {};
  const { findings } = fields;
  const path = fields.at(runtime);
  const http = runtime === "http" ? readHttp(findings, tree, path) : undefined;
  const command = runtime === "command" ? readCommand(findings, tree, path) : undefined;
  const handler = runtime === "handler" ? readHandler(findings, tree, path) : undefined;
  return { ...(http && { http }), ...(command && { command }), ...(handler && { handler }) };
}

function readHttp(findings: Findings, tree: Tree, path: string): AgentHttp | undefined {
  const fields = Fields.of(findings, tree, path, ["url", "headers", "allowPrivateNetwork"]);
  if (fields === undefined) return undefined;
  const url = readAddress(fields, "url", AGENT_VARIABLES);
  const headersTree = fields.get("headers");
  const headers =
    headersTree === undefined
      ? {}
      : readHeaders(findings, headersTree, fields.at("headers"), AGENT_VARIABLES, TASK_HEADERS);
  const allowPrivateNetwork = fields.boolean("allowPrivateNetwork", false);
  return url === undefined ? undefined : { url, headers, allowPrivateNetwork };
}

function readCommand(findings: Findings, tree: Tree, path: string): AgentCommand | undefined {
  const fields = Fields.of(findings, tree, path, ["argv", "env", "workDir"]);
  if (fields === undefined) return undefined;
  const argvTree = fields.required("argv");
  const argv = argvTree && readArgv(findings, argvTree, fields.at("argv"));
  if (argvTree && argv) refuseInsertions(findings, argvTree, argv, fields.at("argv"), "the command of an agent");
  const env = readEnvironment(fields, AGENT_VARIABLES);
  const envTree = fields.get("env");
  for (const { key, at } of envTree?.kind === "map" ? envTree.entries : []) {
    if (!key.toUpperCase().startsWith("ORLOJ_")) continue;
    const hint = "the names that begin with ORLOJ_ tell the agent which task it is; take another one";
    findings.error("E-VALUE", at, `${fields.at("env")}.${key}`, `"${key}" is set by the worker`, hint);
  }
  const workDir = readWorkDir(fields);
  return argv && { argv, env, ...(workDir !== undefined && { workDir }) };
}

function readHandler(findings: Findings, tree: Tree, path: string): { readonly name: string } | undefined {
  const fields = Fields.of(findings, tree, path, ["name"]);
  const nameTree = fields?.required("name");
  const name = fields && nameTree && readLabel(findings, nameTree, fields.at("name"));
  return name === undefined ? undefined : { name };
}

/** The blocks of an agent's runtime as a manifest would say them. */
export function runtimeJson({ http, command, handler }: AgentSpec): JsonObject {
  return compact({
    http: http && { url: http.url, headers: { ...http.headers }, allowPrivateNetwork: http.allowPrivateNetwork },
    command: command && compact({ argv: [...command.argv], env: { ...command.env }, workDir: command.workDir }),
    handler: handler && { name: handler.name },
  });
}

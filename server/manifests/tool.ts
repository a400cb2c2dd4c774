// The schema of kind Tool: reads its spec with defaults, and writes it back as a manifest's spec.
// Called by kinds.ts. Refuses what cannot be called safely: E-RETRY-UNSAFE, E-SECRET, E-SHELL, E-URL.
// Never renders a template: server/grant does, when a call is granted.

import type { JsonObject } from "../../kit/json.ts";
import { DAY, HOUR, MINUTE, SECOND } from "../../kit/units.ts";
import { CONCURRENCY_MAX } from "./concurrency.ts";
import { checkEffect, databaseJson, readDatabase } from "./database_block.ts";
import type { Findings } from "./diagnostics.ts";
import { checkExpression, checkSchema } from "./expressions.ts";
import { compact, Fields, formatDuration } from "./fields.ts";
import { mcpJson, readMcp } from "./mcp_block.ts";
import { READ_RETRY, readRetry, retryJson, TOOL_CLASSES, WRITE_RETRY } from "./retry.ts";
import type { ToolEffect, ToolSpec } from "./specs.ts";
import { commandJson, httpJson, readCommand, readHttp } from "./tool_blocks.ts";
import type { Tree } from "./tree.ts";
import { checkEventArgument, readWebhook, webhookJson } from "./webhook_block.ts";

const TYPES = ["http", "webhook", "database", "command", "mcp"] as const;
const KEYS = [
  "type",
  "description",
  ...TYPES,
  "inputSchema",
  "outputSchema",
  "effect",
  "guarded",
  "idempotency",
  "retry",
  "timeout",
  "concurrency",
];
const BLOCKS = { http: readHttp, command: readCommand, webhook: readWebhook, database: readDatabase, mcp: readMcp };
const AMBIGUOUS = ["Timeout", "ConnectionReset", "Http5xx"];
const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
/** Timeout of a tool call that declares none, in ms. */
export const TOOL_TIMEOUT_MS = 30 * SECOND;
/** How long the result of a declared key may be reused by other tasks, unless the tool says otherwise. */
export const KEY_TTL_MS = 24 * HOUR;

/** Reads the spec of a Tool; after errors the result only serves to find more of them. */
export function readTool(findings: Findings, tree: Tree, path: string): ToolSpec | undefined {
  const fields = Fields.of(findings, tree, path, KEYS);
  if (fields === undefined) return undefined;
  const type = fields.oneOf("type", TYPES);
  if (!fields.has("type")) fields.missing("type");
  const blocks = readBlocks(fields, type);
  const description = fields.requiredString("description") ?? "";
  const inputTree = fields.required("inputSchema");
  const inputSchema = inputTree && checkSchema(findings, inputTree, fields.at("inputSchema"));
  if (inputTree && inputSchema && inputSchema["type"] !== "object") {
    findings.error(
      "E-SCHEMA",
      inputTree.at,
      fields.at("inputSchema"),
      "a tool's arguments are an object",
      "add type: object",
    );
  }
  if (blocks.webhook && inputSchema) checkEventArgument(fields, blocks.webhook, inputSchema);
  const outputTree = fields.get("outputSchema");
  const outputSchema = outputTree && checkSchema(findings, outputTree, fields.at("outputSchema"));
  const effect = fields.oneOf("effect", ["read", "write", "destructive"]);
  if (!fields.has("effect")) fields.missing("effect");
  if (blocks.database && effect) checkEffect(fields, blocks.database, effect);
  const idempotency = readIdempotency(fields, effect ?? "write");
  const retry = readRetry(fields, "retry", TOOL_CLASSES, effect === "read" ? READ_RETRY : WRITE_RETRY);
  if (effect !== undefined && effect !== "read" && idempotency.onUnknownOutcome === "deadLetter")
    reportUnsafe(fields, effect);
  const concurrency = fields.has("concurrency")
    ? fields.integer("concurrency", { min: 1, max: CONCURRENCY_MAX }, 1)
    : undefined;
  const timeoutMs = fields.duration("timeout", { min: 100, max: 1 * HOUR }, TOOL_TIMEOUT_MS);
  const guarded = fields.boolean("guarded", false);
  if (type === undefined || inputSchema === undefined || effect === undefined) return undefined;
  return {
    type,
    description,
    ...blocks,
    inputSchema,
    ...(outputSchema && { outputSchema }),
    effect,
    guarded,
    idempotency,
    retry,
    timeoutMs,
    ...(concurrency !== undefined && { concurrency }),
  };
}

function readBlocks(fields: Fields, type: ToolSpec["type"] | undefined): Pick<ToolSpec, keyof typeof BLOCKS> {
  for (const block of TYPES) {
    if (block === type || type === undefined || !fields.has(block)) continue;
    const message = `"${block}" does not belong to type "${type}"`;
    fields.findings.error(
      "E-UNION",
      fields.positionOf(block),
      fields.at(block),
      message,
      `remove it or set type: ${block}`,
    );
  }
  if (type === undefined) return {};
  const tree = fields.required(type);
  const block = tree && BLOCKS[type](fields.findings, tree, fields.at(type));
  return block === undefined ? {} : { [type]: block };
}

function readIdempotency(parent: Fields, effect: ToolEffect): ToolSpec["idempotency"] {
  const mode = effect === "read" ? "none" : "cached";
  const fallback: ToolSpec["idempotency"] = { mode, header: "Idempotency-Key", onUnknownOutcome: "deadLetter" };
  const tree = parent.get("idempotency");
  const fields =
    tree &&
    Fields.of(parent.findings, tree, parent.at("idempotency"), ["mode", "key", "ttl", "header", "onUnknownOutcome"]);
  if (fields === undefined) return fallback;
  const key = readKey(fields);
  if (key === undefined && fields.has("ttl")) {
    const hint = "add a key, such as key: args.orderId, or remove ttl";
    fields.findings.error(
      "E-VALUE",
      fields.positionOf("ttl"),
      fields.at("ttl"),
      "ttl says how long a declared key counts, and there is none",
      hint,
    );
  }
  const ttlMs = fields.duration("ttl", { min: MINUTE, max: 365 * DAY }, KEY_TTL_MS);
  const header = fields.string("header") ?? fallback.header;
  if (!TOKEN.test(header)) {
    fields.findings.error(
      "E-VALUE",
      fields.positionOf("header"),
      fields.at("header"),
      `"${header.slice(0, 80)}" is not a header name`,
    );
  }
  return {
    mode: modeWithKey(fields, key, mode),
    ...(key !== undefined && { key, ttlMs }),
    header,
    onUnknownOutcome: fields.oneOf("onUnknownOutcome", ["deadLetter", "retry"], "deadLetter"),
  };
}

// A key is the identity of an effect: without a cache it would name the effect and let it happen again.
function modeWithKey(fields: Fields, key: string | undefined, fallback: "cached" | "none"): "cached" | "none" {
  const mode = fields.oneOf("mode", ["cached", "none"], key === undefined ? fallback : "cached") ?? fallback;
  if (key === undefined || mode === "cached") return mode;
  const hint = "use mode: cached, or remove the key";
  fields.findings.error(
    "E-VALUE",
    fields.positionOf("mode"),
    fields.at("mode"),
    "mode: none cannot have a key, whose result is kept",
    hint,
  );
  return mode;
}

function readKey(fields: Fields): string | undefined {
  const tree = fields.get("key");
  return tree && checkExpression(fields.findings, tree, fields.at("key"), ["args"]);
}

function reportUnsafe(fields: Fields, effect: ToolEffect): void {
  const retry = fields.get("retry");
  const on = retry?.kind === "map" ? retry.entries.find((entry) => entry.key === "on")?.value : undefined;
  if (on?.kind !== "list") return;
  for (const [index, item] of on.items.entries()) {
    if (item.kind !== "scalar" || !AMBIGUOUS.includes(String(item.value))) continue;
    const message = `${item.value} does not tell whether a ${effect} call had its effect, and onUnknownOutcome is deadLetter`;
    const hint = "remove it, or set idempotency.onUnknownOutcome: retry if the endpoint honours the key";
    fields.findings.error("E-RETRY-UNSAFE", item.at, `${fields.at("retry")}.on[${index}]`, message, hint);
  }
}

/** Spec of a Tool as its manifest would say it, defaults filled in. */
export function toolJson(spec: ToolSpec): JsonObject {
  return compact({
    type: spec.type,
    description: spec.description,
    http: spec.http && httpJson(spec.http),
    command: spec.command && commandJson(spec.command),
    webhook: spec.webhook && webhookJson(spec.webhook),
    database: spec.database && databaseJson(spec.database),
    mcp: spec.mcp && mcpJson(spec.mcp),
    inputSchema: spec.inputSchema,
    outputSchema: spec.outputSchema,
    effect: spec.effect,
    guarded: spec.guarded,
    idempotency: idempotencyJson(spec.idempotency),
    retry: retryJson(spec.retry),
    timeout: formatDuration(spec.timeoutMs),
    concurrency: spec.concurrency,
  });
}

function idempotencyJson({ ttlMs, ...rest }: ToolSpec["idempotency"]): JsonObject {
  return { ...rest, ...(ttlMs !== undefined && { ttl: formatDuration(ttlMs) }) };
}

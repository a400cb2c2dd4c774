// Reads and writes retry policies: what is tried again, how often, how long apart.
// Called by the schemas of Agent, Tool and WorkflowTemplate, each with its own default.
// Never decides about a failure; server/queue and the worker do.

import type { JsonObject } from "../../kit/json.ts";
import { HOUR, MINUTE, SECOND } from "../../kit/units.ts";
import { didYouMean, type Findings } from "./diagnostics.ts";
import { Fields, formatDuration, readString, readWord } from "./fields.ts";
import type { RetryPolicy } from "./specs.ts";
import type { Tree } from "./tree.ts";

/** Classes in which a tool call can fail. */
export const TOOL_CLASSES = [
  "Http4xx",
  "Http5xx",
  "Http503",
  "RateLimited",
  "Timeout",
  "ConnectionRefused",
  "ConnectionReset",
  "DnsError",
  "ResponseTooLarge",
  "ResponseInvalid",
  "ResultInvalid",
  "ExitStatus",
  "OutputTooLarge",
  "MemoryExceeded",
  "Signal",
  "SqlError",
  "SqlConflict",
  "McpError",
] as const;

/** Classes in which a task can fail; agents may make more of their own. A tool's failure reaches its task as ToolFailed. */
export const TASK_CLASSES = [
  "ModelUnavailable",
  "RateLimited",
  "Timeout",
  "OutputInvalid",
  "ToolFailed",
  "ToolAttemptsExhausted",
  "AgentUnavailable",
  "AgentFailed",
  "AgentRefused",
  "AgentInvalid",
  "SecretMissing",
  "ModelProtocol",
  "ModelAuth",
  "ModelRefused",
  "ContextTooLong",
  "OutputTooLarge",
  "TurnLimit",
  "ToolCallLimit",
  "WorkerError",
] as const;

/** Retry of a workflow's tasks unless the template or the agent says otherwise. */
export const TASK_RETRY: RetryPolicy = {
  on: ["ModelUnavailable", "AgentUnavailable", "AgentFailed", "RateLimited", "Timeout"],
  maxAttempts: 3,
  backoff: { initialMs: 500, maxMs: 20 * SECOND, factor: 2, jitter: "full" },
};

/** Retry of a tool that changes the world: only what certainly had no effect. */
export const WRITE_RETRY: RetryPolicy = { ...TASK_RETRY, on: ["RateLimited", "Http503", "SqlConflict"] };
/** Retry of a tool that only reads. */
export const READ_RETRY: RetryPolicy = {
  ...TASK_RETRY,
  on: ["RateLimited", "Http503", "SqlConflict", "ConnectionReset", "Timeout", "Http5xx"],
};

/** Reads a `retry` block; absent parts come from the default. */
export function readRetry(parent: Fields, key: string, classes: readonly string[], fallback: RetryPolicy): RetryPolicy {
  const tree = parent.get(key);
  const fields = tree && Fields.of(parent.findings, tree, parent.at(key), ["on", "maxAttempts", "backoff"]);
  if (fields === undefined) return fallback;
  const on = fields.has("on")
    ? fields
        .list("on")
        .flatMap((item, index) => readClass(parent.findings, item, `${fields.at("on")}[${index}]`, classes) ?? [])
    : fallback.on;
  return {
    on,
    maxAttempts: fields.integer("maxAttempts", { min: 1, max: 100 }, fallback.maxAttempts),
    backoff: readBackoff(fields, fallback.backoff),
  };
}

// Tools fail in known classes only. An agent's code may name its own, so only what looks like a slip is refused there.
function readClass(findings: Findings, tree: Tree, path: string, classes: readonly string[]): string | undefined {
  if (classes !== TASK_CLASSES) return readWord(findings, tree, path, classes);
  const text = readString(findings, tree, path);
  if (text === undefined || classes.includes(text)) return text;
  const near = didYouMean(text, classes);
  if (near !== "" || !/^[A-Z][A-Za-z0-9]{0,63}$/.test(text)) {
    findings.error(
      "E-VALUE",
      tree.at,
      path,
      `"${text}" is not an error class such as ${classes.slice(0, 4).join(", ")}`,
      near,
    );
    return undefined;
  }
  findings.warning("W-CLASS", tree.at, path, `no built-in failure has the class "${text}"`, "check its spelling");
  return text;
}

function readBackoff(parent: Fields, fallback: RetryPolicy["backoff"]): RetryPolicy["backoff"] {
  const tree = parent.get("backoff");
  const fields = tree && Fields.of(parent.findings, tree, parent.at("backoff"), ["initial", "max", "factor", "jitter"]);
  if (fields === undefined) return fallback;
  const backoff = {
    initialMs: fields.duration("initial", { min: 0, max: HOUR }, fallback.initialMs),
    maxMs: fields.duration("max", { min: 0, max: 24 * HOUR }, Math.max(fallback.maxMs, MINUTE)),
    factor: fields.number("factor", { min: 1, max: 100 }) ?? fallback.factor,
    jitter: fields.oneOf("jitter", ["full", "none"], fallback.jitter),
  };
  if (!fields.has("max")) return { ...backoff, maxMs: Math.max(fallback.maxMs, backoff.initialMs) };
  if (backoff.maxMs < backoff.initialMs) {
    const message = `max ${formatDuration(backoff.maxMs)} is shorter than initial ${formatDuration(backoff.initialMs)}`;
    fields.findings.error("E-VALUE", fields.positionOf("max"), fields.at("max"), message, "make it longer");
  }
  return backoff;
}

/** The block that reads back as this policy. */
export function retryJson(retry: RetryPolicy): JsonObject {
  const { initialMs, maxMs, factor, jitter } = retry.backoff;
  return {
    on: [...retry.on],
    maxAttempts: retry.maxAttempts,
    backoff: { initial: formatDuration(initialMs), max: formatDuration(maxMs), factor, jitter },
  };
}

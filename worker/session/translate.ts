// Translates between wire messages and what the agent loop speaks; the only place where both are known.
// Called by task_table.ts and task_port.ts. Pure.
// A message whose shape cannot be understood is a PROTOCOL_VIOLATION that names the member.

import { create } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import { DomainError, messageOf } from "../../kit/errors.ts";
import { canonicalJson, isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";
import { readTurn } from "../../kit/turn.ts";
import { SECOND } from "../../kit/units.ts";
import {
  type Assignment,
  type CommandMeans as CommandMeansMessage,
  type HttpMeans as HttpMeansMessage,
  type JournalEntry as JournalEntryMessage,
  type McpMeans as McpMeansMessage,
  type Outcome,
  OutcomeSchema,
  type ToolDecision as ToolDecisionMessage,
  type ToolGrant as ToolGrantMessage,
  type ToolResult,
  ToolResultSchema,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { AgentTask, JournalEntry, TaskEnd, ToolDecision, ToolGrant, ToolReport, Turn } from "../agent/task.ts";
import type { CommandMeans, HttpMeans, ToolMeans } from "../tool/executor.ts";

/** Milliseconds of a duration; undefined if absent. */
export function durationMs(duration: Duration | undefined): number | undefined {
  return duration === undefined ? undefined : Number(duration.seconds) * SECOND + Math.floor(duration.nanos / 1e6);
}

/** A duration of that many milliseconds. */
export function durationOf(ms: number): Duration {
  const whole = Math.max(0, Math.round(ms));
  return create(DurationSchema, { seconds: BigInt(Math.floor(whole / SECOND)), nanos: (whole % SECOND) * 1e6 });
}

/** Parses JSON text of the server. */
export function parseWire(text: string, what: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    throw violation(`${what} is not JSON`);
  }
}

/** Canonical text of a turn, as the journal stores it. */
export function turnText(turn: Turn): string {
  const toolCalls = turn.toolCalls.map((call) => ({ name: call.name, arguments: call.arguments }));
  const { usage, record } = turn;
  const more = { ...(usage && { usage: { ...usage } }), ...(record !== undefined && { record }) };
  return canonicalJson({ text: turn.text, toolCalls, ...more });
}

/** A journal entry. */
export function journalEntryOf(message: JournalEntryMessage): JournalEntry {
  const { sequence, entry } = message;
  if (entry.case === "turnJson") return { kind: "turn", sequence, turn: turnOf(entry.value, sequence) };
  if (entry.case !== "toolResult") throw violation(`journal entry ${sequence} is neither a turn nor a tool result`);
  const { turnSequence, callIndex, tool, resultJson, errorClass, errorMessage } = entry.value;
  const outcome =
    errorClass === ""
      ? { ok: true as const, result: parseWire(resultJson, `the result of journal entry ${sequence}`) }
      : { ok: false as const, errorClass, errorMessage };
  return { kind: "result", sequence, turnSequence, callIndex, tool, outcome };
}

function turnOf(text: string, sequence: number): Turn {
  const value = parseWire(text, `the turn of journal entry ${sequence}`);
  try {
    return readTurn(value);
  } catch (error) {
    throw violation(`the turn of journal entry ${sequence} is not as it must be: ${messageOf(error)}`);
  }
}

/** The server's decision on a tool call. */
export function decisionOf(message: ToolDecisionMessage): ToolDecision {
  const { decision, callId } = message;
  switch (decision.case) {
    case "granted":
      return { kind: "granted", grant: grantOf(decision.value, callId) };
    case "cached":
      return { kind: "cached", result: parseWire(decision.value.resultJson, "the cached result") };
    case "denied":
      return { kind: "denied", code: decision.value.code, taskEnded: decision.value.taskEnded };
    case "retryAfter":
      return { kind: "retryAfter", delayMs: durationMs(decision.value) ?? 0 };
    case "unknownOutcome":
      return { kind: "unknownOutcome" };
    case "conflict":
      return { kind: "conflict" };
    case "leaseLost":
      return { kind: "leaseLost" };
    case "invalidArguments":
      return { kind: "invalidArguments", message: decision.value.message };
    case "unavailable":
      return { kind: "unavailable", message: decision.value.message };
    default:
      throw violation("a tool decision decides nothing that this worker knows");
  }
}

function grantOf(grant: ToolGrantMessage, callId: bigint): ToolGrant {
  const schema = grant.outputSchemaJson === "" ? undefined : parseWire(grant.outputSchemaJson, "the result schema");
  return {
    callId,
    grantId: grant.grantId,
    timeoutMs: durationMs(grant.timeout) ?? 0,
    resultBytesMax: Number(grant.resultBytesMax),
    means: meansOf(grant),
    secrets: grant.secrets,
    ...(schema === undefined ? {} : { outputSchema: schemaOf(schema) }),
  };
}

function schemaOf(value: Json): JsonObject {
  if (!isJsonObject(value)) throw violation("the result schema is not an object");
  return value;
}

function meansOf({ means }: ToolGrantMessage): ToolMeans {
  if (means.case === "http") return httpMeansOf(means.value);
  if (means.case === "command") return commandMeansOf(means.value);
  if (means.case === "webhook") {
    const { url, headers, body, allowPrivateNetwork } = means.value;
    return { kind: "webhook", url, headers, body, allowPrivateNetwork };
  }
  if (means.case === "database") {
    const { driver, parametersJson, $typeName: _typeName, $unknown: _unknown, ...rest } = means.value;
    if (driver !== "postgres" && driver !== "sqlite") throw violation("a grant names a database that nobody knows");
    const parameters = parametersJson.map((text) => parseWire(text, "a parameter"));
    return { kind: "database", driver, parameters, ...rest };
  }
  if (means.case === "mcp") return mcpMeansOf(means.value);
  throw violation("a grant carries no means that this worker knows");
}

function httpMeansOf({ method, url, headers, body, hasBody, allowPrivateNetwork }: HttpMeansMessage): HttpMeans {
  return { kind: "http", method, url, headers, ...(hasBody ? { body } : {}), allowPrivateNetwork };
}

function commandMeansOf({ argv, stdin, hasStdin, env, workDir }: CommandMeansMessage): CommandMeans {
  return { kind: "command", argv, ...(hasStdin ? { stdin } : {}), env, workDir };
}

/** How the agent is reached; undefined for one that needs no means. */
export function agentMeansOf({ agentMeans }: Assignment): AgentTask["agentMeans"] {
  if (agentMeans.case === "agentHttp") return httpMeansOf(agentMeans.value);
  if (agentMeans.case === "agentCommand") return commandMeansOf(agentMeans.value);
  return agentMeans.case === "agentModel" ? { kind: "model", headers: agentMeans.value.headers } : undefined;
}

function mcpMeansOf({ server, tool, argumentsJson, requestId }: McpMeansMessage): ToolMeans {
  const args = parseWire(argumentsJson, "the arguments of an MCP call");
  if (!isJsonObject(args)) throw violation("the arguments of an MCP call are not an object");
  const call = { kind: "mcp", tool, arguments: args, requestId } as const;
  if (server.case === "remote") {
    const { url, headers, allowPrivateNetwork } = server.value;
    return { ...call, server: { kind: "remote", url, headers, allowPrivateNetwork } };
  }
  if (server.case !== "local") throw violation("a grant names no MCP server that this worker knows");
  const { argv, env, workDir } = server.value;
  return { ...call, server: { kind: "local", argv, env, workDir } };
}

/** A tool result as it travels. */
export function toolResultOf(taskId: string, token: string, report: ToolReport): ToolResult {
  const { outcome } = report;
  return create(ToolResultSchema, {
    taskId,
    token,
    grantId: report.grantId,
    callId: report.callId,
    result: outcome.ok
      ? { case: "resultJson", value: canonicalJson(outcome.result) }
      : {
          case: "failure",
          value: {
            class: outcome.failure.class,
            message: outcome.failure.message,
            ambiguous: outcome.failure.ambiguous,
            ...(outcome.failure.retryAfterMs === undefined
              ? {}
              : { retryAfter: durationOf(outcome.failure.retryAfterMs) }),
          },
        },
    duration: durationOf(report.durationMs),
    journalSequence: report.journalSequence,
  });
}

/** The outcome of a task; undefined for one that is dropped. */
export function outcomeOf(taskId: string, token: string, end: TaskEnd): Outcome | undefined {
  const outcome = outcomeCase(end);
  return outcome === undefined ? undefined : create(OutcomeSchema, { taskId, token, outcome });
}

type OutcomeCase = NonNullable<Parameters<typeof create<typeof OutcomeSchema>>[1]>["outcome"];

function outcomeCase(end: TaskEnd): OutcomeCase | undefined {
  switch (end.kind) {
    case "succeeded":
      return { case: "outputJson", value: canonicalJson(end.output) };
    case "failed": {
      const retryAfter = end.retryAfterMs === undefined ? {} : { retryAfter: durationOf(end.retryAfterMs) };
      const { message, retryable } = end;
      return { case: "failed", value: { class: end.class, message, retryable, ...retryAfter } };
    }
    case "cancelled":
      return { case: "cancelled", value: {} };
    case "interrupted":
      return { case: "interrupted", value: { reason: end.reason } };
    case "dropped":
      return undefined;
  }
}

function violation(what: string): DomainError {
  return new DomainError("PROTOCOL_VIOLATION", `${what}; server and worker versions may differ`);
}

// What one batch of tool calls gathers: ledger rows, journal entries and records, written together at its end.
// Filled by authorize_tool_call.ts and grant_tool.ts. The only query here looks where a task's journal ends.

import type { Json } from "../../kit/json.ts";
import { type AuditEvent, type StoredRecord, workerActor } from "../audit/events.ts";
import { auditRecord, targetDetail } from "../audit/record.ts";
import type { JournalRow, ToolCallRow } from "../storage/ledger_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CallingTask } from "../storage/task_queries.ts";
import type { LimitedTool } from "../storage/tool_turn_queries.ts";
import type { CompiledTool } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import type { LimitCounts } from "./limit_counts.ts";
import type { Authorized, ToolCallFact } from "./tool_facts.ts";
import type { ToolTurns } from "./tool_turns.ts";

/** A call whose structure is sound: the task is held, the tool declared, the arguments fit. */
export interface SoundCall {
  readonly fact: ToolCallFact;
  readonly task: CallingTask;
  readonly requestId: string;
  readonly args: Json;
  readonly argumentsDigest: string;
  readonly tool: CompiledTool;
  /** Present: how many calls of it may be granted at a time. */
  readonly limited?: LimitedTool;
}

/** See the file header. */
export interface ToolBatch {
  readonly context: CommandContext;
  readonly now: Date;
  /** Attempts and deliveries of each held task. */
  readonly begun: ReadonlyMap<string, number>;
  readonly limits: LimitCounts;
  readonly turns: ToolTurns;
  readonly calls: ToolCallRow[];
  readonly journal: JournalRow[];
  readonly audit: StoredRecord[];
}

/** Arguments that do not fit go back to the model, and count as a call. */
export async function refuseArguments(
  tx: StoreQueries,
  batch: ToolBatch,
  call: Pick<SoundCall, "fact" | "task" | "requestId" | "tool">,
  message: string,
): Promise<Authorized> {
  await journalAnswer(tx, batch, call, {
    kind: "failure",
    failure_class: "InvalidArguments",
    failure_message: message,
  });
  const detail = {
    tool: call.tool.tool.name,
    ...targetDetail(call.tool.tool),
    requestId: call.requestId,
    attempt: call.fact.attempt,
    argumentsDigest: "",
    reason: "invalid_args",
    message,
  };
  recordCall(batch, call, { kind: "tool.refused", detail });
  return { answer: { type: "invalid_arguments", message } };
}

/** Journals an answer that the server itself knows; asked again after a lost answer, it is there already. */
export async function journalAnswer(
  tx: StoreQueries,
  batch: ToolBatch,
  call: Pick<SoundCall, "fact" | "task" | "tool">,
  entry: { kind: "result" | "failure"; payload?: string; failure_class?: string; failure_message?: string },
): Promise<void> {
  const at = { task_id: call.task.id, turn_sequence: call.fact.turnSequence, call_index: call.fact.callIndex };
  const [position] = await tx.ledger.positions([at]);
  const written = batch.journal.filter((row) => row.task_id === at.task_id);
  const isWritten = written.some((row) => row.turn_sequence === at.turn_sequence && row.call_index === at.call_index);
  if (position === undefined || position.recorded !== null || isWritten) return;
  batch.journal.push({
    ...at,
    sequence: position.length + written.length + 1,
    kind: entry.kind,
    payload: entry.payload ?? null,
    tool: call.fact.tool,
    failure_class: entry.failure_class ?? null,
    failure_message: entry.failure_message ?? null,
  });
}

/** What every record of a call says. */
export function callDetail(call: SoundCall, attempt: number) {
  const { requestId, argumentsDigest } = call;
  return { tool: call.tool.tool.name, ...targetDetail(call.tool.tool), requestId, attempt, argumentsDigest };
}

type ToolEvent = Extract<AuditEvent, { kind: `tool.${string}` }>;

/** Gathers the record of a call. */
export function recordCall(
  batch: ToolBatch,
  call: Pick<SoundCall, "fact" | "task">,
  event: Pick<ToolEvent, "kind" | "detail">,
): void {
  const { namespace, run_id: runId, id: taskId } = call.task;
  const subject = { namespace, runId, taskId, actor: workerActor(call.fact.worker) };
  batch.audit.push(auditRecord({ ...event, ...subject } as ToolEvent));
}

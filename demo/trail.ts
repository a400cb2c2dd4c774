// Reads what the control plane recorded about a run: its tasks, its tool calls with their decisions, its audit trail.
// Called by demo/main.ts after each run. Reads through the public API only.

import { timestampMs } from "@bufbuild/protobuf/wkt";
import { isJsonObject, type JsonObject } from "../kit/json.ts";
import type { AuditRecord, OrlojClient, Task, ToolCallStatus } from "../sdk/index.ts";

/** A decision out of a record, whichever record carried it. */
export interface DecisionLine {
  readonly kind: string;
  readonly checkpoint: string;
  readonly allowed: boolean;
  readonly reason: string;
  readonly decidedBy: string;
  readonly tool: string;
  readonly agent: string;
  /** Every policy that was evaluated, with its verdict. */
  readonly verdicts: readonly string[];
}

/** Everything that is on record about a run. */
export interface RunFacts {
  readonly tasks: readonly Task[];
  readonly toolCalls: readonly { readonly node: string; readonly call: ToolCallStatus }[];
  readonly records: readonly AuditRecord[];
}

/** Reads the facts of a run. */
export async function readFacts(client: OrlojClient, runId: string): Promise<RunFacts> {
  const tasks: Task[] = [];
  for (let pageToken = ""; ; ) {
    const page = await client.workflows.listTasks({ runId, pageToken });
    tasks.push(...page.tasks);
    pageToken = page.nextPageToken;
    if (pageToken === "") break;
  }
  const details = await Promise.all(tasks.map((task) => client.workflows.getTask({ taskId: task.id })));
  const toolCalls = details.flatMap((detail) =>
    detail.toolCalls.map((call) => ({ node: detail.task?.node ?? "", call })),
  );
  return { tasks, toolCalls, records: await readRecords(client, { runId }) };
}

/** Every record that fits a filter, oldest first. */
export async function readRecords(
  client: OrlojClient,
  filter: { readonly runId?: string; readonly kinds?: string[] },
): Promise<AuditRecord[]> {
  const records: AuditRecord[] = [];
  for (let pageToken = ""; ; ) {
    const page = await client.audit.listAuditRecords({ filter, pageSize: 1_000, pageToken });
    records.push(...page.records);
    pageToken = page.nextPageToken;
    if (pageToken === "") return records;
  }
}

/** The decisions that a run's records carry, in order. */
export function decisionsOf(records: readonly AuditRecord[]): DecisionLine[] {
  return records.flatMap((record) => {
    const detail = detailOf(record);
    const decision = record.kind === "decision" ? detail : detail["decision"];
    if (!isJsonObject(decision)) return [];
    const verdicts = Array.isArray(decision["verdicts"]) ? decision["verdicts"].filter(isJsonObject) : [];
    return {
      kind: record.kind,
      checkpoint: String(decision["checkpoint"]),
      allowed: decision["allowed"] === true,
      reason: String(decision["reason"]),
      decidedBy: String(decision["decidedBy"] ?? ""),
      tool: String(decision["tool"] ?? detail["tool"] ?? ""),
      agent: String(decision["agent"] ?? detail["agent"] ?? ""),
      verdicts: verdicts.map(({ policy, mode, reason }) => `${policy} ${mode}: ${reason}`),
    };
  });
}

/** One line a record: time, kind, who, and the short facts of its detail. */
export function trailLine(record: AuditRecord): string {
  const time = record.time === undefined ? "" : new Date(timestampMs(record.time)).toISOString().slice(11, 23);
  return `${time}  ${record.kind.padEnd(18)} ${record.actor.padEnd(22)} ${shortFacts(detailOf(record))}`.trimEnd();
}

function detailOf(record: AuditRecord): JsonObject {
  const parsed: unknown = JSON.parse(record.recordJson || "{}");
  const detail = isJsonObject(parsed) ? parsed["detail"] : undefined;
  return isJsonObject(detail) ? detail : {};
}

const SHORT = [
  "node",
  "workflow",
  "tool",
  "attempt",
  "delivery",
  "sequence",
  "state",
  "reason",
  "cause",
  "ok",
  "durationMs",
];

function shortFacts(detail: JsonObject): string {
  const facts = SHORT.filter((key) => detail[key] !== undefined && !isJsonObject(detail[key])).map(
    (key) => `${key}=${String(detail[key])}`,
  );
  const { decision, failure } = detail;
  if (isJsonObject(decision)) facts.push(`decision=${decision["checkpoint"]}:${decision["reason"]}`);
  if (isJsonObject(failure)) facts.push(`failure=${failure["class"]}`);
  return facts.join(" ");
}

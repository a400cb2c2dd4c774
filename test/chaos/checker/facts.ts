// The evidence of a chaos run as the checker sees it: history, tables, audit trail, the outside world. Knows no code of the product.
// Read by main.ts of this folder from the files that evidence.ts and history.ts wrote; tests make doctored ones.

import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { HistoryEvent } from "../history.ts";
import type { Operation } from "../sink.ts";

export type HistoryRow = HistoryEvent & { readonly at: number };

export interface RunRow {
  readonly id: string;
  readonly workflow: string;
  readonly state: string;
  readonly conditions: readonly string[];
  readonly output: string | null;
  readonly idempotency_key: string | null;
  readonly end_ms: number | string | null;
}

export interface TaskRow {
  readonly id: string;
  readonly run_id: string;
  readonly node: string;
  readonly iteration: number;
  readonly item: number;
  readonly agent: string;
  readonly state: string;
  readonly attempt: number;
  readonly origin_task_id: string;
  /** The parked task that it replays. */
  readonly replay_of: string | null;
}

export interface NodeRow {
  readonly run_id: string;
  readonly node: string;
  readonly state: string;
  readonly open_tasks: number;
}

export interface CallRow {
  readonly request_id: string;
  readonly run_id: string;
  readonly task_id: string;
  readonly tool: string;
  readonly state: string;
  readonly grant_id: string;
}

export interface JournalRow {
  readonly task_id: string;
  readonly sequence: number;
  readonly kind: string;
}

export interface DeadLetterRow {
  readonly task_id: string;
  readonly run_id: string;
  readonly cause: string;
  readonly state: "open" | "replayed" | "discarded";
  readonly replay_task_id: string | null;
}

/** One record of the trail; detail is as recorded. */
export interface AuditRow {
  readonly id: string;
  readonly ms: number | string;
  readonly kind: string;
  readonly run_id: string;
  readonly task_id: string;
  readonly actor: string;
  // biome-ignore lint/suspicious/noExplicitAny: the checker reads what the trail says, kind by kind
  readonly detail: any;
}

/** Everything that is judged. */
export interface Facts {
  readonly history: readonly HistoryRow[];
  readonly runs: readonly RunRow[];
  readonly tasks: readonly TaskRow[];
  readonly nodes: readonly NodeRow[];
  readonly calls: readonly CallRow[];
  readonly journal: readonly JournalRow[];
  readonly deadLetters: readonly DeadLetterRow[];
  readonly leases: readonly { readonly task_id: string; readonly run_id: string; readonly worker: string }[];
  readonly ready: readonly { readonly task_id: string; readonly run_id: string }[];
  readonly audit: readonly AuditRow[];
  readonly operations: readonly (Operation & { readonly op: string })[];
  readonly deniedCalls: number;
  readonly unexpectedExits: readonly string[];
}

/** Reads the evidence of a folder. */
export async function readFacts(folder: string): Promise<Facts> {
  const lines = <Row>(name: string) => readLines<Row>(join(folder, `${name}.jsonl`));
  const outside = JSON.parse(await readFile(join(folder, "outside.json"), "utf8"));
  return {
    history: await lines("history"),
    runs: await lines("run"),
    tasks: await lines("task"),
    nodes: await lines("node_state"),
    calls: await lines("tool_call"),
    journal: await lines("journal"),
    deadLetters: await lines("dead_letter"),
    leases: await lines("lease"),
    ready: await lines("ready"),
    audit: await lines("audit_event"),
    ...outside,
  };
}

async function readLines<Row>(path: string): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const line of createInterface({ input: createReadStream(path) })) rows.push(JSON.parse(line) as Row);
  return rows;
}

// Writes down what is to be judged: the tables of the control plane and the counts of the outside world, as JSON lines in a folder.
// Called by main.ts after the last fault, once the queue is empty; read by checker/, which sees nothing else.

import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Fleet } from "./fleet.ts";
import type { Sink } from "./sink.ts";

const PAGE = 20_000;

/** Tables by the key that pages them, and the columns that the checker reads. */
const TABLES: Readonly<Record<string, { key: string; columns: string }>> = {
  run: {
    key: "id",
    columns: `id, workflow, state, cause, conditions, output, failure_class, idempotency_key,
      extract(epoch from end_time) * 1000 as end_ms`,
  },
  task: {
    key: "id",
    columns: "id, run_id, node, iteration, item, agent, state, attempt, deliveries, origin_task_id, replay_of",
  },
  node_state: { key: "run_id || node", columns: "run_id, node, iteration, state, open_tasks" },
  tool_call: { key: "request_id", columns: "request_id, run_id, task_id, tool, state, attempt, grant_id" },
  journal: {
    key: "task_id || lpad(sequence::text, 6, '0')",
    columns: "task_id, sequence, kind, turn_sequence, call_index",
  },
  dead_letter: { key: "task_id", columns: "task_id, run_id, cause, state, replay_task_id, replay_run_id" },
  lease: { key: "task_id", columns: "task_id, run_id, worker" },
  ready: { key: "task_id", columns: "task_id, run_id" },
};
const AUDIT = `id::text as id, extract(epoch from time) * 1000 as ms, kind, run_id, task_id, actor, record::json -> 'detail' as detail`;

/** Writes every table, and what the counting service counted, into the folder. */
export async function writeEvidence(folder: string, fleet: Fleet, sink: Sink): Promise<void> {
  for (const [table, { key, columns }] of Object.entries(TABLES)) {
    await write(join(folder, `${table}.jsonl`), async (after) => {
      const text = `select ${key} as page_key, ${columns} from ${table} where ${key} > $1 order by page_key limit ${PAGE}`;
      return await fleet.postgres.query<{ page_key: string }>(text, [after]);
    });
  }
  await write(join(folder, "audit_event.jsonl"), async (after) => {
    const text = `select ${AUDIT}, id::text as page_key from audit_event where id > $1 order by audit_event.id limit ${PAGE}`;
    return await fleet.postgres.query<{ page_key: string }>(text, [after === "" ? "0" : after]);
  });
  const operations = [...sink.operations].map(([op, operation]) => ({ op, ...operation }));
  const outside = { operations, deniedCalls: sink.deniedCalls, unexpectedExits: fleet.unexpectedExits };
  await writeFile(join(folder, "outside.json"), JSON.stringify(outside));
}

async function write(path: string, page: (after: string) => Promise<{ page_key: string }[]>): Promise<void> {
  const stream = createWriteStream(path);
  for (let after = ""; ; ) {
    const rows = await page(after);
    for (const { page_key: _, ...row } of rows) {
      if (!stream.write(`${JSON.stringify(row)}\n`)) await once(stream, "drain");
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < PAGE) break;
    after = last.page_key;
  }
  await new Promise<void>((resolve) => stream.end(() => resolve()));
}

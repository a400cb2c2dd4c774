// Fills the database with finished runs, as a control plane has them after weeks: copies of one that really ran, with all its rows.
// Called by growth.ts. The copies have ids of their own that sort before those of now, and records of the day before, 60 a second, that the
// server's sealer seals.

import type pg from "pg";
import type { Clock } from "../kit/clock.ts";
import { SECOND } from "../kit/units.ts";
import { isSealed } from "./counters.ts";
import { WORKFLOWS } from "./manifests.ts";

const CHUNK = 20_000;

/** How many, and how many there are already. */
export interface FinishedRunsToAdd {
  readonly count: number;
  readonly begin: number;
  readonly clock: Clock;
  readonly progress: (line: string) => void;
}

/** Adds finished runs. @throws Error when there is no run to copy */
export async function addFinishedRuns(pool: pg.Pool, { count, begin, progress }: FinishedRunsToAdd): Promise<void> {
  if (count === 0) return;
  const { rows } = await pool.query<{ id: string }>(
    "select id from run where workflow = $1 and state = 'SUCCEEDED' order by id desc limit 1",
    [WORKFLOWS.noop],
  );
  const [template] = rows;
  if (template === undefined) throw new Error("there is no finished run to copy");
  const columns = new Map<string, string[]>();
  for (const table of Object.keys(COPIED)) columns.set(table, await columnsOf(pool, table));
  for (let done = 0; done < count; done += CHUNK) {
    const last = Math.min(count, done + CHUNK);
    for (const [table, own] of Object.entries(COPIED)) {
      const names = columns.get(table) ?? [];
      const values = names.map((name) => own[name] ?? `t.${name}`);
      await pool.query(
        `insert into ${table} (${names.join(", ")}) select ${values.join(", ")} from ${table} t, generate_series($2::integer, $3::integer) n
          where t.${table === "run" ? "id" : "run_id"} = $1 order by n`,
        [template.id, begin + done + 1, begin + last],
      );
    }
    progress(`growth: ${begin + last} finished runs`);
  }
}

/** Waits until the trail is sealed, and vacuums: what autovacuum has done long since when a database became full in weeks. */
export async function settleDatabase(pool: pg.Pool, clock: Clock, progress: (line: string) => void): Promise<void> {
  progress("growth: waiting for the sealer, then vacuuming");
  while (!(await isSealed(pool))) await clock.sleep(SECOND);
  await pool.query("vacuum (analyze)");
  await pool.query("checkpoint");
}

// Ids have 26 characters after their prefix; these keep the time of none, and so are older than all.
const idOf = (prefix: string) => `'${prefix}_0' || lpad(n::text, 25, '0')`;

/** What a copy has of its own, by table, in the order in which rows refer to each other. */
const COPIED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  run: { id: idOf("run"), idempotency_key: `t.idempotency_key || '-' || n` },
  node_state: { run_id: idOf("run") },
  task: { id: idOf("task"), run_id: idOf("run"), origin_task_id: idOf("task") },
  audit_event: {
    run_id: idOf("run"),
    task_id: `case when t.task_id = '' then '' else ${idOf("task")} end`,
    transaction_id: "pg_current_xact_id()",
    time: "t.time - interval '1 day' + n * interval '50 ms'",
  },
};

// The number of a record is given by its table.
async function columnsOf(pool: pg.Pool, table: string): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select column_name as name from information_schema.columns
      where table_schema = 'public' and table_name = $1 and is_identity = 'NO' order by ordinal_position`,
    [table],
  );
  return rows.map(({ name }) => name);
}

// The state that both sides must agree on, as lines of text: from the tables in memory, and from those of Postgres.
// Ids of the database are told by the names that the world in memory gave them; times as what is left, in whole steps.

import { type Kysely, sql } from "kysely";
import type { Database } from "../../server/storage/schema.ts";
import { STEP_MS } from "./flows.ts";
import type { Tables } from "./tables.ts";

/** Names of the world in memory for ids of the database, both ways. */
export class Names {
  readonly #real = new Map<string, string>();
  readonly #named = new Map<string, string>();

  set(name: string, real: string): void {
    this.#real.set(name, real);
    this.#named.set(real, name);
  }

  /** The id of a name; what has none is presented as it is. */
  real(name: string): string {
    return this.#real.get(name) ?? name;
  }

  of(real: string | null): string {
    return real === null ? "" : (this.#named.get(real) ?? real);
  }

  knows(name: string): boolean {
    return this.#real.has(name);
  }
}

/** What both sides show after an operation. */
export interface Shown {
  readonly rows: readonly string[];
  /** Records of this operation. */
  readonly records: readonly string[];
}

// Deadlines keep away from the grid by which time moves; what is over is over.
const left = (ms: number | undefined | null) =>
  ms === undefined || ms === null ? "-" : Math.max(0, Math.floor(ms / STEP_MS));

export function shownInMemory(tables: Tables): Shown {
  const rows: string[] = [];
  const { nowMs } = tables;
  const until = (ms: number | undefined) => left(ms === undefined ? undefined : ms - nowMs);
  for (const { id, graph, parked, dueMs, remainingMs } of tables.runs.values()) {
    rows.push(`run ${id} ${graph.run} ${graph.cause ?? "-"} ${parked} due ${until(dueMs)} kept ${left(remainingMs)}`);
    for (const { node, state, unresolved, taken, openTasks } of graph.nodes.values()) {
      rows.push(`node ${id}/${node} ${state} ${unresolved} ${taken} ${openTasks}`);
    }
  }
  for (const task of tables.tasks.values()) {
    const { id, state, attempt, deliveries, dueMs, outcomeToken } = task;
    if (task.letter !== undefined) rows.push(`letter ${id} ${task.letter}`);
    rows.push(`task ${id} ${state} ${attempt} ${deliveries} due ${until(dueMs)} by ${outcomeToken ?? ""}`);
  }
  for (const [id, { late }] of tables.ready) {
    rows.push(`ready ${id} ${!tables.claimed.has(id)} late ${late?.token ?? ""} ${late?.sessionId ?? ""}`);
  }
  for (const [id, lease] of tables.leases) {
    const { token, sessionId, accepted, attempt, delivery } = lease;
    rows.push(`lease ${id} ${token} ${sessionId} ${accepted} ${attempt} ${delivery}`);
  }
  for (const { id, epoch, replica, state, expireMs } of tables.sessions.values()) {
    rows.push(`session ${id} ${epoch} rep_${replica} ${state} ${until(expireMs)}`);
  }
  for (const [id, journal] of tables.journals) {
    for (const [index, { kind, turn, turnSequence, result }] of journal.entries()) {
      const what = turn === undefined ? `${turnSequence} ${result}` : `${turn.nonce}`;
      rows.push(`journal ${id}/${index + 1} ${kind} ${what}`);
    }
  }
  for (const [id, call] of tables.ledger) {
    rows.push(`call ${id} ${call.state} ${call.attempt} ${call.grant_id} ${call.grant_token} ${call.result ?? ""}`);
  }
  return { rows: rows.sort(), records: compared(tables.records.map(({ kind, of }) => `${kind} ${of}`)) };
}

// What replicas tell of sessions is not part of any command.
function compared(records: readonly string[]): string[] {
  return records.filter((record) => !record.startsWith("worker.")).sort();
}

interface Raw {
  readonly runs: {
    id: string;
    state: string;
    cause: string | null;
    conditions: string[];
    due: number | null;
    kept: number | null;
  }[];
  readonly nodes: {
    run_id: string;
    node: string;
    state: string;
    unresolved: number;
    taken: number;
    open_tasks: number;
  }[];
  readonly tasks: {
    id: string;
    run_id: string;
    node: string;
    state: string;
    attempt: number;
    deliveries: number;
    due: number | null;
    outcome_token: string | null;
    replay_of: string | null;
  }[];
  readonly letters: { task_id: string; state: string }[];
  readonly ready: { task_id: string; fresh: boolean; last_token: string | null; last_session_id: string | null }[];
  readonly leases: {
    task_id: string;
    token: string;
    session_id: string;
    accepted: boolean;
    attempt: number;
    delivery: number;
  }[];
  readonly sessions: { id: string; epoch: number; replica_id: string; state: string; due: number }[];
  readonly journal: {
    task_id: string;
    sequence: number;
    kind: string;
    payload: string | null;
    turn_sequence: number | null;
  }[];
  readonly calls: {
    request_id: string;
    state: string;
    attempt: number;
    grant_id: string;
    grant_token: string;
    result: string | null;
  }[];
  readonly records: { id: number; kind: string; run_id: string; task_id: string }[];
}

const inMs = (column: string) => sql.raw(`extract(epoch from ${column} - clock_timestamp()) * 1000`);

async function read(db: Kysely<Database>, afterRecord: number): Promise<Raw> {
  const list = (query: ReturnType<typeof sql>) => sql`(select coalesce(json_agg(x), '[]') from (${query}) x)`;
  const result = await sql<{ raw: Raw }>`select json_build_object(
    'runs', ${list(sql`select id, state, cause, conditions, ${inMs("due_time")} as due, remaining_ms as kept from run`)},
    'nodes', ${list(sql`select run_id, node, state, unresolved, taken, open_tasks from node_state`)},
    'tasks', ${list(sql`select id, run_id, node, state, attempt, deliveries, ${inMs("due_time")} as due, outcome_token, replay_of from task`)},
    'letters', ${list(sql`select task_id, state from dead_letter`)},
    'ready', ${list(sql`select task_id, fresh, last_token, last_session_id from ready`)},
    'leases', ${list(sql`select task_id, token, session_id, accepted, attempt, delivery from lease`)},
    'sessions', ${list(sql`select id, epoch, replica_id, state, ${inMs("expire_time")} as due from worker_session`)},
    'journal', ${list(sql`select task_id, sequence, kind, payload, turn_sequence from journal`)},
    'calls', ${list(sql`select request_id, state, attempt, grant_id, grant_token, result from tool_call`)},
    'records', ${list(sql`select id, kind, run_id, task_id from audit_event where id > ${afterRecord} and (run_id <> '' or task_id <> '')`)}
    ) as raw`.execute(db);
  return (result.rows[0] as { raw: Raw }).raw;
}

/** Reads the database; ids that it sees for the first time get the names that the same rows have in memory. */
export class SqlView {
  readonly #db: Kysely<Database>;
  #lastRecord = 0;

  constructor(db: Kysely<Database>) {
    this.#db = db;
  }

  /** Records before now are nobody's. */
  async skipRecords(): Promise<void> {
    const result = await sql<{ last: bigint | null }>`select max(id) as last from audit_event`.execute(this.#db);
    this.#lastRecord = Number(result.rows[0]?.last ?? 0);
  }

  async show(names: Names, tables: Tables): Promise<Shown> {
    const raw = await read(this.#db, this.#lastRecord);
    learn(raw, names, tables);
    const session = (id: string | null) => id?.split("_")[2] ?? "";
    const name = (id: string | null) => names.of(id);
    const rows = [
      ...raw.runs.map(
        ({ id, state, cause, conditions, due, kept }) =>
          `run ${name(id)} ${state} ${cause ?? "-"} ${conditions.includes("Parked")} due ${left(due)} kept ${left(kept)}`,
      ),
      ...raw.nodes.map(
        (row) => `node ${name(row.run_id)}/${row.node} ${row.state} ${row.unresolved} ${row.taken} ${row.open_tasks}`,
      ),
      ...raw.tasks.map(
        (row) =>
          `task ${name(row.id)} ${row.state} ${row.attempt} ${row.deliveries} due ${left(row.due)} by ${name(row.outcome_token)}`,
      ),
      ...raw.letters.map((row) => `letter ${name(row.task_id)} ${row.state}`),
      ...raw.ready.map(
        (row) => `ready ${name(row.task_id)} ${row.fresh} late ${name(row.last_token)} ${session(row.last_session_id)}`,
      ),
      ...raw.leases.map(
        (row) =>
          `lease ${name(row.task_id)} ${name(row.token)} ${session(row.session_id)} ${row.accepted} ${row.attempt} ${row.delivery}`,
      ),
      ...raw.sessions.map(
        (row) => `session ${session(row.id)} ${row.epoch} ${row.replica_id} ${row.state} ${left(row.due)}`,
      ),
      ...raw.journal.map(({ task_id, sequence, kind, payload, turn_sequence }) => {
        const what =
          kind === "turn"
            ? JSON.parse(payload ?? "").text
            : `${turn_sequence} ${payload === null ? "" : JSON.parse(payload)}`;
        return `journal ${name(task_id)}/${sequence} ${kind} ${what}`;
      }),
      ...raw.calls.map((row) => {
        const result = row.result === null ? "" : JSON.parse(row.result);
        return `call ${requestOf(row.request_id, names)} ${row.state} ${row.attempt} ${name(row.grant_id)} ${name(row.grant_token)} ${result}`;
      }),
    ];
    const records = raw.records.map(
      ({ kind, run_id, task_id }) => `${kind} ${name(task_id === "" ? run_id : task_id)}`,
    );
    this.#lastRecord = Math.max(this.#lastRecord, ...raw.records.map(({ id }) => id));
    return { rows: rows.sort(), records: compared(records) };
  }
}

function requestOf(id: string, names: Names): string {
  const [task = "", ...rest] = id.replace("auto:", "").split("/");
  return [names.of(task), ...rest].join("/");
}

function learn(raw: Raw, names: Names, tables: Tables): void {
  const note = (name: string | undefined, real: string) => {
    if (name !== undefined && !names.knows(name) && names.of(real) === real) names.set(name, real);
  };
  const newRuns = [...tables.runs.keys()].filter((name) => !names.knows(name));
  for (const { id } of raw.runs) if (names.of(id) === id) note(newRuns.shift(), id);
  const placeOf = (run: string, node: string, replayOf: string) => `${run}/${node}/${replayOf}`;
  const byPlace = new Map(
    [...tables.tasks.values()].map((task) => [placeOf(task.run.id, task.node, task.replayOf), task.id]),
  );
  // A replay is known by the task that it replays, which was there before it.
  for (const row of raw.tasks.toSorted((one, other) => depthOf(one, raw) - depthOf(other, raw))) {
    note(byPlace.get(placeOf(names.of(row.run_id), row.node, names.of(row.replay_of))), row.id);
  }
  for (const row of raw.leases) note(tables.leases.get(names.of(row.task_id))?.token, row.token);
  for (const row of raw.calls) note(tables.ledger.get(requestOf(row.request_id, names))?.grant_id, row.grant_id);
}

function depthOf({ replay_of }: Raw["tasks"][number], raw: Raw): number {
  const replayed = raw.tasks.find((row) => row.id === replay_of);
  return replayed === undefined ? 0 : 1 + depthOf(replayed, raw);
}

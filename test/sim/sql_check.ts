// Holds the SQL layer to the world in memory: the same operations on both, and after each the same verdicts, rows and records.
// An operation that aborts is tried twice, broken before its commit and before one of its statements: nothing of it may be there.

import { DomainError } from "../../kit/errors.ts";
import type { History } from "./history.ts";
import { perform } from "./plane.ts";
import type { Findings, Op, Result, Traced } from "./rows.ts";
import type { Plan } from "./sql_faults.ts";
import { type Shown, SqlView, shownInMemory } from "./sql_state.ts";
import type { SqlSystem } from "./sql_system.ts";
import { Tables } from "./tables.ts";
import { lineOf } from "./witness.ts";

export interface Divergence {
  readonly rule: string;
  /** What was done until then, and where the two differ. */
  readonly witness: readonly string[];
}

/** Replays what a history did. */
export async function replay(system: SqlSystem, history: History): Promise<Divergence | undefined> {
  await system.startHistory();
  const tables = new Tables();
  const view = new SqlView(system.database.db);
  await view.skipRecords();
  const done: Traced[] = [];
  for (const [index, traced] of history.trace.entries()) {
    done.push(traced);
    const differs = await step(system, view, tables, traced, index);
    if (differs === undefined) continue;
    return { rule: differs[0] ?? "", witness: [...done.slice(-30).map(lineOf), ...differs] };
  }
  return undefined;
}

async function step(
  system: SqlSystem,
  view: SqlView,
  tables: Tables,
  { op, replica, fault }: Traced,
  index: number,
): Promise<string[] | undefined> {
  const expected = perform(tables, op, replica, fault);
  const told =
    fault === "" || isUnbroken(op)
      ? await plainly(system, op, replica)
      : await broken(system, op, replica, fault, index);
  if (typeof told === "string") return [`${op.op}: ${told}`];
  const shown = await view.show(system.names, tables);
  return compare(op, shownInMemory(tables), shown, fault === "" ? expected : undefined, told);
}

// Time and policies are the world's, not the product's.
function isUnbroken(op: Op): boolean {
  return op.op === "time" || op.op === "policy";
}

async function plainly(system: SqlSystem, op: Op, replica: number): Promise<Result | string> {
  try {
    await system.passMoment();
    return await system.perform(op, replica);
  } catch (error) {
    return `failed without a fault: ${error}`;
  }
}

async function broken(
  system: SqlSystem,
  op: Op,
  replica: number,
  fault: "abort" | "lost_ack",
  index: number,
): Promise<Result | string> {
  if (fault === "lost_ack") {
    const plan: Plan = { type: index % 2 === 0 ? "lose_ack" : "die_after_commit" };
    return (await under(system, plan, op, replica)) ?? {};
  }
  // Twice, for the first one may fill caches: then the number of its statements is known, and it dies before any of them.
  for (let times = 0; times < 2; times += 1) {
    const wrong = await under(system, { type: "die_before_commit" }, op, replica);
    if (wrong !== undefined) return wrong;
  }
  const statement = 1 + (index % Math.max(1, system.faults.statements));
  return (await under(system, { type: "die_before", statement }, op, replica)) ?? {};
}

/** Undefined when the product told of the loss as it should. */
async function under(system: SqlSystem, plan: Plan, op: Op, replica: number): Promise<string | undefined> {
  await system.passMoment();
  system.faults.set(plan);
  try {
    await system.perform(op, replica);
    return system.faults.fired ? "succeeded although the database was lost" : undefined;
  } catch (error) {
    const isTold = error instanceof DomainError && error.reason === "STORAGE_UNAVAILABLE";
    return isTold ? undefined : `a lost database became ${error}`;
  } finally {
    system.faults.rest();
  }
}

function compare(
  op: Op,
  memory: Shown,
  database: Shown,
  expected: Result | undefined,
  told: Result,
): string[] | undefined {
  const differs = [
    ...differences("row", memory.rows, database.rows),
    ...differences("record", memory.records, database.records),
    ...(expected === undefined ? [] : differences("verdict", verdictsOf(expected), verdictsOf(told, expected))),
  ];
  return differs.length === 0 ? undefined : [`${op.op}: the SQL layer differs from the model`, ...differs];
}

function differences(what: string, memory: readonly string[], database: readonly string[]): string[] {
  const count = (lines: readonly string[], line: string) => lines.filter((other) => other === line).length;
  return [
    ...memory
      .filter((line) => count(database, line) < count(memory, line))
      .map((line) => `${what} only in memory: ${line}`),
    ...database
      .filter((line) => count(memory, line) < count(database, line))
      .map((line) => `${what} only in Postgres: ${line}`),
  ];
}

function verdictsOf(result: Result, like = result): string[] {
  const found = (findings: Findings | undefined) => [
    ...(findings?.lost ?? []).map(({ task, token, reason }) => `lost ${task} ${token} ${reason}`),
    ...(findings?.due ?? []).map((task) => `due ${task}`),
    ...(findings?.dueRuns ?? []).map((run) => `due ${run}`),
    ...(findings?.expired ?? []).map((session) => `expired ${session}`),
  ];
  return [
    ...(result.verdicts ?? []).map((verdict, index) => `${index} ${verdict}`),
    ...(result.answers ?? []).map(({ type }, index) => `${index} ${type}`),
    ...(like.assigned !== undefined ? [] : (result.settle ?? []).map(({ type }) => `settle ${type}`)),
    ...(result.epoch === undefined ? [] : [`epoch ${result.session} ${result.epoch}`]),
    ...(result.alive === undefined ? [] : [`alive ${result.alive}`]),
    ...(result.still ?? []).map(({ token, stopping }) => `still ${token} ${stopping}`),
    ...found(result.found),
  ];
}

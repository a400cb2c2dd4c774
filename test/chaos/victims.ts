// Finds the worker to break: one that is, at this moment, in a named phase of a task. What is seen is the database and the counting
// service, so that no product code has a hook for it.
// Called by the nemesis just before it strikes; by then the phase may have passed, so the phase is an aim and the count of
// takeovers in the middle of an effect is measured, not assumed.

import type { ChaosWorker, Fleet } from "./fleet.ts";
import type { Sink } from "./sink.ts";

/** Where a task can be when its worker dies. */
export const PHASES = ["claimed", "turn recorded", "granted", "effect", "result recorded", "any"] as const;
/** One of PHASES. */
export type Phase = (typeof PHASES)[number];

// Workers that hold a task in the phase, busiest first.
const HOLDERS: Readonly<Record<Exclude<Phase, "effect" | "any">, string>> = {
  claimed: `select worker from lease l where not exists (select from journal j where j.task_id = l.task_id)
    group by worker order by count(*) desc`,
  "turn recorded": `select worker from lease l where exists (select from journal j where j.task_id = l.task_id)
    and not exists (select from tool_call c where c.task_id = l.task_id) group by worker order by count(*) desc`,
  granted: `select worker from lease l join tool_call c on c.task_id = l.task_id where c.state = 'granted'
    group by worker order by count(*) desc`,
  "result recorded": `select worker from lease l join tool_call c on c.task_id = l.task_id where c.state = 'done'
    group by worker order by count(*) desc`,
};
const ANY = "select worker from lease group by worker order by count(*) desc";
const IN_EFFECT = `select worker from lease l join tool_call c on c.task_id = l.task_id
  where c.state = 'granted' and c.grant_token = l.token and c.request_id = any($1) group by worker order by count(*) desc`;

/** A live worker in the phase; undefined if there is none now. */
export async function victimIn(phase: Phase, fleet: Fleet, sink: Sink): Promise<ChaosWorker | undefined> {
  const query = phase === "effect" ? IN_EFFECT : phase === "any" ? ANY : HOLDERS[phase];
  const values = phase === "effect" ? [[...sink.inFlight()]] : [];
  const rows = await fleet.postgres.query<{ worker: string }>(query, values);
  for (const { worker } of rows) {
    const found = fleet.workers.get(worker);
    if (found !== undefined && !found.frozen) return found;
  }
  return undefined;
}

/** Tasks that a worker holds now. */
export async function tasksOf(worker: ChaosWorker, fleet: Fleet): Promise<string[]> {
  const rows = await fleet.postgres.query<{ task_id: string }>("select task_id from lease where worker = $1", [
    worker.name,
  ]);
  return rows.map((row) => row.task_id);
}

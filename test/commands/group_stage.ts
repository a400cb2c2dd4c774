// Workflows whose runs are counted in groups, on the command stage, and what must hold of the counts whenever nothing is under way.
// Called by test/commands/concurrency*.test.ts.

import { expect } from "vitest";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { startQueued } from "../../server/commands/start_queued.ts";
import { flow } from "./command_manifests.ts";
import type { CommandStage } from "./command_stage.ts";

const CUSTOMER = { tags: { customer: { from: "request", required: true } } };
const ONLY = { nodes: [{ name: "only", agent: "solo" }] };

/** A template of one node that counts its runs. */
export function counted(name: string, concurrency: object, more: object = {}, system: object = ONLY) {
  return flow(name, system as Readonly<Record<string, unknown>>, { concurrency, ...more });
}

/** by-customer (2 each), single (1), strict (1, reject), parking (1), instant (1, no task), brief (1, a queueTimeout). */
export const GROUPED = [
  ...counted("by-customer", { max: 2, key: "tags.customer" }, CUSTOMER),
  ...counted("single", { max: 1 }),
  ...counted("strict", { max: 1, onLimit: "reject" }),
  ...counted("brief", { max: 1, queueTimeout: "1h" }),
  ...counted("parking", { max: 1 }, {}, { nodes: [{ name: "only", agent: "parker" }] }),
  ...counted("instant", { max: 1 }, {}, { nodes: [{ name: "only", transform: { ok: true } }] }),
];

/** What tests of groups do with a stage. */
export function groupStage(stage: CommandStage) {
  const query = async <Row>(text: string, values: unknown[] = []) =>
    (await stage.database.pool.query(text, values)).rows as Row[];
  return {
    /** Invokes for a customer. */
    for: (customer: string, workflow = "by-customer") => stage.start(workflow, { tags: { customer } }),

    async slotOf(runId: string) {
      return (await stage.run(runId)).slot;
    },

    /** Groups that the tick would name. */
    async open(): Promise<string[]> {
      const options = { limit: 500, acceptMs: 5_000, ttlMs: 30_000, gapMs: 30_000 };
      return (await stage.store.read((tx) => tx.sessions.tick("rep_none", options))).open_groups;
    },

    /** Starts what may start, as the starter does. */
    async startAll(): Promise<void> {
      for (let open = await this.open(); open.length > 0; open = await this.open()) {
        await startQueued(stage.context, open);
      }
    },

    /** Claims until the task of a run is held. */
    async claimOf(runId: string, session = "ses_a"): Promise<Assigned> {
      const held = (await stage.claimAs(session)).assigned.find((one) => one.task.run_id === runId);
      if (held === undefined) throw new Error(`nothing of ${runId} was claimed`);
      return held;
    },

    /** Counts are what the runs say, no group has more runs than it may, and nobody is queued who does not go on. */
    async expectCounts(): Promise<void> {
      const groups = await query<{ id: string; running: number; waiting: number; max_running: number | null }>(
        "select * from concurrency_group order by id",
      );
      const runs = await query<{ id: string; running: number; waiting: number }>(
        `select concurrency_group as id, count(*) filter (where slot = 'held')::integer as running,
          count(*) filter (where slot = 'waiting')::integer as waiting from run where slot is not null group by 1 order by 1`,
      );
      expect(groups.map(({ id, running, waiting }) => ({ id, running, waiting }))).toEqual(runs);
      for (const { id, running, max_running } of groups) {
        if (max_running !== null) expect(running, id).toBeLessThanOrEqual(max_running);
      }
      const stray = await query(
        `select r.id from run r where r.concurrency_group is not null and r.slot is distinct from 'held'
          and (exists (select from ready q where q.run_id = r.id) or exists (select from lease l where l.run_id = r.id))`,
      );
      expect(stray).toEqual([]);
    },
  };
}

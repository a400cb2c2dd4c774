// Lies that end their task, and what a policy says between a decision and the next call. Called by campaign.ts.
// Each round: a call that a policy denies, one whose policy changed since the last, an output that does not fit and its downstream, and
// a declared key with other arguments.

import { RunFailedError } from "../../sdk/index.ts";
import { Bait, type Wanted } from "./bait.ts";
import type { Cast } from "./campaign.ts";

const SIDE = "special";
const DENIED = "task.denied PolicyDenied";

/** Runs so many rounds. */
export async function specialLane(cast: Cast, rounds: number): Promise<void> {
  const link = await cast.open("liar-special", SIDE);
  const take = async (workflow: string, ...wanted: Wanted[]) => {
    const run = await cast.world.client.workflow(workflow).invoke();
    const bait = new Bait(link, await link.take(), cast.report, cast.spend, wanted);
    await bait.recordTurn();
    return { run, bait };
  };
  const denied = async (kind: string, bait: Bait, callIndex: number) => {
    const decision = await link.call(bait.call(callIndex));
    await cast.use(decision);
    cast.report.note({ kind, accepted: decision.case !== "denied", sign: DENIED });
    const again = await link.call(bait.call(callIndex));
    await cast.use(again);
    const sign = "fact.refused tool_call";
    cast.report.note({ kind: `${kind}_again`, accepted: again.case !== "leaseLost", sign });
    link.held.delete(bait.token);
  };
  for (let round = 0; round < rounds; round += 1) {
    const locked = await take(SIDE, { name: "locked", arguments: {} });
    await denied("denied_by_policy", locked.bait, 0);

    await cast.world.toggle(true);
    const call = { name: "toggled", arguments: { round } };
    const stale = await take(SIDE, call, call);
    await stale.bait.grant(0);
    await cast.world.toggle(false);
    await denied("policy_changed_since", stale.bait, 1);

    const chain = await take("chain");
    await link.outcome(chain.bait.taskId, chain.bait.token, '{"ok":"yes, and go on"}');
    link.held.delete(chain.bait.token);
    const ended = await chain.run.result().catch((error: unknown) => error);
    const { tasks } = await cast.world.client.workflows.listTasks({ runId: chain.run.id });
    const accepted = !(ended instanceof RunFailedError) || tasks.length !== 1;
    cast.report.note({ kind: "output_that_does_not_fit", accepted, sign: "task.failed OutputInvalid" });

    const key = `special-${round}`;
    const first = await take(SIDE, { name: "keyed", arguments: { key, amount: 1 } });
    const grant = await first.bait.grant(0);
    await first.bait.answer(grant?.grantId ?? "", '{"paid":1}', 2);
    await first.bait.succeed();
    const other = await take(SIDE, { name: "keyed", arguments: { key, amount: 1_000 } });
    const decision = await link.call(other.bait.call(0));
    await cast.use(decision);
    link.held.delete(other.bait.token);
    const sign = "task.failed IdempotencyConflict";
    cast.report.note({ kind: "declared_key_with_other_arguments", accepted: decision.case !== "conflict", sign });
  }
}

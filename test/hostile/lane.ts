// One lying client: takes a task, works on it rightly, lies about it and about those of the victims, ends it rightly, and lies on.
// Called by campaign.ts, several at once.

import { RunState, runStateName } from "../../sdk/index.ts";
import { Bait } from "./bait.ts";
import { CALL_ATTACKS, type Scene } from "./call_attacks.ts";
import type { Cast } from "./campaign.ts";
import { AFTERMATH, FACT_ATTACKS } from "./fact_attacks.ts";
import { LEASE_ATTACKS, sessionAttacks } from "./lease_attacks.ts";

/** How often each lie is told about one task. */
const TIMES = 3;
/** How often each accepted fact is told again. */
const REPLAYS = 10;

/** Runs until the target of the campaign is reached, and one task at least. */
export async function lane(cast: Cast, index: number): Promise<void> {
  const { world, report, victims } = cast;
  const link = await cast.open(`liar-${index}`, "bait");
  const lies = Array.from({ length: TIMES }, () => [...CALL_ATTACKS, ...FACT_ATTACKS, ...LEASE_ATTACKS]).flat();
  const sessions = sessionAttacks(() => world.dial());
  let turn = index;
  do {
    await world.client.workflow("bait").invoke();
    // It may be the task of a run that another lane began.
    const assignment = await link.take();
    const own = new Bait(link, assignment, report, cast.spend);
    await own.begin();
    const scene = (): Scene => {
      turn += 1;
      return { own, victim: victims[turn % victims.length] as Bait, turn, use: cast.use };
    };
    for (const attack of [...lies, ...sessions]) report.note(await attack(scene()));
    await own.finish(REPLAYS);
    for (const attack of AFTERMATH) report.note(await attack(scene()));
    report.legit.runs += 1;
    const { state } = await world.client.run(assignment.runId).get();
    report.demand(state === RunState.SUCCEEDED, () => `run ${assignment.runId} is ${runStateName(state)}`);
  } while (report.attempts < cast.target);
}

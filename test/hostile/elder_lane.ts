// Grants that expire: their holder still has its lease, another task has taken the call over, and the first one answers all the same.
// Called by campaign.ts, beside the other lanes, for it waits longer than any grant of the tool lasts.

import { SECOND } from "../../kit/units.ts";
import { Bait } from "./bait.ts";
import type { Cast } from "./campaign.ts";

const SIDE = "elder";
const GRANTS = 8;
/** The tool's timeout is a second, the margin of a grant ten. */
const EXPIRED_MS = 11.5 * SECOND;

/** Tells so many results for each expired grant. */
export async function elderLane(cast: Cast, times: number): Promise<void> {
  const { world, report } = cast;
  const link = await cast.open("liar-elder", SIDE);
  const take = async (key: string) => {
    await world.client.workflow(SIDE).invoke();
    const bait = new Bait(link, await link.take(), report, cast.spend, [{ name: "keyed", arguments: { key } }]);
    await bait.recordTurn();
    return bait;
  };
  const elders = [];
  for (let index = 0; index < GRANTS; index += 1) {
    const bait = await take(`elder-${index}`);
    elders.push({ bait, grantId: (await bait.grant(0))?.grantId ?? "" });
  }
  await cast.clock.sleep(EXPIRED_MS);
  for (const [index, { bait, grantId }] of elders.entries()) {
    // Nobody answered in time: who asks next gets a grant of its own, for the tool only reads.
    const heir = await take(`elder-${index}`);
    const inherited = (await heir.grant(0))?.grantId ?? "";
    report.demand(inherited !== grantId && inherited !== "", () => "an expired grant was given to another task");
    const { taskId, token } = bait;
    for (let time = 0; time < times; time += 1) {
      const fact = { taskId, token, grantId, resultJson: JSON.stringify({ forged: time }), journalSequence: 2 };
      const [verdict] = await link.tell(fact);
      report.note({ kind: "expired_grant", accepted: verdict !== "refused", sign: "fact.refused tool_result" });
    }
    await heir.answer(inherited, '{"seen":true}', 2);
    await heir.succeed();
    await bait.succeed();
  }
}

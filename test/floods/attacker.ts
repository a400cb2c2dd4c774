// The attacker's process: runs the attacks of one order side by side and tells what came of them as one line of JSON.
// Started by campaign.ts, so that neither the server nor the clients that are measured share a thread with it.

import { Budget, type Tally } from "./attack.ts";
import { ATTACKS } from "./attacks.ts";
import type { Target } from "./wire.ts";

/** What to do. */
export interface Order {
  readonly target: Target;
  readonly attacks: readonly string[];
  readonly seconds: number;
}

const { target, attacks, seconds } = JSON.parse(process.argv[2] ?? "{}") as Order;
const tallies = await Promise.all(
  attacks.map(async (name): Promise<Tally> => {
    const attack = ATTACKS[name];
    if (attack === undefined) throw new Error(`there is no attack ${name}`);
    const budget = new Budget(target, { ...attack.limits, seconds });
    await attack.run(budget);
    return await budget.end(attack.offends);
  }),
);
const sum = (of: (tally: Tally) => number) => tallies.reduce((total, tally) => total + of(tally), 0);
const most = (of: (tally: Tally) => number) => Math.max(...tallies.map(of));
const all: Tally = {
  connections: sum(({ connections }) => connections),
  closed: sum(({ closed }) => closed),
  still_open: sum(({ still_open }) => still_open),
  gone_ms_max: most(({ gone_ms_max }) => gone_ms_max),
  sent: sum(({ sent }) => sent),
  open_max: sum(({ open_max }) => open_max),
};
process.stdout.write(`${JSON.stringify(all)}\n`);

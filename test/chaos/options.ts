// What `npm run chaos` may be told, and what it says about everything else.
// Read by main.ts. Pure but for the seed, which somebody else draws.

import { parseArgs } from "node:util";
import { PROFILES, type Profile } from "./profiles.ts";

export const HELP = `Usage: npm run chaos -- [options]

  --profile P  how much is broken: ${Object.keys(PROFILES).join(", ")}; default ci
  --seed N     draws the same again: which worker, which phase, how long; printed by every run
  --json       nothing but the JSON line on stdout
  --keep       keeps the evidence, also when nothing is wrong
`;

/** Seeds are below it. */
export const SEEDS = 2 ** 31;

export interface ChaosOptions {
  readonly profile: Profile;
  readonly seed: number;
  readonly json: boolean;
  readonly keep: boolean;
}

/** Undefined: help is asked for. @throws Error with what is wrong and what is allowed */
export function readOptions(args: readonly string[], drawnSeed: number): ChaosOptions | undefined {
  const { values } = parse(args);
  if (values.help) return undefined;
  const profile = Object.hasOwn(PROFILES, values.profile) ? PROFILES[values.profile] : undefined;
  if (profile === undefined)
    throw new Error(`--profile: "${values.profile}" is none of ${Object.keys(PROFILES).join(", ")}`);
  const seed = values.seed ?? String(drawnSeed);
  if (!/^\d{1,10}$/.test(seed) || Number(seed) >= SEEDS)
    throw new Error(`--seed: "${seed}" is not a whole number from 0 to ${SEEDS - 1}`);
  return { profile, seed: Number(seed), json: values.json, keep: values.keep };
}

function parse(args: readonly string[]) {
  const flag = { type: "boolean", default: false } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        ...{ profile: { type: "string", default: "ci" }, seed: { type: "string" } },
        ...{ json: flag, keep: flag, help: { ...flag, short: "h" } },
      },
    });
  } catch (error) {
    throw new Error(`${(error as Error).message.split("\n")[0]}\n\n${HELP}`);
  }
}

// What a history is made of: words of a seeded generator, each one command. A word picks an action, its target among those there
// are, and its fate; so every list of words is a history, and every part of one is a shorter history.

import { ACTIONS, type Action } from "./actions.ts";
import { Driver, type Fate, type Observer } from "./driver.ts";

/** Bits of a word: 7 action, 4 fate, 5 and 5 and 5 arguments. */
export const WORD_MAX = 2 ** 26 - 1;

export interface Word {
  readonly action: string;
  readonly fate: Fate;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

/** A word as text, such as "claim clean 0 1 0": what a counterexample prints and a regression keeps. */
export function textOf({ action, fate, a, b, c }: Word): string {
  return `${action} ${fate} ${a} ${b} ${c}`;
}

export function fromText(text: string): Word {
  const [action = "", fate = "", ...args] = text.split(" ");
  const [a = 0, b = 0, c = 0] = args.map(Number);
  if (!Object.hasOwn(ACTIONS, action) || !FATES.includes(fate as Fate)) throw new Error(`not a word: ${text}`);
  return { action, fate: fate as Fate, a, b, c };
}

const FATES: readonly Fate[] = [
  ...Array<Fate>(9).fill("clean"),
  ...(["drop", "drop_reply", "delay", "duplicate", "abort", "lost_ack", "delay"] as const),
];

export function wordOf(bits: number): Word {
  return {
    action: TABLE[bits & 127] as string,
    fate: FATES[(bits >> 7) & 15] as Fate,
    a: (bits >> 11) & 31,
    b: (bits >> 16) & 31,
    c: (bits >> 21) & 31,
  };
}

const TABLE: readonly string[] = Object.entries(ACTIONS).flatMap(([name, [weight]]) =>
  Array<string>(weight).fill(name),
);

/** A new system: two replicas, three workers, one run. */
export function startSystem(observe: Observer): Driver {
  const driver = new Driver(observe);
  for (let index = 0; index < 3; index += 1) driver.startWorker(index, index % 2);
  return driver;
}

/** Does what a word says; false if there was nothing to do it to. */
export function act(driver: Driver, word: Word): boolean {
  // What has no target becomes progress of some task: a schedule of nothing tries nothing.
  return [word.action, "work", "claim", "invoke"].some((name) => {
    const [, action] = ACTIONS[name] as readonly [number, Action];
    return action(driver, word);
  });
}

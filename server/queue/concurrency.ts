// Which runs of a workflow are counted together, and whether one more may go on: the rule behind `concurrency` of a template.
// Called by commands/invoke.ts, slots.ts and run_work.ts. Pure: no clock, no query.
// A run that goes on has a slot of its group; one that waits for its turn, or whose tasks are all parked, has none.

import type { Evaluated } from "../../language/types.ts";

/** Characters of a group's key at most. */
export const GROUP_KEY_CHARACTERS_MAX = 256;

/** What a run has of its group: a slot, or a place in the queue; null: neither, or no group. */
export type Slot = "held" | "waiting" | null;

/** A group of runs, as it is under its lock. */
export interface GroupCount {
  /** Runs with a slot at most; null: the limit was taken away. */
  readonly max: number | null;
  readonly running: number;
  readonly waiting: number;
}

/** The key of a group as text: a text, number or boolean. */
export function groupKey(value: unknown): Evaluated<string> {
  if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean") {
    const found = value === null ? "null" : Array.isArray(value) ? "a list" : "a map";
    return { ok: false, error: `concurrency.key is ${found}, not a text, number or boolean` };
  }
  const text = String(value).replaceAll("\u0000", "\\u0000").toWellFormed();
  if (text.length <= GROUP_KEY_CHARACTERS_MAX) return { ok: true, value: text };
  return { ok: false, error: `concurrency.key is longer than ${GROUP_KEY_CHARACTERS_MAX} characters` };
}

/** Slots that are free. */
export function freeSlots({ max, running }: Pick<GroupCount, "max" | "running">): number {
  return max === null ? Number.POSITIVE_INFINITY : Math.max(0, max - running);
}

/** True if a run that comes now goes on at once: there is a slot, and nobody waits for one already. */
export function startsAtOnce(group: GroupCount): boolean {
  return group.waiting === 0 && freeSlots(group) > 0;
}

/** What a run has after what a settling transaction did to it. */
export function slotAfter(
  before: Slot,
  run: { readonly finished: boolean /** Every task that is open is parked. */; readonly parked: boolean },
): Slot {
  if (run.finished || run.parked) return null;
  // What was parked and goes on again waits for its turn like any other.
  return before === "held" ? "held" : "waiting";
}

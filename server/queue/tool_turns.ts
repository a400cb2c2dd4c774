// Whose turn it is to be granted a call of a tool that is limited: the rule behind `concurrency` of a Tool.
// Called by commands/tool_turns.ts under the lock of the tool. Pure: no clock, no query.
// First come, first served: a call is granted only while there are more free grants than calls that wait before it and still ask.

import { MINUTE, SECOND } from "../../kit/units.ts";

/** Shortest and longest wait before a call that waits asks again, in ms. */
const ASK_MS_MIN = 100;
const ASK_MS_MAX = 2 * SECOND;
/** A call that has not asked for so long is passed over: three times the longest wait. */
export const WAITER_FRESH_MS = 3 * ASK_MS_MAX;
/** A call that has not asked for so long loses its place. */
export const WAITER_FORGET_MS = MINUTE;

/** How a tool stands, and grows in a batch. */
export interface ToolTurn {
  readonly max: number;
  /** Grants that are open. */
  open: number;
  /** Request ids of calls that wait, the first ones first. */
  readonly waiters: string[];
}

/** Grants a call its turn, or tells how long it is to wait before it asks again. */
export function takeTurn(turn: ToolTurn, requestId: string): { readonly delayMs: number } | undefined {
  const place = turn.waiters.indexOf(requestId);
  const before = place < 0 ? turn.waiters.length : place;
  const free = turn.max - turn.open;
  if (before < free) {
    turn.open += 1;
    if (place >= 0) turn.waiters.splice(place, 1);
    return undefined;
  }
  if (place < 0) turn.waiters.push(requestId);
  // The next ones look often, so that no grant is left idle; the others are not due for a while.
  return { delayMs: Math.min(ASK_MS_MAX, ASK_MS_MIN * (1 + before - Math.max(0, free))) };
}

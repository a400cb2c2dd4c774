// The transition tables: every listed row is taken, every other pair is refused, terminal states never change.

import { describe, expect, test } from "vitest";
import {
  isTerminal,
  NODE_TRANSITIONS,
  nextState,
  RUN_TRANSITIONS,
  TASK_TRANSITIONS,
} from "../../server/queue/states.ts";

const TERMINAL = {
  run: ["SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "POLICY_DENIED"],
  node: ["SUCCEEDED", "FAILED", "SKIPPED", "DENIED", "CANCELLED"],
  task: ["SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "POLICY_DENIED", "DEAD_LETTERED"],
};

describe.each([
  ["run", RUN_TRANSITIONS, TERMINAL.run],
  ["node", NODE_TRANSITIONS, TERMINAL.node],
  ["task", TASK_TRANSITIONS, TERMINAL.task],
] as const)("the table of a %s", (_name, transitions, terminal) => {
  const table = transitions as Record<string, Record<string, string>>;
  const states = Object.keys(table);
  const events = new Set(states.flatMap((state) => Object.keys(table[state] ?? {})));

  test("takes what it lists and refuses every other pair", () => {
    for (const state of states) {
      for (const event of events) {
        const next = table[state]?.[event];
        if (next === undefined) expect(() => nextState(table, state, event)).toThrow("no transition");
        else expect(nextState(table, state, event)).toBe(next);
      }
    }
  });

  test("leads to known states, all of them reachable", () => {
    const reached = new Set([states[0]]);
    for (const state of reached) for (const next of Object.values(table[state as string] ?? {})) reached.add(next);
    expect([...reached].sort()).toEqual([...states].sort());
  });

  test("ends exactly in the terminal states", () => {
    expect(states.filter((state) => isTerminal(table, state)).sort()).toEqual([...terminal].sort());
  });

  test("is frozen", () => {
    expect(Object.isFrozen(transitions)).toBe(true);
  });
});

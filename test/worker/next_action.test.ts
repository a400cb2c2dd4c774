// What an agent does next, as properties over journals that grow one fact at a time.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nextAction } from "../../worker/agent/next_action.ts";
import type { JournalEntry, Turn } from "../../worker/agent/task.ts";

const LIMITS = { maxTurns: 5, maxToolCalls: 6 };
const turn = (calls: number, text = ""): Turn => ({
  text,
  toolCalls: Array.from({ length: calls }, (_, index) => ({ name: `tool${index}`, arguments: { index } })),
});

/** Follows the actions, answering asks from the list of call counts; returns every action in order. */
function follow(callsPerTurn: readonly number[], start: readonly JournalEntry[] = [], limits = LIMITS) {
  const journal = [...start];
  const actions = [];
  for (;;) {
    const action = nextAction(journal, limits);
    actions.push(action);
    if (action.kind === "finish" || action.kind === "fail") return { actions, journal };
    if (action.kind === "ask") {
      journal.push({ kind: "turn", sequence: action.sequence, turn: turn(callsPerTurn[action.turn - 1] ?? 0, "done") });
      continue;
    }
    const { sequence, turnSequence, callIndex, call } = action;
    const outcome = { ok: true as const, result: null };
    journal.push({ kind: "result", sequence, turnSequence, callIndex, tool: call.name, outcome });
  }
}

const plans = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 8 });

describe("next action", () => {
  test("asks the first turn of an empty journal", () => {
    expect(nextAction([], LIMITS)).toEqual({ kind: "ask", turn: 1, sequence: 1 });
  });

  test("finishes with the text of a turn that asks for no tool", () => {
    const journal: JournalEntry[] = [{ kind: "turn", sequence: 1, turn: turn(0, "hello") }];
    expect(nextAction(journal, LIMITS)).toEqual({ kind: "finish", text: "hello" });
  });

  test("never passes its limits and always ends, whatever the model asks for", () => {
    fc.assert(
      fc.property(plans, (plan) => {
        const { actions } = follow(plan);
        expect(actions.filter(({ kind }) => kind === "ask").length).toBeLessThanOrEqual(LIMITS.maxTurns);
        expect(actions.filter(({ kind }) => kind === "call").length).toBeLessThanOrEqual(LIMITS.maxToolCalls);
      }),
    );
  });

  test("continues after every prefix of a journal with exactly the actions that were left", () => {
    fc.assert(
      fc.property(plans, (plan) => {
        const whole = follow(plan);
        for (let length = 0; length <= whole.journal.length; length += 1) {
          const resumed = follow(plan, whole.journal.slice(0, length));
          expect(resumed.actions).toEqual(whole.actions.slice(length));
        }
      }),
    );
  });

  test("numbers what it asks for without a gap", () => {
    fc.assert(
      fc.property(plans, (plan) => {
        const sequences = follow(plan).actions.flatMap((action) => ("sequence" in action ? [action.sequence] : []));
        expect(sequences).toEqual(sequences.map((_, index) => index + 1));
      }),
    );
  });

  test("fails with TurnLimit when the last turn allowed asked for a tool", () => {
    const { actions } = follow([1, 1, 1, 1, 1, 1], [], { maxTurns: 2, maxToolCalls: 9 });
    expect(actions.at(-1)).toMatchObject({ kind: "fail", class: "TurnLimit" });
  });

  test("fails with ToolCallLimit before the call that would pass it, counting calls of earlier attempts", () => {
    expect(follow([3], [], { maxTurns: 9, maxToolCalls: 2 }).actions.at(-1)).toMatchObject({ class: "ToolCallLimit" });
    const journal: JournalEntry[] = [{ kind: "turn", sequence: 1, turn: turn(1) }];
    expect(nextAction(journal, LIMITS, 5)).toMatchObject({ kind: "call" });
    expect(nextAction(journal, LIMITS, 6)).toMatchObject({ kind: "fail", class: "ToolCallLimit" });
  });

  test.each<[string, JournalEntry[]]>([
    ["a gap", [{ kind: "turn", sequence: 2, turn: turn(0) }]],
    ["a result without a turn", [result(1, 1, 0)]],
    ["a result of another turn", [{ kind: "turn", sequence: 1, turn: turn(1) }, result(2, 7, 0)]],
    ["a result out of order", [{ kind: "turn", sequence: 1, turn: turn(2) }, result(2, 1, 1)]],
    [
      "a turn before its predecessor's results",
      [
        { kind: "turn", sequence: 1, turn: turn(1) },
        { kind: "turn", sequence: 2, turn: turn(0) },
      ],
    ],
  ])("refuses a journal with %s", (_, journal) => {
    expect(nextAction(journal, LIMITS)).toMatchObject({ kind: "fail", class: "JournalInvalid" });
  });
});

function result(sequence: number, turnSequence: number, callIndex: number): JournalEntry {
  return { kind: "result", sequence, turnSequence, callIndex, tool: "t", outcome: { ok: true, result: 1 } };
}

// A turn that is recorded can be read again: what server and worker both ask of its shape, member by member.

import { expect, test } from "vitest";
import type { Json } from "../../kit/json.ts";
import { readTurn } from "../../kit/turn.ts";

test("what replay needs is read, and other members are left on record", () => {
  const call = { name: "look", arguments: { n: 1 } };
  expect(readTurn({ text: "", toolCalls: [{ ...call, id: "x" }], usage: { inputTokens: 1 } })).toEqual({
    text: "",
    toolCalls: [call],
  });
  expect(readTurn({ text: "1", toolCalls: [], record: "day" })).toEqual({ text: "1", toolCalls: [], record: "day" });
});

test.each<[Json, string]>([
  [null, "not an object"],
  [[], "not an object"],
  [{}, "text is not a string"],
  [{ text: 1, toolCalls: [] }, "text is not a string"],
  [{ text: "" }, "toolCalls is not a list"],
  [{ text: "", toolCalls: {} }, "toolCalls is not a list"],
  [{ text: "", toolCalls: [], record: null }, "record is not a string"],
  [{ text: "", toolCalls: ["look"] }, "toolCalls[0] is not an object"],
  [{ text: "", toolCalls: [{ name: "look", arguments: {} }, { arguments: {} }] }, "toolCalls[1].name is not a string"],
  [{ text: "", toolCalls: [{ name: "look" }] }, "toolCalls[0].arguments is not an object"],
  [{ text: "", toolCalls: [{ name: "look", arguments: [] }] }, "toolCalls[0].arguments is not an object"],
])("%j is refused: %s", (turn, problem) => {
  expect(() => readTurn(turn)).toThrow(problem);
});

// Which calls a recorded turn asks for: the same place, tool and arguments, compared as values; anything else is made up.

import { expect, test } from "vitest";
import { canonicalJson, type Json } from "../../kit/json.ts";
import { isAskedFor, isOfNode } from "../../server/queue/asked_call.ts";

const ARGUMENTS = { amount: 1, note: "caf\u00e9", items: [1, 2] };
const turnOf = (...toolCalls: Json[]) => canonicalJson({ text: "", toolCalls });
const TURN = turnOf({ name: "pay", arguments: ARGUMENTS }, { name: "look", arguments: {} });
const text = JSON.stringify(ARGUMENTS);

test.each([
  ["as recorded", text],
  ["with its keys in another order", '{"note":"café","items":[1,2],"amount":1}'],
  ["with white space", ` ${JSON.stringify(ARGUMENTS, undefined, 2)} `],
  ["with a number written otherwise", text.replace('"amount":1', '"amount":1.0e0')],
  ["with an escaped character", text.replace("é", "\\u00e9")],
  ["with a key twice, the last of which counts", text.replace('{"amount":1', '{"amount":9,"amount":1')],
])("a call %s is the one that was asked for", (_title, argumentsJson) => {
  expect(isAskedFor(TURN, { callIndex: 0, tool: "pay", argumentsJson })).toBe(true);
});

test.each([
  ["another value", text.replace('"amount":1', '"amount":2')],
  ["a number as a text", text.replace('"amount":1', '"amount":"1"')],
  ["the same characters in another unicode form", text.replace("é", "e\u0301")],
  ["a look-alike key", text.replace("amount", "\u0430mount")],
  ["a member more", text.replace("{", '{"admin":true,')],
  ["a member less", '{"amount":1}'],
  ["a list in another order", text.replace("[1,2]", "[2,1]")],
  ["a key twice, the first of which was asked for", text.replace('"amount":1', '"amount":1,"amount":9')],
  ["a prototype", text.replace("{", '{"__proto__":{"amount":1},')],
  ["no JSON", "{"],
  ["nothing", ""],
])("a call with %s is made up", (_title, argumentsJson) => {
  expect(isAskedFor(TURN, { callIndex: 0, tool: "pay", argumentsJson })).toBe(false);
});

test.each<[string, string | null, number, string]>([
  ["no turn is recorded there", null, 0, "pay"],
  ["the entry is no JSON", "{", 0, "pay"],
  ["the entry is no turn", '"text"', 0, "pay"],
  ["the turn asked for nothing", turnOf(), 0, "pay"],
  ["its calls are no list", '{"toolCalls":{"0":{"name":"pay","arguments":{}}}}', 0, "pay"],
  ["the turn asked for another tool there", TURN, 1, "pay"],
  ["the turn has fewer calls", TURN, 2, "look"],
  ["the index is below zero", TURN, -1, "pay"],
  ["the name differs in case", TURN, 0, "Pay"],
  ["the call has no arguments", turnOf({ name: "pay" }), 0, "pay"],
  ["the call is a text", turnOf("pay"), 0, "pay"],
])("nothing is asked for when %s", (_title, turn, callIndex, tool) => {
  expect(isAskedFor(turn, { callIndex, tool, argumentsJson: text })).toBe(false);
});

test("arguments that are no object, or nest too deep, are asked for as they stand: the next check refuses them by name", () => {
  const deep: Json = JSON.parse(`${'{"a":'.repeat(130)}1${"}".repeat(130)}`) as Json;
  for (const wanted of [[1], "x", deep]) {
    const call = { callIndex: 0, tool: "pay", argumentsJson: canonicalJson(wanted) };
    expect(isAskedFor(turnOf({ name: "pay", arguments: wanted }), call)).toBe(true);
  }
});

test("a tool that is a node is called with the node's input alone, whatever the turn says; a model chooses", () => {
  const argumentsJson = '{"n": 1}';
  expect(isOfNode(null, { argumentsJson })).toBe(true);
  expect(isOfNode('{"n":1}', { argumentsJson })).toBe(true);
  for (const input of ['{"n":2}', "{}", '{"n":1,"m":1}', "1"]) expect(isOfNode(input, { argumentsJson })).toBe(false);
});

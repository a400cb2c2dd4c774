// Conditions: what they evaluate to, what is refused at compile and where, and that nothing ever throws.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileCondition, referencesOf } from "../../language/condition.ts";
import type { Bindings } from "../../language/types.ts";

const VARIABLES = ["input", "output", "nodes", "iteration"];

function evaluate(text: string, bindings: Bindings) {
  const compiled = compileCondition(text, { variables: VARIABLES });
  if (!compiled.ok) throw new Error(compiled.error);
  return compiled.value.evaluate(bindings);
}

function refusal(text: string) {
  const compiled = compileCondition(text, { variables: VARIABLES });
  if (compiled.ok) throw new Error(`${text} compiled`);
  return compiled;
}

describe("evaluation", () => {
  test.each<[string, Bindings, boolean]>([
    ['output.route == "billing"', { output: { route: "billing" } }, true],
    ["output.score < 8", { output: { score: 7 } }, true],
    ["output.score < 8", { output: { score: 8.5 } }, false],
    ["has(nodes.a.output)", { nodes: { a: {} } }, false],
    ["iteration.index + 1 == 1", { iteration: { index: 0 } }, true],
    ["input.list.all(item, item > 0)", { input: { list: [1, 2] } }, true],
    ['input["a-b"] == null', { input: { "a-b": null } }, true],
    ["output.missing == 1 || true", { output: {} }, true],
    ["input.list.map(x, x * 2) == [2, 4]", { input: { list: [1, 2] } }, true],
    ["input == {'a': [1, {'b': 2}]}", { input: { a: [1, { b: 2 }] } }, true],
    ["input.l.filter(x, x > 1).map(x, x > 2, x + 1) == [4]", { input: { l: [1, 2, 3] } }, true],
    ["input.l.map(x, input.l.map(y, x + y)).size() == 2", { input: { l: [1, 2] } }, true],
    ["input.l.map(x, input.l.map(y, x * y)) == [[1, 2], [2, 4]]", { input: { l: [1, 2] } }, true],
    ["input.l.exists_one(x, x == 2)", { input: { l: [1, 2] } }, true],
  ])("%s", (text, bindings, expected) => {
    expect(evaluate(text, bindings)).toEqual({ ok: true, value: expected });
  });

  test("a result that is not a boolean is an error", () => {
    expect(evaluate("1 + 1", {})).toEqual({ ok: false, error: "`1 + 1` is int, not true or false" });
  });

  test("a missing field is an error that quotes the expression", () => {
    expect(evaluate("output.rout == 1", { output: {} })).toEqual({
      ok: false,
      error: expect.stringMatching(/rout.*output\.rout == 1/),
    });
  });

  test.each(["output.constructor == 1", "output.__proto__ == 1", "output.toString == 1"])(
    "inherited members are out of reach: %s",
    (text) => expect(evaluate(text, { output: {} }).ok).toBe(false),
  );

  test("a schema that says number binds integers as double, so that arithmetic with fractions works", () => {
    const schemas = { output: { type: "object", properties: { score: { type: "number" } } } };
    const compiled = compileCondition("output.score * 1.5 == 3.0", { variables: ["output"], schemas });
    expect(compiled.ok && compiled.value.evaluate({ output: { score: 2 } })).toEqual({ ok: true, value: true });
    expect(evaluate("output.score * 1.5 == 3.0", { output: { score: 2 } }).ok).toBe(false);
  });

  test("nested macros over large lists run out of iterations instead of time", () => {
    const list = Array.from({ length: 5_000 }, (_, index) => index);
    expect(evaluate("input.all(a, input.all(b, a + b >= 0))", { input: list })).toEqual({
      ok: false,
      error: expect.stringContaining("iterations"),
    });
    expect(evaluate("input.all(a, a >= 0)", { input: list })).toEqual({ ok: true, value: true });
  });

  test.each(["input.all(a, a in input)", "input.all(a, input == input)"])(
    "comparisons with whole lists inside a macro are paid for: %s",
    (text) => {
      const list = Array.from({ length: 5_000 }, (_, index) => index);
      expect(evaluate(text, { input: list })).toEqual({ ok: false, error: expect.stringContaining("iterations") });
      expect(evaluate(text, { input: list.slice(0, 50) })).toEqual({ ok: true, value: true });
    },
  );

  test("a map over ten thousand items builds its list in linear time", () => {
    const list = Array.from({ length: 10_000 }, (_, index) => index);
    expect(evaluate("input.map(a, a + 1).filter(b, b > 0).size() == 10000", { input: list })).toEqual({
      ok: true,
      value: true,
    });
  });

  test("a catastrophic pattern is linear", () => {
    expect(evaluate('input.matches("^(a+)+$")', { input: `${"a".repeat(5_000)}!` })).toEqual({
      ok: true,
      value: false,
    });
  });
});

describe("refusals at compile", () => {
  test.each<[string, RegExp, number]>([
    ["", /empty/, 0],
    ["inputt.a == 1", /unknown name "inputt"; known here: input/, 0],
    ["input.a == 1 && nodez.b", /unknown name "nodez"/, 16],
    ["1 + sise(input)", /unknown function "sise"/, 4],
    ["has(input)", /has\(\) takes a member/, 0],
    ["input.all(1, true)", /all\(\) takes a variable/, 5],
    ["(1 == 1", /not a CEL expression/, 7],
    ["input.a.all(x, x.all(y, y.all(z, z)))", /macros nest deeper/, 0],
    [`${"(".repeat(65)}true${")".repeat(65)}`, /brackets nest deeper/, 0],
    [`"${"é".repeat(2_048)}" == ""`, /longer than 4096 bytes/, 0],
  ])("%s", (text, error, offset) => {
    expect(refusal(text)).toEqual({ ok: false, error: expect.stringMatching(error), offset });
  });

  test("chained macros do not count as nested", () => {
    const text = "input.a.filter(x, x.ok).map(x, x.b).filter(x, x.c).all(x, x.all(y, y))";
    expect(compileCondition(text, { variables: VARIABLES }).ok).toBe(true);
  });

  test("thousands of operators are a value or an error value, not a crash", () => {
    for (const operators of [600, 1_300, 2_040]) {
      const compiled = compileCondition(`1${"+1".repeat(operators)} > 0`, { variables: VARIABLES });
      if (compiled.ok) expect(compiled.value.evaluate({}).ok).toBeTypeOf("boolean");
      else expect(compiled.error).toMatch(/too complex/);
    }
  });
});

describe("references", () => {
  const paths = (text: string) => referencesOf(text).map(({ path, tested, known }) => [path.join("."), tested, known]);

  test.each<[string, [string, boolean, number][]]>([
    ['nodes.triage.output.route == "x"', [["nodes.triage.output.route", false, 0]]],
    ['nodes["triage"].output', [["nodes.triage.output", false, 0]]],
    ["has(nodes.a.output)", [["nodes.a.output", true, 0]]],
    [
      "has(nodes.a.output) ? nodes.a.output.x : nodes.b.output",
      [
        ["nodes.a.output", true, 0],
        ["nodes.a.output.x", false, 3],
        ["nodes.b.output", false, 1 - 1],
      ],
    ],
    [
      "!has(nodes.a.output) ? 1 : nodes.a.output.x",
      [
        ["nodes.a.output", true, 0],
        ["nodes.a.output.x", false, 3],
      ],
    ],
    [
      "has(nodes.a.output) && nodes.a.output.x > 1",
      [
        ["nodes.a.output", true, 3 - 3],
        ["nodes.a.output.x", false, 3],
      ],
    ],
    [
      '"k" in input.m ? input.m.k : 0',
      [
        ["input.m", false, 0],
        ["input.m.k", false, 3],
      ],
    ],
    [
      "input.list.map(o, o.output + input.k)",
      [
        ["input.list", false, 0],
        ["input.k", false, 0],
      ],
    ],
    ["input.items[0].name", [["input.items", false, 0]]],
    [
      "nodes[input.which].output",
      [
        ["nodes", false, 0],
        ["input.which", false, 0],
      ],
    ],
    ["type(input.a) == int", [["input.a", false, 0]]],
    [
      "{'a': input.x}[string(input.y)]",
      [
        ["input.x", false, 0],
        ["input.y", false, 0],
      ],
    ],
  ])("%s", (text, expected) => {
    const found = paths(text);
    expect(found).toHaveLength(expected.length);
    for (const [index, [path, tested, known]] of expected.entries()) {
      expect(found[index]?.slice(0, 2)).toEqual([path, tested]);
      if (known > 0) expect(found[index]?.[2]).toBe(known);
      else expect(found[index]?.[2]).toBeLessThan(path.split(".").length);
    }
  });

  test("an offset is that of the variable", () => {
    expect(referencesOf("1 == 1 && has(nodes.a.output)")[0]?.offset).toBe(14);
  });
});

test("no text and no input makes compilation or evaluation throw", () => {
  const word = fc.constantFrom(
    ..."input . ( ) [ ] { } ? : && || ! has all map x 1 2.5 'a' \" , == < in null - + ${{ }}".split(" "),
  );
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(word, { maxLength: 20 }).map((words) => words.join(" ")),
  );
  fc.assert(
    fc.property(text, fc.jsonValue(), (expression, input) => {
      const compiled = compileCondition(expression, { variables: ["input"] });
      if (compiled.ok) compiled.value.evaluate({ input: input as never });
      else expect(compiled.offset).toBeLessThanOrEqual(expression.length);
      referencesOf(expression);
    }),
    { numRuns: 1_000 },
  );
});

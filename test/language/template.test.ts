// Templates: types kept, embedding, escapes, where insertions end, errors with places, encoders.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Json } from "../../kit/json.ts";
import { ALL_NODES, compileStringTemplate, compileTemplate } from "../../language/template.ts";

const OPTIONS = { variables: ["input", "nodes", "args"] };
const BINDINGS = { input: { s: "a b", n: 3, f: 1.5, b: true, o: { z: 1, a: [1, 2] }, l: [1, "x"], nil: null } };

function evaluate(value: Json) {
  const compiled = compileTemplate(value, OPTIONS);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.errors));
  return compiled.value.evaluate(BINDINGS);
}

function errorsOf(value: Json) {
  const compiled = compileTemplate(value, OPTIONS);
  return compiled.ok ? [] : compiled.errors;
}

describe("evaluation", () => {
  test.each<[string, Json]>([
    ["${{ input.n }}", 3],
    ["${{input.f}}", 1.5],
    ["${{ input.o }}", { z: 1, a: [1, 2] }],
    ["${{ input.nil }}", null],
    [" ${{ input.n }}", " 3"],
    ["${{ input.s }}-${{ input.b }}", "a b-true"],
    ["x ${{ input.o }}", 'x {"a":[1,2],"z":1}'],
    ["${{ input.f }}${{ input.n }}", "1.53"],
    ["$${{ input.n }}", "${{ input.n }}"],
    ["$$${{", "$${{"],
    ["a $${{ b }} ${{ input.n }}", "a ${{ b }} 3"],
    ["costs $5 and $${{", "costs $5 and ${{"],
    ["${{ '}}' }}", "}}"],
    ['${{ "a\\"}}" }}!', 'a"}}!'],
    ["${{ r'\\' + '}}' }}", "\\}}"],
    ["${{ '''it's }}''' }}", "it's }}"],
    ["${{ {'a': {'b': 1}} }}", { a: { b: 1 } }],
    ["${{{'a': {'b': 1}}}}", { a: { b: 1 } }],
    ["${{ {'a': {'b': 1}}}}.", '{"a":{"b":1}}.'],
    ["${{ 1 // }} comment\n }}", 1],
    ["${{ timestamp('2026-01-02T03:04:05Z') }}", "2026-01-02T03:04:05Z"],
    ["${{ duration('90s') }}", "90s"],
    ["${{ input.l.map(x, {'v': x}) }}", [{ v: 1 }, { v: "x" }]],
  ])("%s", (text, expected) => {
    expect(evaluate(text)).toEqual({ ok: true, value: expected });
  });

  test("structure around insertions is kept and keys are not templated", () => {
    expect(evaluate({ "${{ input.n }}": ["${{ input.n }}", 1, null], k: { d: "n=${{ input.n }}" } })).toEqual({
      ok: true,
      value: { "${{ input.n }}": [3, 1, null], k: { d: "n=3" } },
    });
  });

  test("a key __proto__ stays a key and pollutes nothing", () => {
    const result = evaluate(JSON.parse('{"__proto__": {"polluted": "${{ input.n }}"}}'));
    expect(result.ok && JSON.stringify(result.value)).toBe('{"__proto__":{"polluted":3}}');
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  test.each<[Json, RegExp]>([
    ["a ${{ input.nil }}", /null cannot be embedded/],
    [{ a: ["x", "${{ input.q }}"] }, /^a: \[1\]: .*q/],
    ["${{ b'x' }}", /bytes/],
    ["${{ 0.0 / 0.0 }}", /not a JSON number/],
    ["${{ 9007199254740993 }}", /beyond 2\^53/],
    ["${{ {1: 2} }}", /keys that are not strings/],
    ["${{ type(1) }}", /not JSON/],
  ])("%j is an error value", (value, error) => {
    expect(evaluate(value)).toEqual({ ok: false, error: expect.stringMatching(error) });
  });
});

describe("compilation", () => {
  test("all errors are reported, each with its path and offset", () => {
    const errors = errorsOf({ a: "x ${{ inputt.n }}", b: ["${{ 1 ", "ok"], c: "${{ (1 }} ${{ }}" });
    expect(errors).toEqual([
      { path: ["a"], offset: 6, message: expect.stringContaining('unknown name "inputt"') },
      { path: ["b", 0], offset: 0, message: expect.stringContaining("not closed") },
      { path: ["c"], offset: 6, message: expect.stringContaining("not a CEL expression") },
      { path: ["c"], offset: 14, message: expect.stringContaining("empty") },
    ]);
  });

  test("nodesRead names each node once, and all of them for a computed name", () => {
    const read = (value: Json) => {
      const compiled = compileTemplate(value, OPTIONS);
      return compiled.ok ? compiled.value.nodesRead : undefined;
    };
    expect(read({ a: "${{ nodes.x.output }}", b: "${{ has(nodes.y.output) ? nodes['x'] : 1 }}" })).toEqual(["x", "y"]);
    expect(read("${{ nodes[input.s].output }}")).toEqual([ALL_NODES]);
    expect(read("plain")).toEqual([]);
  });

  test("insertions tell where they stand and whether they are alone", () => {
    const compiled = compileTemplate({ a: "${{ input.n }}", b: ["-${{  input.s  }}"] }, OPTIONS);
    expect(compiled.ok && compiled.value.insertions).toMatchObject([
      { path: ["a"], text: "input.n", offset: 4, whole: true },
      { path: ["b", 0], text: "input.s", offset: 6, whole: false },
    ]);
  });
});

describe("string templates", () => {
  const compiled = compileStringTemplate("http://h/${{ args.id }}?q=${{ args.n }}", OPTIONS);

  test("segments are exposed in order", () => {
    expect(compiled.ok && compiled.value.segments).toMatchObject([
      { kind: "literal", text: "http://h/" },
      { kind: "expression", text: "args.id" },
      { kind: "literal", text: "?q=" },
      { kind: "expression", text: "args.n" },
    ]);
  });

  test("each insertion passes through the encoder, literals do not", () => {
    const seen: [number, string][] = [];
    const result =
      compiled.ok &&
      compiled.value.evaluateString({ args: { id: "a/b", n: 1 } }, (text, index, expression) => {
        seen.push([index, expression]);
        return { ok: true, value: encodeURIComponent(text) };
      });
    expect(result).toEqual({ ok: true, value: "http://h/a%2Fb?q=1" });
    expect(seen).toEqual([
      [0, "args.id"],
      [1, "args.n"],
    ]);
  });

  test("an insertion alone is encoded text too", () => {
    const alone = compileStringTemplate("${{ args }}", OPTIONS);
    expect(alone.ok && alone.value.evaluateString({ args: { b: 1, a: 2 } })).toEqual({
      ok: true,
      value: '{"a":2,"b":1}',
    });
  });

  test("an encoder's refusal is the result", () => {
    const refuse = () => ({ ok: false, error: "refused" }) as const;
    expect(compiled.ok && compiled.value.evaluateString({ args: { id: "x", n: 1 } }, refuse)).toEqual(refuse());
  });
});

test("a value without ${{ is its own result", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      if (JSON.stringify(value).includes("${{")) return;
      const compiled = compileTemplate(value as Json, OPTIONS);
      expect(compiled.ok && compiled.value.evaluate({})).toEqual({ ok: true, value });
    }),
  );
});

test("no text makes compilation or evaluation throw", () => {
  const word = fc.constantFrom(
    "${{",
    "}}",
    "$",
    "{",
    "}",
    "'",
    '"',
    "\\",
    "r",
    "//",
    "\n",
    "input",
    ".n",
    " ",
    "'''",
    "é",
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 24 }), (words) => {
      const compiled = compileStringTemplate(words.join(""), OPTIONS);
      if (compiled.ok) compiled.value.evaluate(BINDINGS);
      else for (const error of compiled.errors) expect(error.offset).toBeLessThanOrEqual(words.join("").length);
    }),
    { numRuns: 2_000 },
  );
});

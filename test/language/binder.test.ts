// The binder: JSON through CEL and back is the same JSON, also when it is rebuilt rather than passed through.

import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson, type Json } from "../../kit/json.ts";
import { bindJson, jsonOf } from "../../language/binder.ts";
import { compileTemplate } from "../../language/template.ts";

const REBUILD = compileTemplate({ v: "${{ [[input].map(x, x)[0]].map(x, {'k': x}) }}" }, { variables: ["input"] });

test("JSON through the binder is the same JSON", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const result = jsonOf(bindJson(value as Json));
      expect(result.ok && canonicalJson(result.value)).toBe(canonicalJson(value as Json));
    }),
  );
});

test("JSON through an expression that wraps it is the same JSON", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const result = REBUILD.ok ? REBUILD.value.evaluate({ input: value as Json }) : undefined;
      expect(result?.ok && canonicalJson(result.value)).toBe(canonicalJson({ v: [{ k: value as Json }] }));
    }),
  );
});

test("maps that CEL iterates have their members as JSON would list them", () => {
  const compiled = compileTemplate("${{ input.map(k, k + '=' + string(input[k])) }}", { variables: ["input"] });
  expect(compiled.ok && compiled.value.evaluate({ input: { a: 1, b: 2.5 } })).toEqual({
    ok: true,
    value: ["a=1", "b=2.5"],
  });
});

test("integers bind as int up to 2^53 and as double beyond", () => {
  expect(typeof bindJson(2 ** 53)).toBe("bigint");
  expect(typeof bindJson(-(2 ** 53))).toBe("bigint");
  expect(typeof bindJson(2 ** 53 + 2)).toBe("number");
  expect(typeof bindJson(0.5)).toBe("number");
});

test("number hints reach through properties, items, $defs and additionalProperties", () => {
  const schema = {
    type: "object",
    $defs: { price: { type: "number" } },
    properties: { list: { type: "array", items: { $ref: "#/$defs/price" } }, n: { type: "integer" } },
    additionalProperties: { type: ["number", "null"] },
  };
  const bound = bindJson({ list: [1], n: 1, other: 1 }, schema) as { get(key: string): unknown };
  expect(typeof bound.get("n")).toBe("bigint");
  expect(typeof bound.get("other")).toBe("number");
  expect(typeof (bound.get("list") as { get(index: number): unknown }).get(0)).toBe("number");
});

test("bytes, integers beyond 2^53 and numbers that JSON lacks are error values", () => {
  for (const value of [new Uint8Array([1]), 2n ** 60n, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(jsonOf(value).ok).toBe(false);
  }
});

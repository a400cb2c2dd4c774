// Canonical text of JSON: one text a value, whatever the order of its keys; and the digests made of it.

import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  canonicalJson,
  isJsonObject,
  JSON_DEPTH_MAX,
  type Json,
  jsonDigest,
  parseJson,
  sha256,
} from "../../kit/json.ts";

const jsonValue = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<Json>;

/** The same value with the keys of every object in reverse. */
function reversed(value: Json): Json {
  if (Array.isArray(value)) return value.map(reversed);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, member]) => [key, reversed(member)]),
  );
}

describe("canonical text", () => {
  test.each<[Json, string]>([
    [null, "null"],
    [true, "true"],
    [-0, "0"],
    [[-0, { a: -0 }], '[0,{"a":0}]'],
    [1e30, "1e+30"],
    [0.002, "0.002"],
    [1e-27, "1e-27"],
    // biome-ignore lint/correctness/noPrecisionLoss: how a number is shortened is what is checked
    [333333333.33333329, "333333333.3333333"],
    ['€$\u000f\nA\'B"\\\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'],
    [[], "[]"],
    [{}, "{}"],
    [{ b: [{ z: 1, y: [2, [3]] }], a: { d: null, c: false } }, '{"a":{"c":false,"d":null},"b":[{"y":[2,[3]],"z":1}]}'],
  ])("of %j is %s", (value, text) => {
    expect(canonicalJson(value)).toBe(text);
  });

  test("keys are sorted by UTF-16 code unit: neither by number, nor by locale, nor by code point", () => {
    const keys = (text: string) => Object.keys(JSON.parse(text) as object);
    expect(canonicalJson({ 9: 0, 10: 0 })).toBe('{"10":0,"9":0}');
    expect(keys(canonicalJson({ b: 0, B: 0, a: 0, é: 0, z: 0 }))).toEqual(["B", "a", "b", "z", "é"]);
    const names = { "\u20ac": 0, "\r": 0, "\ufb33": 0, x: 0, "\u{1f600}": 0, "\u0080": 0, "\u00f6": 0 };
    expect(keys(canonicalJson(names))).toEqual(["\r", "x", "\u0080", "\u00f6", "\u20ac", "\u{1f600}", "\ufb33"]);
  });

  test("a key named __proto__ is a key like another", () => {
    const text = '{"__proto__":{"a":1},"b":2}';
    expect(canonicalJson(JSON.parse(text) as Json)).toBe(text);
  });

  test("is sorted also when there were more kinds of objects before it than are remembered", () => {
    for (let number = 0; number < 6_000; number += 1) {
      const name = `z${String(number).padStart(5, "0")}`;
      const wanted = `{"a":1,"${name}":{"b":"","c":2}}`;
      for (let times = 0; times < 2; times += 1) expect(canonicalJson({ [name]: { c: 2, b: "" }, a: 1 })).toBe(wanted);
    }
  });

  test.each(["", '"', "\\", "\u001f", "\u007f", "\u2028", "\ud800", "é", "\u{1f600}"])(
    "escapes as JSON.stringify does: %j",
    (text) => {
      for (const long of [text, text + "x".repeat(500)]) expect(canonicalJson(long)).toBe(JSON.stringify(long));
    },
  );

  test("a member that is undefined is left out, as an absent one", () => {
    expect(canonicalJson({ a: undefined, b: 1 } as unknown as Json)).toBe('{"b":1}');
  });

  test.each<[string, unknown]>([
    ["NaN", Number.NaN],
    ["Infinity", Number.POSITIVE_INFINITY],
    ["-Infinity", Number.NEGATIVE_INFINITY],
    ["undefined", undefined],
    ["a function", () => 1],
    ["a symbol", Symbol("s")],
    ["a bigint", 1n],
    ["NaN deep inside", { a: [{ b: Number.NaN }] }],
    ["undefined inside an array", [1, undefined, 2]],
    ["a hole in an array", new Array(2)],
  ])("%s is refused", (_name, value) => {
    expect(() => canonicalJson(value as Json)).toThrow(TypeError);
  });

  test("parses back to an equal value", () => {
    fc.assert(
      fc.property(jsonValue, (value) => {
        const plain = JSON.parse(JSON.stringify(value)) as Json;
        expect(isDeepStrictEqual(JSON.parse(canonicalJson(value)), plain)).toBe(true);
      }),
    );
  });

  test("is the same for equal values in any order of keys, and a fixed point", () => {
    fc.assert(
      fc.property(jsonValue, (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(reversed(value))).toBe(text);
        expect(canonicalJson(JSON.parse(text) as Json)).toBe(text);
      }),
    );
  });

  test("differs for values that differ", () => {
    fc.assert(
      fc.property(jsonValue, jsonValue, (one, other) => {
        const plain = [one, other].map((value) => JSON.parse(JSON.stringify(value)) as Json);
        expect(canonicalJson(one) === canonicalJson(other)).toBe(isDeepStrictEqual(plain[0], plain[1]));
      }),
    );
  });
});

describe("digests", () => {
  test("sha256 is that of the UTF-8 bytes, with its name in front", () => {
    expect(sha256("abc")).toBe("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect(sha256("é€")).toBe(sha256(new TextEncoder().encode("é€")));
  });

  test("the digest of a value is that of its canonical text", () => {
    expect(jsonDigest({ b: -0, a: 1 })).toBe(sha256('{"a":1,"b":0}'));
    expect(jsonDigest({ a: 1 })).not.toBe(jsonDigest({ a: "1" }));
  });
});

test("only an object that is neither null nor an array is a JSON object", () => {
  const values = [{}, Object.create(null), null, [], "x", 1, undefined];
  expect(values.map(isJsonObject)).toEqual([true, true, false, false, false, false, false]);
});

describe("JSON from outside", () => {
  const nested = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;

  test("is what JSON.parse makes of it, to the deepest level that is taken", () => {
    fc.assert(fc.property(fc.json({ maxDepth: 6 }), (text) => void expect(parseJson(text)).toEqual(JSON.parse(text))));
    expect(parseJson(nested(JSON_DEPTH_MAX))).toEqual(JSON.parse(nested(JSON_DEPTH_MAX)));
  });

  test.each([
    ["arrays", nested(JSON_DEPTH_MAX + 1)],
    ["a hundred thousand arrays", nested(100_000)],
    ["objects", `${'{"a":'.repeat(JSON_DEPTH_MAX + 1)}1${"}".repeat(JSON_DEPTH_MAX + 1)}`],
    ["arrays after a string that looks like their end", `["${"]".repeat(200)}\\"]",${nested(JSON_DEPTH_MAX)}]`],
  ])("nested too deep is refused: %s", (_name, text) => {
    expect(() => parseJson(text)).toThrow("nested deeper than 128 levels");
  });

  test("brackets in strings are no levels, and what is not JSON is the parser's", () => {
    const text = JSON.stringify(["[".repeat(1_000), '\\"[', "{"]);
    expect(parseJson(text)).toEqual(JSON.parse(text));
    for (const wrong of ["", "[", '"\\', "]]]]"]) expect(() => parseJson(wrong)).toThrow(SyntaxError);
  });
});

// JSON Schemas: what is refused at compile, what does not fit and how that reads, defaults, samples.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../kit/json.ts";
import { compileSchema } from "../../language/json_schema.ts";
import { sampleOf } from "../../language/schema_sample.ts";

function compiled(schema: JsonObject) {
  const result = compileSchema(schema);
  if (!result.ok) throw new Error(result.error);
  return result.value;
}

describe("compile", () => {
  test.each<[JsonObject, RegExp, (string | number)[]]>([
    [{ typ: "string" }, /unknown keyword "typ"/, ["typ"]],
    [{ properties: { a: { items: { foo: 1 } } } }, /unknown keyword "foo"/, ["properties", "a", "items", "foo"]],
    [{ type: "strin" }, /allowed values/, ["type"]],
    [{ $ref: "https://example.org/s" }, /local/, ["$ref"]],
    [{ $defs: { a: { $ref: "other.json" } } }, /local/, ["$defs", "a", "$ref"]],
    [{ $ref: "#/$defs/none" }, /resolve reference/, []],
    [{ properties: { a: { $id: "x" } } }, /root only/, ["properties", "a", "$id"]],
    [{ $schema: "http://json-schema.org/draft-07/schema#" }, /\$schema must be/, ["$schema"]],
    [{ type: "string", format: "zork" }, /unknown format "zork"/, []],
    [{ type: "string", pattern: "(?=a)" }, /RE2/, ["pattern"]],
    [{ type: "object", patternProperties: { "(": {} } }, /RE2/, ["patternProperties", "("]],
    [{ type: "string", pattern: "a".repeat(2_000) }, /longer/, ["pattern"]],
  ])("%j is refused", (schema, error, path) => {
    expect(compileSchema(schema)).toEqual({ ok: false, error: expect.stringMatching(error), path });
  });

  test("a schema deeper than the limit is refused", () => {
    let schema: JsonObject = {};
    for (let depth = 0; depth < 100; depth += 1) schema = { not: schema };
    expect(compileSchema(schema)).toMatchObject({ ok: false, error: expect.stringMatching(/nests deeper/) });
  });

  test("property names that look like keywords are names", () => {
    const check = compiled({ type: "object", properties: { $ref: { type: "string" }, typ: {} }, required: ["$ref"] });
    expect(check.check({ $ref: "x" })).toBeUndefined();
  });

  test("equal schemas with the same $id compile again and again", () => {
    for (const type of ["string", "integer"]) {
      expect(compileSchema({ $id: "https://example.org/a", type }).ok).toBe(true);
      expect(compileSchema({ $id: "https://example.org/a", type }).ok).toBe(true);
    }
  });
});

describe("check", () => {
  const check = compiled({
    type: "object",
    required: ["a", "b"],
    properties: { a: { type: "integer", minimum: 1 }, b: { enum: ["x", "y"] }, l: { items: { type: "string" } } },
    additionalProperties: false,
  });

  test("a value that fits has no message", () => expect(check.check({ a: 1, b: "x" })).toBeUndefined());

  test("problems are joined in one line with their places", () => {
    expect(check.check({ a: 0, b: "z", l: ["s", 1], q: 1 })).toBe(
      'unknown property "q"; a: must be >= 1; b: must be one of ["x","y"]; l.1: must be string',
    );
  });

  test("more problems than are listed are counted", () => {
    expect(check.check({ a: 1, b: "x", l: [1, 2, 3, 4, 5, 6, 7] })).toMatch(/; and 2 more$/);
  });

  test("a catastrophic pattern is linear", () => {
    expect(compiled({ type: "string", pattern: "^(a+)+$" }).check(`${"a".repeat(5_000)}!`)).toMatch(/pattern/);
  });

  test("a schema that refers to itself without end is a message, not a crash", () => {
    expect(compiled({ $ref: "#" }).check(1)).toMatch(/nests too deeply/);
  });

  test("a recursive schema checks finite values", () => {
    const tree = compiled({ type: "object", properties: { next: { $ref: "#" } }, additionalProperties: false });
    expect(tree.check({ next: { next: {} } })).toBeUndefined();
    expect(tree.check({ next: { nxt: {} } })).toBe('next: unknown property "nxt"');
  });
});

describe("fill", () => {
  const schema = {
    type: "object",
    properties: {
      urls: { type: "array", items: { type: "string" }, default: [] },
      nested: { type: "object", default: {}, properties: { deep: { default: 5 } } },
    },
  };

  test("declared defaults are filled into a copy", () => {
    const value = { keep: 1 };
    expect(compiled(schema).fill(value)).toEqual({ keep: 1, urls: [], nested: { deep: 5 } });
    expect(value).toEqual({ keep: 1 });
  });

  test("defaults of two fills are not shared", () => {
    const first = compiled(schema).fill({}) as { urls: string[] };
    first.urls.push("x");
    expect(compiled(schema).fill({})).toMatchObject({ urls: [] });
  });

  test("check changes nothing", () => {
    const value = {};
    compiled(schema).check(value);
    expect(value).toEqual({});
  });

  test("a default inside anyOf compiles and is left alone", () => {
    const check = compiled({ anyOf: [{ type: "object", properties: { a: { default: 1 } } }] });
    expect(check.fill({})).toEqual({});
  });
});

describe("sampleOf", () => {
  test.each<[JsonObject, Json | undefined]>([
    [
      { type: "object", required: ["q"], properties: { q: { type: "string" }, n: { type: "integer" } } },
      { q: "sample", n: 1 },
    ],
    [{ enum: ["billing", "tech"] }, "billing"],
    [{ type: "array", items: { type: "object", properties: { k: { type: "boolean" } } } }, [{ k: true }]],
    [{ type: "integer", minimum: 10 }, 10],
    [{ type: "number", exclusiveMaximum: 0 }, -0.5],
    [{ type: "string", pattern: "^x\\d$" }, undefined],
    [{ type: "string", format: "date" }, "2026-01-02"],
    [{ oneOf: [{ type: "string", minLength: 8 }, { type: "null" }] }, "samplexx"],
    [{ allOf: [{ type: "object", properties: { a: { const: 1 } } }, { required: ["a"] }] }, { a: 1 }],
    [{ $defs: { id: { type: "string", format: "uuid" } }, $ref: "#/$defs/id" }, "123e4567-e89b-12d3-a456-426614174000"],
    [{ type: "object", properties: { next: { $ref: "#" } }, required: ["next"] }, undefined],
    [{ not: {} }, undefined],
  ])("%j", (schema, expected) => {
    expect(sampleOf(schema)).toEqual(expected);
  });
});

test("no schema and no value makes compilation, checking or sampling throw", () => {
  const keyword = fc.constantFrom(
    "type",
    "properties",
    "items",
    "$ref",
    "enum",
    "anyOf",
    "pattern",
    "required",
    "default",
    "x",
  );
  const { schema } = fc.letrec<{ schema: JsonObject }>((tie) => ({
    schema: fc.dictionary(
      keyword,
      fc.oneof(
        { depthSize: "small" },
        fc.constantFrom<Json>("object", "string", "#", "array", "integer", ["a"]),
        fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<Json>,
        tie("schema"),
        fc.dictionary(fc.string(), tie("schema"), { maxKeys: 2 }),
      ),
      { maxKeys: 3 },
    ) as fc.Arbitrary<JsonObject>,
  }));
  fc.assert(
    fc.property(schema, fc.jsonValue(), (candidate, value) => {
      const result = compileSchema(candidate);
      if (!result.ok) return;
      result.value.check(value as Json);
      result.value.fill(value as Json);
      sampleOf(candidate);
    }),
    { numRuns: 300 },
  );
});

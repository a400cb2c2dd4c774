// JSON Schemas as TypeScript types: what each keyword becomes, and names, comments and order of the generated file.
import { expect, test } from "vitest";
import { generateTypes, type WorkflowSource } from "../../cli/codegen/catalog.ts";
import { Names } from "../../cli/codegen/names.ts";
import { schemaTypes, type Use } from "../../cli/codegen/schema_types.ts";
import type { Json, JsonObject } from "../../kit/json.ts";

const typesOf = (schema: JsonObject, use: Use = "given") =>
  schemaTypes(schema, "Root", use, new Names(["Root"])).map(
    ({ name, type }) => `${name} = ${type.text.replace(/\/\*\*.*?\*\//gs, "").replace(/\s+/g, " ")}`,
  );
const typeOf = (schema: Json, use?: Use) =>
  typesOf({ properties: { value: schema } }, use)[0]?.slice("Root = { value?: ".length, -3);

test.each<[string, Json, string]>([
  ["text", { type: "string" }, "string"],
  ["whole numbers are numbers", { type: "integer" }, "number"],
  ["a list of types", { type: ["string", "null"] }, "string | null"],
  ["nullable", { type: "string", nullable: true }, "string | null"],
  ["a list", { type: "array", items: { type: "string" } }, "readonly string[]"],
  ["a list of lists", { items: { items: { type: "number" } } }, "readonly (readonly number[])[]"],
  ["a list of either", { type: "array", items: { type: ["string", "number"] } }, "readonly (string | number)[]"],
  ["a list of anything", { type: "array" }, "readonly unknown[]"],
  ["an empty list", { type: "array", items: false }, "readonly never[]"],
  [
    "a tuple",
    { prefixItems: [{ type: "string" }, { type: "number" }], minItems: 1, items: false },
    "readonly [string, number?]",
  ],
  ["an open tuple", { prefixItems: [{ type: ["string", "null"] }] }, "readonly [(string | null)?, ...unknown[]]"],
  [
    "a tuple and more",
    { prefixItems: [true], minItems: 1, items: { type: "number" } },
    "readonly [unknown, ...number[]]",
  ],
  ["a tuple that ends", { prefixItems: [{ type: "string" }], minItems: 1, maxItems: 1 }, "readonly [string]"],
  ["values", { enum: ["a", 1, null, true, { b: [1] }] }, '"a" | 1 | null | true | { b: readonly [1]; }'],
  ["values of a type", { type: "string", enum: ["a", 1, null] }, '"a"'],
  ["one value", { const: -1.5 }, "-1.5"],
  ["no value", { type: "string", enum: [1] }, "never"],
  ["any of", { anyOf: [{ type: "string" }, { type: "number" }, { type: "string" }] }, "string | number"],
  ["any of, one of which is anything", { anyOf: [{ type: "string" }, {}] }, "unknown"],
  ["bounds beside any of", { type: "string", anyOf: [{ minLength: 3 }, { pattern: "x" }] }, "string"],
  [
    "all of",
    { allOf: [{ required: ["a"] }, { type: ["object", "null"] }] },
    "{ a: unknown; } & ({ [key: string]: unknown } | null)",
  ],
  [
    "one of, beside members",
    { properties: { a: { type: "string" } }, oneOf: [{ required: ["a"] }, { required: ["b"] }] },
    "{ a?: string; } & ({ a: unknown; } | { b: unknown; })",
  ],
  [
    "an object that is one of several",
    { type: "object", oneOf: [{ required: ["a"] }, { required: ["b"] }] },
    "object & ({ a: unknown; } | { b: unknown; })",
  ],
  ["what types cannot say", { not: { type: "string" }, if: { type: "number" }, else: { type: "null" } }, "unknown"],
  ["an open object", { type: "object" }, "{ [key: string]: unknown }"],
  ["an object without members", { type: "object", additionalProperties: false }, "{ [key: string]: never }"],
  ["an object as a map", { additionalProperties: { type: "number" } }, "{ [key: string]: number }"],
  [
    "a map with named members",
    { properties: { a: { type: "string" } }, additionalProperties: { type: "number" } },
    "{ a?: string; [key: string]: number | string | undefined; }",
  ],
  [
    "a map with named objects",
    { required: ["a"], properties: { a: { required: ["b"] } }, additionalProperties: { type: "number" } },
    "{ a: { b: unknown; }; [key: string]: unknown; }",
  ],
  [
    "members beside others",
    { properties: { a: true }, additionalProperties: true },
    "{ a?: unknown; [key: string]: unknown; }",
  ],
  [
    "patterns",
    { patternProperties: { "^x": { type: "number" } }, additionalProperties: false },
    "{ [key: string]: number }",
  ],
  ["patterns in an open object", { patternProperties: { "^x": { type: "number" } } }, "{ [key: string]: unknown }"],
  ["a member that must not be there", { properties: { a: false } }, "{ a?: never; }"],
  [
    "required, not described, and typed by the others",
    { required: ["a"], additionalProperties: { type: "null" } },
    "{ a: null; [key: string]: null; }",
  ],
  [
    "names that need quotes",
    { required: ["b-c", "1", "class", 'q"', "é"] },
    '{ "1": unknown; "b-c": unknown; class: unknown; "q\\"": unknown; "é": unknown; }',
  ],
  ["a reference to nothing that can be found", { $ref: "#anchor" }, "unknown"],
])("%s", (_name, schema, expected) => {
  expect(typeOf(schema)).toBe(expected);
});

test("lists of results may be changed; those of parameters need not be", () => {
  const schema = { prefixItems: [{ const: ["a"] }], minItems: 1, items: { items: { type: "string" } } };
  expect(typeOf(schema, "received")).toBe('[["a"], ...string[][]]');
  expect(typeOf(schema, "given")).toBe('readonly [readonly ["a"], ...(readonly string[])[]]');
});

test("a member with a default may be left out of parameters and is there in a result, but not where nothing is filled in", () => {
  const pair = { required: ["a"], properties: { a: { default: 1 }, b: { default: null }, c: {} } };
  const schema = { ...pair, anyOf: [pair], $defs: {} };
  expect(typesOf(schema, "given")).toEqual([
    "Root = { a?: unknown; b?: unknown; c?: unknown; } & { a: unknown; b?: unknown; c?: unknown; }",
  ]);
  expect(typesOf(schema, "received")).toEqual([
    "Root = { a: unknown; b: unknown; c?: unknown; } & { a: unknown; b?: unknown; c?: unknown; }",
  ]);
  const shared = {
    properties: { x: { $ref: "#/$defs/p" }, y: { anyOf: [{ $ref: "#/$defs/p" }] } },
    $defs: { p: pair },
  };
  expect(typesOf(shared, "received")).toEqual([
    "Root = { x?: RootP; y?: RootP2; }",
    "RootP = { a: unknown; b: unknown; c?: unknown; }",
    "RootP2 = { a: unknown; b?: unknown; c?: unknown; }",
  ]);
});

test("references become named types, recursive ones too; a type that would be made of itself is unknown", () => {
  expect(
    typesOf({
      type: "object",
      properties: {
        tree: { $ref: "#/$defs/tree-node" },
        self: { $ref: "#" },
        inner: { $ref: "#/properties/deep/items" },
        deep: { items: { enum: [1] } },
        slash: { $ref: "#/$defs/a~1b%20c", description: "said here" },
      },
      $defs: {
        "tree-node": { properties: { children: { items: { $ref: "#/$defs/tree-node" } } } },
        "a/b c": { type: "null" },
      },
    }),
  ).toEqual([
    "Root = { deep?: readonly 1[]; inner?: RootPropertiesDeepItems; self?: Root; slash?: RootA1b20c; tree?: RootTreeNode; }",
    "RootPropertiesDeepItems = 1",
    "RootA1b20c = null",
    "RootTreeNode = { children?: readonly RootTreeNode[]; }",
  ]);
  const circle = { properties: { a: { $ref: "#/$defs/a" } } };
  const $defs = {
    a: { anyOf: [{ $ref: "#/$defs/b" }, { items: { $ref: "#/$defs/b" } }] },
    b: { allOf: [{ $ref: "#/$defs/a" }] },
  };
  expect(typesOf({ ...circle, $defs })).toEqual(["Root = { a?: RootA; }", "RootA = unknown", "RootB = unknown"]);
  expect(typesOf({ $ref: "#" })).toEqual(["Root = unknown"]);
});

test("descriptions, bounds and defaults are told, and cannot end a comment, a string or a line", () => {
  const [root] = schemaTypes(
    {
      properties: {
        a: {
          description: "One */ two\r\nthree\u2028four\u202e",
          type: "integer",
          minimum: 1,
          pattern: "a*/b",
          default: "*/",
          deprecated: true,
        },
        "b\n\u202e*/": { const: 'q"\n\u202e*/' },
        c: { title: "A title", uniqueItems: true, format: "date", default: "x".repeat(200) },
      },
    },
    "Root",
    "given",
    new Names([]),
  );
  expect(root?.type.text.split("\n")).toEqual([
    "{",
    "  /**",
    "   * One *\\/ two",
    "   * three",
    "   * four\\u202e",
    "   * Bounds: integer, pattern a*\\/b, minimum 1.",
    '   * @default "*\\/"',
    "   * @deprecated",
    "   */",
    "  a?: number;",
    '  "b\\n\\u202e*/"?: "q\\"\\n\\u202e*/";',
    "  /**",
    "   * A title",
    "   * Bounds: format date, uniqueItems.",
    "   */",
    "  c?: unknown;",
    "}",
  ]);
});

const workflow = (namespace: string, name: string, more: Partial<WorkflowSource> = {}): WorkflowSource => ({
  ...{ namespace, name, description: "", parameters: { type: "object" }, tags: {}, outputs: [], ...more },
});

test("the file is the same in whatever order workflows come, and names never clash", () => {
  const workflows = [
    workflow("support", "a-b"),
    workflow("default", "support-a-b"),
    workflow("default", "1st"),
    workflow("default", "a1", { tags: { "customer-id": { required: true }, ticket: { required: false } } }),
    workflow("default", "a-1", { description: "Says\nmore" }),
  ];
  const { text, digest } = generateTypes(workflows);
  expect(generateTypes(workflows.toReversed())).toEqual({ text, digest });
  expect(generateTypes(workflows.slice(1)).digest).not.toBe(digest);
  const names = [...text.matchAll(/^export type (\w+) = /gm)].map(([, name]) => name);
  expect(names).toHaveLength(16);
  expect(new Set(names).size).toBe(16);
  expect(names).toEqual(
    expect.arrayContaining(["Workflow1stParameters", "A1Tags", "A1Tags2", "SupportABOutput", "SupportABOutput2"]),
  );
  expect(text).toContain(`// Source: ${digest}\n`);
  expect(text).toContain('"a-1": { parameters: A1Parameters; tags: A1Tags; output: A1Output };');
  expect(text).toContain('export type A1Tags2 = {\n  "customer-id": string;\n  ticket?: string;\n};\n');
});

test("an output fits the system's schema and the template's; what only says that it is an object adds nothing", () => {
  const title = { type: "object", required: ["title"], properties: { title: { type: "string" } } };
  const bare = { type: "object", description: "Some object" };
  const outputOf = (...outputs: JsonObject[]) =>
    generateTypes([workflow("default", "a", { outputs })])
      .text.split("export type AOutput")
      .slice(1)
      .map((text) => text.replace(/\s+/g, " ").trim());
  expect(outputOf()).toEqual(["= unknown;"]);
  expect(outputOf(bare)).toEqual(["= { [key: string]: unknown };"]);
  expect(outputOf(bare, { type: "object" })).toEqual(["= { [key: string]: unknown };"]);
  expect(outputOf(title, bare)).toEqual(["= { title: string; };"]);
  expect(outputOf(bare, title)).toEqual(["= { title: string; };"]);
  expect(outputOf(title, title)).toEqual(["= { title: string; };"]);
  expect(outputOf(title, { type: "object", required: ["body"] })).toEqual([
    "= AOutputPart & AOutputPart2;",
    "Part = { title: string; };",
    "Part2 = { body: unknown; };",
  ]);
});

// Random JSON Schemas of the kind that people write, each with a way to make values that fit it.
// Called by codegen_properties.test.ts. Values are made beside the schema, so that most fit; the caller keeps those that do.
// Defaults stand outside of $defs and of anyOf, where the server fills them in for certain.

import fc from "fast-check";
import { isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";

/** A schema, and values that are meant for it. */
export interface Sketch {
  readonly schema: Json;
  readonly values: fc.Arbitrary<Json>;
}

const NAMES = ["a", "b", "c-d", "class", "1", "with space", 'quo"te', "*/", "été"];

const DEFS: JsonObject = {
  tree: {
    type: "object",
    required: ["label"],
    properties: { label: { type: "string" }, children: { type: "array", items: { $ref: "#/$defs/tree" } } },
  },
  size: { enum: ["small", "large", 3] },
  either: { anyOf: [{ type: "null" }, { $ref: "#/$defs/size" }, { type: "array", items: { $ref: "#/$defs/either" } }] },
};

const tree: fc.Arbitrary<Json> = fc.letrec<{ tree: Json }>((tie) => ({
  tree: fc.record(
    { label: fc.string(), children: fc.array(tie("tree"), { maxLength: 2, depthIdentifier: "tree" }) },
    { requiredKeys: ["label"] },
  ) as fc.Arbitrary<Json>,
})).tree;
const size = fc.constantFrom<Json>("small", "large", 3);
const either = fc.oneof(fc.constant<Json>(null), size, fc.array(size, { maxLength: 2 }) as fc.Arbitrary<Json>);

const constants: fc.Arbitrary<Json> = fc.constantFrom<Json>(
  "x",
  "",
  'q"*/',
  0,
  -2.5,
  1e21,
  true,
  null,
  [1, ["a"]],
  { k: [] },
  {},
);

const leaves: fc.Arbitrary<Sketch> = fc.oneof(
  fc.constant<Sketch>({ schema: { type: "string" }, values: fc.string() }),
  fc.constant<Sketch>({ schema: { type: "string", maxLength: 3 }, values: fc.string({ maxLength: 3 }) }),
  fc.constant<Sketch>({ schema: { type: "integer", minimum: -5 }, values: fc.integer({ min: -5 }) }),
  fc.constant<Sketch>({ schema: { type: "number" }, values: fc.double({ noNaN: true, noDefaultInfinity: true }) }),
  fc.constant<Sketch>({ schema: { type: ["boolean", "null"] }, values: fc.constantFrom<Json>(true, false, null) }),
  fc.constant<Sketch>({ schema: true, values: constants }),
  fc.constant<Sketch>({ schema: { $ref: "#/$defs/tree" }, values: tree }),
  fc.constant<Sketch>({ schema: { $ref: "#/$defs/either" }, values: either }),
  constants.map((value): Sketch => ({ schema: { const: value }, values: fc.constant(value) })),
  fc
    .uniqueArray(constants, { minLength: 1, maxLength: 4, selector: (value) => JSON.stringify(value) })
    .map((values): Sketch => ({ schema: { enum: values }, values: fc.constantFrom(...values) })),
);

/** Schemas of objects, with everything inside that `codegen` translates. */
export const schemas: fc.Arbitrary<Sketch> = fc
  .letrec<{ any: Sketch; object: Sketch; compound: Sketch }>((tie) => ({
    any: fc.oneof({ maxDepth: 3, depthIdentifier: "schema" }, leaves, tie("compound")),
    compound: fc.oneof(
      listsOf(tie("any")),
      tuplesOf(tie("any")),
      tie("object"),
      unionsOf(tie("any")),
      bothOf(tie("any")),
    ),
    object: objectsOf(fc.constantFrom(...NAMES), tie("any"), true),
  }))
  .object.map(({ schema, values }) => ({ schema: { ...(schema as JsonObject), $defs: DEFS }, values }));

function listsOf(items: fc.Arbitrary<Sketch>): fc.Arbitrary<Sketch> {
  return items.map(({ schema, values }) => ({
    schema: { type: "array", items: schema },
    values: fc.array(values, { maxLength: 3 }) as fc.Arbitrary<Json>,
  }));
}

function tuplesOf(any: fc.Arbitrary<Sketch>): fc.Arbitrary<Sketch> {
  const parts = fc.record({
    places: fc.array(any, { minLength: 1, maxLength: 3 }),
    least: fc.nat({ max: 3 }),
    rest: fc.option(any, { nil: undefined }),
    closed: fc.boolean(),
  });
  return parts.map(({ places, least, rest, closed }) => ({
    schema: {
      type: "array",
      prefixItems: places.map(({ schema }) => schema),
      minItems: Math.min(least, places.length),
      ...(closed ? { items: false } : rest === undefined ? {} : { items: rest.schema }),
    },
    values: fc
      .tuple(
        fc.tuple(...places.map(({ values }) => values)),
        fc.array(closed || rest === undefined ? constants : rest.values, { maxLength: closed ? 0 : 2 }),
        fc.integer({ min: least, max: 5 }),
      )
      .map(([all, more, length]) => [...all, ...more].slice(0, length)),
  }));
}

function unionsOf(any: fc.Arbitrary<Sketch>): fc.Arbitrary<Sketch> {
  return fc.tuple(fc.constantFrom("anyOf", "oneOf"), fc.array(any, { minLength: 1, maxLength: 3 })).map(
    ([keyword, branches]): Sketch => ({
      schema: { [keyword]: branches.map(({ schema }) => withoutDefaults(schema)) },
      values: fc.oneof(...branches.map(({ values }) => values)),
    }),
  );
}

function bothOf(any: fc.Arbitrary<Sketch>): fc.Arbitrary<Sketch> {
  const left = objectsOf(fc.constantFrom("a", "b"), any, false);
  const right = objectsOf(fc.constantFrom("c-d", "class"), any, false);
  return fc.tuple(left, right, fc.boolean()).map(([one, other, typed]) => ({
    schema: { ...(typed ? { type: "object" } : {}), allOf: [one.schema, other.schema] },
    values: fc
      .tuple(one.values, other.values)
      .map(([some, more]) => ({ ...(some as JsonObject), ...(more as JsonObject) })),
  }));
}

function objectsOf(names: fc.Arbitrary<string>, any: fc.Arbitrary<Sketch>, others: boolean): fc.Arbitrary<Sketch> {
  const member = fc.record({ name: names, sketch: any, required: fc.boolean(), filled: fc.boolean() });
  const more = fc.oneof(fc.constantFrom<"absent" | boolean>("absent", false, true), any);
  return fc
    .tuple(
      fc.uniqueArray(member, { maxLength: 4, selector: ({ name }) => name }),
      others ? more : fc.constant("absent" as const),
    )
    .chain(([members, additional]) =>
      fc
        .tuple(...members.map(({ sketch, filled }) => (filled ? sketch.values : fc.constant(undefined))))
        .map((defaults) => ({
          schema: {
            type: "object",
            required: members.filter(({ required }) => required).map(({ name }) => name),
            properties: Object.fromEntries(
              members.map(({ name, sketch }, index) => [name, withDefault(sketch.schema, defaults[index])]),
            ),
            ...(additional === "absent"
              ? {}
              : { additionalProperties: typeof additional === "boolean" ? additional : additional.schema }),
          },
          values: valuesOf(members, additional, defaults),
        })),
    );
}

function valuesOf(
  members: readonly { readonly name: string; readonly sketch: Sketch; readonly required: boolean }[],
  additional: "absent" | boolean | Sketch,
  defaults: readonly (Json | undefined)[],
): fc.Arbitrary<Json> {
  const present = fc.tuple(
    ...members.map(({ sketch, required }, index) =>
      required && defaults[index] === undefined ? sketch.values : fc.option(sketch.values, { nil: undefined }),
    ),
  );
  const open = additional === true ? constants : typeof additional === "object" ? additional.values : undefined;
  const extra = open === undefined ? fc.constant({}) : fc.dictionary(fc.constantFrom("x1", "x-2"), open);
  return fc.tuple(present, extra).map(([values, rest]) => {
    const own = members.flatMap(({ name }, index) =>
      values[index] === undefined ? [] : [[name, values[index]] as const],
    );
    return { ...(rest as JsonObject), ...Object.fromEntries(own) };
  });
}

function withDefault(schema: Json, value: Json | undefined): Json {
  return value === undefined || !isJsonObject(schema) ? schema : { ...schema, default: value };
}

// Data that has a member "default" is not made, so every one is the keyword.
function withoutDefaults(schema: Json): Json {
  if (Array.isArray(schema)) return schema.map(withoutDefaults);
  if (!isJsonObject(schema)) return schema;
  const kept = Object.entries(schema).filter(([key]) => key !== "default");
  return Object.fromEntries(kept.map(([key, value]) => [key, withoutDefaults(value)]));
}

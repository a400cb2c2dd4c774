// Words in which the shape of a kind is written: each makes a piece of JSON Schema (draft 2020-12) with its meaning.
// Called by the shapes in this folder. Pure. The readers beside this folder decide what is accepted; shapes say the same for
// editors, `orloj explain`, and the reference, and test/manifests/shapes.test.ts holds the two together, key by key and bound by bound.

import type { Json, JsonObject } from "../../../kit/json.ts";
import { formatDuration, type IntegerRange } from "../fields.ts";

/** A piece of JSON Schema. */
export type Shape = JsonObject;

/** Keywords of ours beside those of JSON Schema: bounds of a duration, as texts. */
export const OWN_KEYWORDS = ["x-minimum", "x-maximum"] as const;

/** A map with these keys and no others. */
export function map(
  description: string,
  properties: Readonly<Record<string, Shape>>,
  required: readonly string[] = [],
  rules: readonly Shape[] = [],
): Shape {
  return {
    ...{ type: "object", description, properties: { ...properties }, additionalProperties: false },
    ...(required.length > 0 && { required: [...required] }),
    ...(rules.length > 0 && { allOf: [...rules] }),
  };
}

/** A text. */
export function text(description: string, more: JsonObject = {}): Shape {
  return { type: "string", description, ...more };
}

/** The name of a resource, a namespace, or a part of one: RFC 1123. */
export function label(description: string): Shape {
  return text(description, { pattern: "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" });
}

/** One of some words. */
export function word(description: string, words: readonly string[], fallback?: string): Shape {
  return text(description, { enum: [...words], ...(fallback !== undefined && { default: fallback }) });
}

/** A whole number within bounds. */
export function whole(description: string, { min, max }: IntegerRange, fallback?: number): Shape {
  const bounds = { minimum: min, maximum: max };
  return { type: "integer", description, ...bounds, ...(fallback !== undefined && { default: fallback }) };
}

/** A number within bounds. */
export function number(description: string, { min, max }: IntegerRange, fallback?: number): Shape {
  return { ...whole(description, { min, max }, fallback), type: "number" };
}

/** true or false. */
export function flag(description: string, fallback: boolean): Shape {
  return { type: "boolean", description, default: fallback };
}

/** A duration such as 500ms, 30s, 15m, 2h, 90d; bounds and default in ms. */
export function duration(description: string, { min, max }: IntegerRange, fallback?: number): Shape {
  const bounds = { "x-minimum": formatDuration(min), "x-maximum": formatDuration(max) };
  const own = fallback === undefined ? {} : { default: formatDuration(fallback) };
  return text(description, { pattern: "^[0-9]{1,9}(ms|s|m|h|d)$", ...bounds, ...own });
}

/** A list. */
export function list(
  description: string,
  items: Shape,
  size: { readonly min?: number; readonly max?: number } = {},
): Shape {
  const { min, max } = size;
  const bounds = { ...(min !== undefined && { minItems: min }), ...(max !== undefined && { maxItems: max }) };
  return { type: "array", description, items, ...bounds };
}

/** A map with free keys. */
export function mapOf(description: string, values: Shape, more: JsonObject = {}): Shape {
  return { type: "object", description, additionalProperties: values, ...more };
}

/** A map of texts. */
export function texts(description: string): Shape {
  return mapOf(description, { type: "string" });
}

/** Any value but null, in whose texts expressions may stand. */
export function template(description: string): Shape {
  return { description, type: ["string", "number", "boolean", "object", "array"] };
}

/** A JSON Schema that the author writes. */
export function schema(description: string): Shape {
  return { type: "object", description };
}

/** A shape that is written once and used in several places, or in itself. */
export function shared(name: string, description: string): Shape {
  return { $ref: `#/$defs/${name}`, description };
}

/** What holds of what fits a condition. */
export function implies(condition: Shape, consequence: Shape): Shape {
  // biome-ignore lint/suspicious/noThenProperty: it is the keyword of JSON Schema, and nothing awaits a schema
  return { if: condition, then: consequence };
}

/** What holds when a key has a value; with `absent`, also when it is not there. */
export function when(key: string, value: Json, consequence: Shape, absent = false): Shape {
  return implies({ properties: { [key]: { const: value } }, ...(absent ? {} : { required: [key] }) }, consequence);
}

/** What holds when a key is there. */
export function whenThere(key: string, consequence: Shape): Shape {
  return implies({ required: [key] }, consequence);
}

/** These keys must be there, those must not. */
export function keys(required: readonly string[], forbidden: readonly string[] = []): Shape {
  return {
    ...(required.length > 0 && { required: [...required] }),
    ...(forbidden.length > 0 && { properties: Object.fromEntries(forbidden.map((key) => [key, false])) }),
  };
}

/** A key that says which one of several blocks is there. */
export function chooses(key: string, blocks: readonly string[], fallback?: string): Shape[] {
  return blocks.map((block) =>
    when(
      key,
      block,
      keys(
        [block],
        blocks.filter((other) => other !== block),
      ),
      block === fallback,
    ),
  );
}

/** Exactly one of these keys is there. */
export function exactlyOne(names: readonly string[]): Shape {
  return { oneOf: names.map((name) => ({ required: [name] })) };
}

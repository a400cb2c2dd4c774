// Walks the shapes of the kinds: which fields a place has, of what type, and what a path of names leads to.
// Called by `orloj explain` and scripts/reference.ts. Pure.

import { isJsonObject, type Json, type JsonObject } from "../../../kit/json.ts";
import type { Shape } from "./shape.ts";

/** One field of a map. */
export interface Field {
  readonly name: string;
  readonly shape: Shape;
  readonly required: boolean;
}

/** A shape with what it refers to in its place; its own description stays. */
export function resolved(shape: Shape, defs: JsonObject): Shape {
  const name = typeof shape["$ref"] === "string" ? shape["$ref"].replace("#/$defs/", "") : undefined;
  const target = name === undefined ? undefined : defs[name];
  if (!isJsonObject(target)) return shape;
  const { $ref: _ref, ...own } = shape;
  return { ...target, ...own };
}

/** The fields of a place: of a map, of the items of a list, of the values of a map with free keys, of the alternatives that have some. */
export function fieldsOf(shape: Shape, defs: JsonObject): Field[] {
  return insides(shape, defs).flatMap((inside) => {
    const required = Array.isArray(inside["required"]) ? inside["required"] : [];
    return Object.entries(namedIn(inside)).map(([name, field]) => ({
      ...{ name, shape: resolved(field as Shape, defs) },
      required: required.includes(name),
    }));
  });
}

/** Names of the fields of a place in one text: equal for a shape and for what it holds of its own kind, as conditions do. */
export function fieldNames(shape: Shape, defs: JsonObject): string {
  return fieldsOf(shape, defs)
    .map(({ name }) => name)
    .join(" ");
}

function namedIn(shape: Shape): JsonObject {
  const { properties } = shape;
  // A schema that an author writes has a property for its type and is open otherwise.
  return isJsonObject(properties) && shape["additionalProperties"] === false ? properties : {};
}

// The place itself, then what is one step inside of it without a name of its own.
function insides(shape: Shape, defs: JsonObject, depth = 0): Shape[] {
  if (depth > 4) return [];
  const whole = resolved(shape, defs);
  const alternatives = Array.isArray(whole["anyOf"]) ? whole["anyOf"] : [];
  const next = [whole["items"], whole["additionalProperties"], ...alternatives].filter(isJsonObject);
  return [whole, ...next.flatMap((inner) => insides(inner, defs, depth + 1))];
}

/** The type of a place in words: text, duration, whole number, list of text, map, any value. */
export function typeOf(shape: Shape, defs: JsonObject): string {
  const whole = resolved(shape, defs);
  const { type, items } = whole;
  if (Array.isArray(type)) return "any value";
  if (type === "array") return `list of ${isJsonObject(items) ? typeOf(items, defs) : "any value"}`;
  if (type === "object") return typeOfMap(whole, defs);
  if (type === "string") return "x-minimum" in whole ? "duration" : "text";
  if (type === "integer") return "whole number";
  if (type === "number") return "number";
  if (type === "boolean") return "true or false";
  const alternatives = Array.isArray(whole["anyOf"]) ? whole["anyOf"].filter(isJsonObject) : [];
  const types = [...new Set(alternatives.map((inner) => typeOf(inner, defs)))];
  return types.length === 0 ? "any value" : types.join(" or ");
}

function typeOfMap(shape: Shape, defs: JsonObject): string {
  const values = shape["additionalProperties"];
  if (isJsonObject(values)) return `map of ${typeOf(values, defs)}`;
  return values === false ? "map" : "JSON Schema";
}

/** What a value may be, beside its type: words, bounds, length. Empty: anything of the type. */
export function boundsOf(shape: Shape): string {
  const { enum: words, minimum, maximum, minItems, maxItems, maxLength } = shape;
  const low = minimum ?? shape["x-minimum"];
  const high = maximum ?? shape["x-maximum"];
  if (Array.isArray(words)) return words.map(String).join(", ");
  if (low !== undefined && high !== undefined) return `${text(low)} to ${text(high)}`;
  const sizes = [minItems !== undefined && `at least ${minItems}`, maxItems !== undefined && `at most ${maxItems}`];
  if (maxLength !== undefined) sizes.push(`at most ${text(maxLength)} characters`);
  return sizes.filter(Boolean).join(", ");
}

/** Default of a place as YAML says it; undefined: none. */
export function defaultOf(shape: Shape): string | undefined {
  const fallback = shape["default"];
  return fallback === undefined
    ? undefined
    : typeof fallback === "string" && fallback !== ""
      ? fallback
      : JSON.stringify(fallback);
}

function text(value: Json): string {
  return typeof value === "number" ? value.toLocaleString("en") : String(value);
}

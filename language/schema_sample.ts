// Makes a value that fits a schema, for typing expressions when manifests are applied.
// Called by manifests. Simple schemas only: undefined means "cannot say", never "nothing fits".
// Takes const, enum, default and examples first; every declared property is present, so that reads of it resolve.

import { isJsonObject, type Json, type JsonObject } from "../kit/json.ts";
import { compileSchema } from "./json_schema.ts";

/** Nesting of a sample at most; recursive schemas end there. */
const DEPTH_MAX = 8;
/** Items or characters that a minimum may ask of a sample. */
const MINIMUM_MAX = 256;

const FORMATS: Readonly<Record<string, string>> = {
  date: "2026-01-02",
  "date-time": "2026-01-02T03:04:05Z",
  time: "03:04:05Z",
  duration: "PT1H",
  email: "name@example.org",
  hostname: "example.org",
  ipv4: "192.0.2.1",
  ipv6: "2001:db8::1",
  uri: "https://example.org/",
  "uri-reference": "/path",
  uuid: "123e4567-e89b-12d3-a456-426614174000",
};

/** A value that fits the schema, or undefined if none was found. */
export function sampleOf(schema: JsonObject): Json | undefined {
  const sample = make(schema, schema, 0);
  const compiled = compileSchema(schema);
  return sample !== undefined && compiled.ok && compiled.value.check(sample) === undefined ? sample : undefined;
}

function make(schema: Json | undefined, root: JsonObject, depth: number): Json | undefined {
  if (schema === true) return "sample";
  if (!isJsonObject(schema) || depth > DEPTH_MAX) return undefined;
  if (schema["const"] !== undefined) return schema["const"];
  for (const keyword of ["enum", "examples"]) {
    const values = schema[keyword];
    if (Array.isArray(values) && values.length > 0) return values[0];
  }
  if (typeof schema["$ref"] === "string") return make(target(schema["$ref"], root), root, depth + 1);
  for (const keyword of ["oneOf", "anyOf"]) {
    const branches = schema[keyword];
    if (Array.isArray(branches)) return firstOf(branches, schema, root, depth);
  }
  if (Array.isArray(schema["allOf"])) {
    const merged = schema["allOf"].reduce<Json | undefined>(
      (into, part) => merge(into, part),
      without(schema, "allOf"),
    );
    return make(merged, root, depth + 1);
  }
  return makeTyped(schema, root, depth);
}

function makeTyped(schema: JsonObject, root: JsonObject, depth: number): Json | undefined {
  const type = Array.isArray(schema["type"]) ? schema["type"][0] : (schema["type"] ?? impliedType(schema));
  switch (type) {
    case "object":
      return makeObject(schema, root, depth);
    case "array": {
      // At least one item, so that a macro over the list evaluates its body; none if items cannot be made.
      const count = Math.max(numberOf(schema["minItems"], 0), schema["maxItems"] === 0 ? 0 : 1);
      if (count > MINIMUM_MAX) return undefined;
      const prefix = Array.isArray(schema["prefixItems"]) ? schema["prefixItems"] : [];
      const items = Array.from({ length: Math.max(count, prefix.length) }, (_, index) =>
        make(prefix[index] ?? schema["items"] ?? true, root, depth + 1),
      );
      if (items.every((item) => item !== undefined)) return items;
      return numberOf(schema["minItems"], 0) === 0 ? [] : undefined;
    }
    case "string": {
      if (schema["default"] !== undefined) return schema["default"];
      const format = schema["format"];
      if (typeof format === "string") return FORMATS[format];
      const length = numberOf(schema["minLength"], 0);
      return length > MINIMUM_MAX ? undefined : "sample".slice(0, numberOf(schema["maxLength"], 6)).padEnd(length, "x");
    }
    case "integer":
    case "number":
      return schema["default"] ?? makeNumber(schema, type === "integer");
    case "boolean":
      return schema["default"] ?? true;
    case "null":
      return null;
    default:
      return schema["default"] ?? "sample";
  }
}

function makeObject(schema: JsonObject, root: JsonObject, depth: number): Json | undefined {
  const properties = isJsonObject(schema["properties"]) ? schema["properties"] : {};
  const required = Array.isArray(schema["required"]) ? schema["required"] : [];
  const entries: [string, Json][] = [];
  for (const [name, property] of Object.entries(properties)) {
    const member = make(property, root, depth + 1);
    if (member !== undefined) entries.push([name, member]);
    else if (required.includes(name)) return undefined;
  }
  for (const name of required) {
    if (typeof name === "string" && !Object.hasOwn(properties, name)) entries.push([name, "sample"]);
  }
  return Object.fromEntries(entries);
}

function makeNumber(schema: JsonObject, integer: boolean): Json | undefined {
  const step = numberOf(schema["multipleOf"], integer ? 1 : 0.5);
  const minimum = numberOf(schema["minimum"], Number.NEGATIVE_INFINITY);
  const above = numberOf(schema["exclusiveMinimum"], Number.NEGATIVE_INFINITY);
  const maximum = numberOf(schema["maximum"], Number.POSITIVE_INFINITY);
  const below = numberOf(schema["exclusiveMaximum"], Number.POSITIVE_INFINITY);
  const lowest = Math.max(minimum, above);
  const highest = Math.min(maximum, below);
  if (lowest > step || step > highest || above >= step || below <= step) {
    if (Number.isFinite(lowest)) return Math.ceil(lowest / step) * step + (lowest === above ? step : 0);
    return Math.floor(highest / step) * step - (highest === below ? step : 0);
  }
  return step;
}

function firstOf(branches: readonly Json[], schema: JsonObject, root: JsonObject, depth: number): Json | undefined {
  const rest = without(without(schema, "oneOf"), "anyOf");
  for (const branch of branches) {
    const sample = make(merge(rest, branch), root, depth + 1);
    if (sample !== undefined) return sample;
  }
  return undefined;
}

function merge(left: Json | undefined, right: Json): Json | undefined {
  if (!isJsonObject(left) || !isJsonObject(right)) return right === true ? left : undefined;
  const merged: JsonObject = { ...left, ...right };
  if (isJsonObject(left["properties"]) && isJsonObject(right["properties"])) {
    merged["properties"] = { ...left["properties"], ...right["properties"] };
  }
  if (Array.isArray(left["required"]) && Array.isArray(right["required"])) {
    merged["required"] = [...left["required"], ...right["required"]];
  }
  return merged;
}

function without(schema: JsonObject, keyword: string): JsonObject {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => key !== keyword));
}

function target(ref: string, root: JsonObject): Json | undefined {
  let at: Json | undefined = root;
  for (const token of ref.split("/").slice(1)) {
    const key = token.replaceAll("~1", "/").replaceAll("~0", "~");
    at = isJsonObject(at) && Object.hasOwn(at, key) ? at[key] : undefined;
  }
  return ref.startsWith("#/") || ref === "#" ? at : undefined;
}

function impliedType(schema: JsonObject): string | undefined {
  if (schema["properties"] !== undefined || schema["required"] !== undefined) return "object";
  return schema["items"] !== undefined || schema["prefixItems"] !== undefined ? "array" : undefined;
}

function numberOf(value: Json | undefined, otherwise: number): number {
  return typeof value === "number" ? value : otherwise;
}

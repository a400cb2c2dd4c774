// What a JSON Schema says that a TypeScript type cannot: the lines of its doc comment.
// Called by schema_types.ts and catalog.ts. Pure.

import type { Json, JsonObject } from "../../kit/json.ts";

/** Characters of a default that is told. */
const DEFAULT_MAX = 120;
/** Keywords that narrow values further than the type does. */
const BOUNDS: readonly string[] = [
  "format",
  "pattern",
  "minimum",
  "exclusiveMinimum",
  "maximum",
  "exclusiveMaximum",
  "multipleOf",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "uniqueItems",
  "minProperties",
  "maxProperties",
];

/** Description, bounds, default and deprecation of a schema, a line each; none if it says nothing. */
export function wordsOf(schema: JsonObject): string[] {
  const { type, deprecated, default: value } = schema;
  const bounds = BOUNDS.filter((keyword) => schema[keyword] !== undefined && schema[keyword] !== false);
  const facts = [
    ...(type === "integer" || (Array.isArray(type) && type.includes("integer")) ? ["integer"] : []),
    ...bounds.map((keyword) => (schema[keyword] === true ? keyword : `${keyword} ${textOf(schema[keyword])}`)),
  ];
  const told = value === undefined ? "" : JSON.stringify(value);
  return [
    ...linesOf(schema),
    ...(facts.length > 0 ? [`Bounds: ${facts.join(", ")}.`] : []),
    ...(told !== "" && told.length <= DEFAULT_MAX ? [`@default ${told}`] : []),
    ...(deprecated === true ? ["@deprecated"] : []),
  ];
}

/** Lines of a description; its title when there is none. */
export function linesOf({ description, title }: JsonObject): string[] {
  const text = [description, title].find((words) => typeof words === "string" && words.trim() !== "");
  return typeof text === "string" ? text.trim().split(/\r\n|[\n\r\u2028\u2029]/) : [];
}

function textOf(value: Json | undefined): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

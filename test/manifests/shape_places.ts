// Places of a document and the shapes that stand for them: which piece of a schema says what may be at a path.
// Used by shapes.test.ts. Of alternatives (anyOf) the one is taken that the value there fits by its form.

import { isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";
import type { Shape } from "../../server/manifests/shapes/shape.ts";

export type Path = readonly (string | number)[];

/** Every place of a document, itself first; nothing inside of JSON Schemas and templates, whose form is free. */
export function placesOf(value: Json, path: Path = []): Path[] {
  const last = path.at(-1);
  const free = typeof last === "string" && FREE.includes(last);
  if (free || typeof value !== "object" || value === null) return [path];
  const members: [string | number, Json][] = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  return [path, ...members.flatMap(([key, member]) => placesOf(member, [...path, key]))];
}

const FREE = [
  "inputSchema",
  "outputSchema",
  "schema",
  "parameters.schema",
  "body",
  "data",
  "fallback",
  "transform",
  "value",
];

/** The value at a path. */
export function atPath(value: Json, path: Path): Json | undefined {
  let at: Json | undefined = value;
  for (const step of path) {
    if (typeof at !== "object" || at === null) return undefined;
    at = (at as Record<string | number, Json>)[step];
  }
  return at;
}

/** A copy with another value at a path; undefined takes it away. */
export function changed(document: JsonObject, path: Path, value: Json | undefined): JsonObject {
  const copy = structuredClone(document);
  const last = path.at(-1) as string | number;
  const parent = atPath(copy, path.slice(0, -1)) as Record<string | number, Json>;
  if (value !== undefined) parent[last] = value;
  else if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else delete parent[last];
  return copy;
}

/** The shapes that say what may be at a path of a document: the one that is written there, and the alternative that fits. */
export function shapesAt(root: Shape, document: JsonObject, path: Path): Shape[] {
  const defs = (root["$defs"] ?? {}) as JsonObject;
  let shapes = expand(root, document, defs);
  for (const [index, step] of path.entries()) {
    const value = atPath(document, path.slice(0, index + 1));
    shapes = shapes.flatMap((shape) => {
      const next = typeof step === "number" ? shape["items"] : memberOf(shape, step);
      return isJsonObject(next) ? expand(next, value, defs) : [];
    });
  }
  return shapes;
}

function memberOf(shape: Shape, key: string): Json | undefined {
  const properties = shape["properties"];
  if (isJsonObject(properties) && Object.hasOwn(properties, key)) return properties[key];
  return shape["additionalProperties"];
}

function expand(shape: Shape, value: Json | undefined, defs: JsonObject): Shape[] {
  const name = typeof shape["$ref"] === "string" ? shape["$ref"].replace("#/$defs/", "") : undefined;
  if (name !== undefined) return expand(defs[name] as Shape, value, defs);
  const alternatives = Array.isArray(shape["anyOf"]) ? shape["anyOf"].filter(isJsonObject) : [];
  const fitting = alternatives.filter((alternative) => fitsForm(alternative, value));
  return [shape, ...fitting.flatMap((alternative) => expand(alternative, value, defs))];
}

function fitsForm(shape: Shape, value: Json | undefined): boolean {
  if (shape["type"] === "string") return typeof value === "string";
  if (shape["type"] === "array") return Array.isArray(value);
  if (!isJsonObject(value)) return false;
  const properties = shape["properties"];
  return isJsonObject(properties) && Object.keys(value).some((key) => Object.hasOwn(properties, key));
}

// Takes values of handler code in as JSON: arguments, recorded values, outputs. Pure.
// Strict: what JSON would change or drop in silence (a Date, a Map, NaN, a class's object) is refused by its path, so that a value is the
// same before a crash and after it. Members that are undefined are left out.

import { JSON_DEPTH_MAX, type Json, type JsonObject } from "../../kit/json.ts";

/**
 * A copy of the value as JSON.
 *
 * @param what names the value in the error, such as "the output".
 * @throws TypeError that names the first part that is no JSON.
 */
export function plainJson(value: unknown, what: string): Json {
  return copy(value, what, "", 0);
}

function copy(value: unknown, what: string, path: string, depth: number): Json {
  if (value === null || typeof value === "boolean" || typeof value === "string") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (typeof value !== "object") throw refused(what, path, kindOf(value));
  if (depth >= JSON_DEPTH_MAX) throw refused(what, path, `nested deeper than ${JSON_DEPTH_MAX} levels`);
  if (Array.isArray(value)) {
    return Array.from(value, (item: unknown, index) => copy(item, what, `${path}[${index}]`, depth + 1));
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) throw refused(what, path, kindOf(value));
  const members: JsonObject = {};
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) continue;
    const json = copy(member, what, `${path}.${name}`, depth + 1);
    Object.defineProperty(members, name, { value: json, enumerable: true, writable: true, configurable: true });
  }
  return members;
}

function kindOf(value: unknown): string {
  if (typeof value === "number") return `${value}`;
  if (typeof value !== "object") return `${value === undefined ? "" : "a "}${typeof value}`;
  const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
  return `an object of class ${typeof name === "string" && name !== "" ? name : "unknown"}`;
}

function refused(what: string, path: string, found: string): TypeError {
  return new TypeError(`${what} is no JSON: ${path === "" ? "it" : path} is ${found}`);
}

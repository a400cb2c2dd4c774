// What can be said of a value by its JSON Schema alone: its JSON types, the schema of a member, whether one fits another.
// Called by graph_typing.ts. Says nothing (undefined) rather than something uncertain: anyOf, if, and patterns are not followed.

import { isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";

/** A schema inside its root, which local references start from. */
export interface Typed {
  readonly schema: JsonObject;
  readonly root: JsonObject;
}

const REFERENCES_MAX = 16;

/** A schema as the root of itself; undefined stays undefined. */
export function typed(schema: JsonObject | undefined): Typed | undefined {
  return schema === undefined ? undefined : follow({ schema, root: schema });
}

function follow(at: Typed): Typed | undefined {
  let schema: Json | undefined = at.schema;
  for (let count = 0; count < REFERENCES_MAX; count += 1) {
    if (!isJsonObject(schema)) return undefined;
    const reference: Json | undefined = schema["$ref"];
    if (typeof reference !== "string") return { schema, root: at.root };
    if (!reference.startsWith("#")) return undefined;
    let target: Json | undefined = at.root;
    for (const part of reference.slice(1).split("/").slice(1)) {
      const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
      target = isJsonObject(target) ? target[key] : Array.isArray(target) ? target[Number(key)] : undefined;
    }
    schema = target;
  }
  return undefined;
}

/** JSON type of a value, integers told apart. */
export function typeOfJson(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return typeof value === "number" ? (Number.isInteger(value) ? "integer" : "number") : typeof value;
}

/** Types that values of a schema can have; undefined if it does not say. */
export function typesOf(at: Typed | undefined): ReadonlySet<string> | undefined {
  if (at === undefined) return undefined;
  const { type, enum: values } = at.schema;
  if (typeof type === "string") return new Set([type]);
  if (Array.isArray(type)) return new Set(type.map(String));
  if (Array.isArray(values)) return new Set(values.map(typeOfJson));
  return at.schema["const"] === undefined ? undefined : new Set([typeOfJson(at.schema["const"])]);
}

/** True unless no value of the source types can be of the target types. */
export function overlaps(source: ReadonlySet<string> | undefined, target: ReadonlySet<string> | undefined): boolean {
  if (source === undefined || target === undefined) return true;
  return [...source].some(
    (type) =>
      target.has(type) || (type === "integer" && target.has("number")) || (type === "number" && target.has("integer")),
  );
}

/** What a schema says about a member. */
export interface Member {
  /** Its own schema, if there is one. */
  readonly at?: Typed;
  /** always: required, or filled in by a default; sometimes: declared but not required; unknown: not declared, others allowed; never: not allowed. */
  readonly presence: "always" | "sometimes" | "unknown" | "never";
  /** Declared members. */
  readonly siblings: readonly string[];
}

/** What a schema says about a member; undefined if it says nothing about members. */
export function memberOf(at: Typed, name: string): Member | undefined {
  const { properties, required, additionalProperties } = at.schema;
  const siblings = isJsonObject(properties) ? Object.keys(properties) : [];
  const listed = Array.isArray(required) && required.includes(name);
  const declared = isJsonObject(properties) && Object.hasOwn(properties, name) ? properties[name] : undefined;
  if (declared === undefined) {
    if (listed) return { presence: "always", siblings };
    if (additionalProperties === false && at.schema["patternProperties"] === undefined)
      return { presence: "never", siblings };
    return isJsonObject(properties) ? { presence: "unknown", siblings } : undefined;
  }
  const inner = isJsonObject(declared) ? follow({ schema: declared, root: at.root }) : undefined;
  const filled = isJsonObject(declared) && declared["default"] !== undefined;
  return { ...(inner && { at: inner }), presence: listed || filled ? "always" : "sometimes", siblings };
}

/** Schema of the items of an array. */
export function itemOf(at: Typed): Typed | undefined {
  const { items } = at.schema;
  return isJsonObject(items) ? follow({ schema: items, root: at.root }) : undefined;
}

/** Members that a schema requires and does not fill in. */
export function requiredMembers(at: Typed): string[] {
  const { required } = at.schema;
  return Array.isArray(required)
    ? required.filter((name): name is string => typeof name === "string" && !hasDefault(at, name))
    : [];
}

function hasDefault(at: Typed, name: string): boolean {
  const { properties } = at.schema;
  const declared = isJsonObject(properties) ? properties[name] : undefined;
  return isJsonObject(declared) && declared["default"] !== undefined;
}

/** Why a value of one schema cannot fit another, in words; undefined if it may. */
export function misfit(source: Typed | undefined, target: Typed | undefined): string | undefined {
  if (source === undefined || target === undefined) return undefined;
  const [from, to] = [typesOf(source), typesOf(target)];
  if (!overlaps(from, to)) return `expected ${[...(to ?? [])].join(" or ")}, found ${[...(from ?? [])].join(" or ")}`;
  for (const name of requiredMembers(target)) {
    const member = memberOf(source, name);
    if (member?.presence === "never" || (member?.presence === "unknown" && member.siblings.length > 0))
      return `"${name}" is required and not there`;
    const wanted = memberOf(target, name)?.at;
    const inner = misfit(member?.at, wanted);
    if (inner !== undefined) return `${name}: ${inner}`;
  }
  return undefined;
}

// Turns JSON into CEL values and back: one mapping for conditions, templates and policies.
// JSON integers up to 2^53 become CEL int, other numbers double; where a schema says `number`, integers become double too.
// Called by condition.ts, template.ts and server/policy. Objects are wrapped, not copied: an object that comes back
// unchanged is the very object that went in, so callers must treat JSON as immutable.

import {
  type CelList,
  type CelMap,
  type CelValue,
  celList,
  celMap,
  isCelList,
  isCelMap,
  isCelUint,
} from "@bufbuild/cel";
import { toJson } from "@bufbuild/protobuf";
import { isReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { DurationSchema, TimestampSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { messageOf } from "../kit/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../kit/json.ts";
import type { Bindings, Evaluated } from "./types.ts";

/** Largest magnitude at which every JSON number that looks like an integer is that integer. */
const INTEGER_MAX = 2 ** 53;

/** JSON Schemas by variable; only their `number` types matter here. */
export type SchemaHints = Readonly<Record<string, JsonObject>>;

interface Hint {
  readonly schema: JsonObject;
  readonly root: JsonObject;
}

const sources = new WeakMap<CelMap | CelList, Json>();

/** CEL value of a JSON value. */
export function bindJson(value: Json, schema?: JsonObject): CelValue {
  return bind(value, schema === undefined ? undefined : resolve(schema, schema));
}

/** CEL timestamp of an instant, in ms since 1970. */
export function bindTime(ms: number): CelValue {
  return reflect(TimestampSchema, timestampFromMs(ms)) as CelValue;
}

/** CEL values of all variables of an evaluation. */
export function bindVariables(bindings: Bindings, hints: SchemaHints = {}): Record<string, CelValue> {
  // Without a prototype, so that a variable called `toString` is unknown rather than a function.
  const bound = Object.create(null) as Record<string, CelValue>;
  for (const name of Object.keys(bindings)) {
    const value = bindings[name];
    if (value !== undefined) bound[name] = bindJson(value, Object.hasOwn(hints, name) ? hints[name] : undefined);
  }
  return bound;
}

/**
 * JSON of a CEL value. Integers beyond 2^53, NaN, infinities, bytes, types and maps with keys that are not strings are
 * errors; timestamps and durations become their protobuf JSON strings ("2026-01-02T03:04:05Z", "90s").
 */
export function jsonOf(value: CelValue): Evaluated<Json> {
  try {
    return { ok: true, value: unbind(value) };
  } catch (error) {
    return { ok: false, error: messageOf(error) };
  }
}

function bind(value: Json, hint: Hint | undefined): CelValue {
  if (typeof value === "number") {
    return Number.isInteger(value) && Math.abs(value) <= INTEGER_MAX && !wantsDouble(hint) ? BigInt(value) : value;
  }
  if (value === null || typeof value !== "object") return value;
  const bound = Array.isArray(value)
    ? celList(value.map((item, index) => bind(item, itemHint(hint, index))))
    : celMap(new JsonMap(value, hint));
  sources.set(bound, value);
  return bound;
}

// A view of a JSON object that binds members when they are read: an evaluation pays for what it looks at.
class JsonMap implements ReadonlyMap<string, CelValue> {
  readonly #object: JsonObject;
  readonly #hint: Hint | undefined;
  readonly #bound = new Map<string, CelValue>();

  constructor(object: JsonObject, hint: Hint | undefined) {
    this.#object = object;
    this.#hint = hint;
  }

  get size(): number {
    return Object.keys(this.#object).length;
  }

  get(key: string): CelValue | undefined {
    // CEL looks up keys of any type; only own string keys exist here.
    if (typeof key !== "string" || !Object.hasOwn(this.#object, key)) return undefined;
    let value = this.#bound.get(key);
    if (value === undefined) {
      value = bind(this.#object[key] ?? null, memberHint(this.#hint, key));
      this.#bound.set(key, value);
    }
    return value;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#object, key);
  }

  forEach(callback: (value: CelValue, key: string, map: ReadonlyMap<string, CelValue>) => void): void {
    for (const [key, value] of this) callback(value, key, this);
  }

  *entries(): MapIterator<[string, CelValue]> {
    for (const key of Object.keys(this.#object)) yield [key, this.get(key) as CelValue];
  }

  *keys(): MapIterator<string> {
    yield* Object.keys(this.#object);
  }

  *values(): MapIterator<CelValue> {
    for (const [, value] of this) yield value;
  }

  [Symbol.iterator](): MapIterator<[string, CelValue]> {
    return this.entries();
  }
}

function unbind(value: CelValue): Json {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "bigint":
      return safeNumber(value);
    case "number":
      if (!Number.isFinite(value)) throw new RangeError(`${value} is not a JSON number`);
      return Object.is(value, -0) ? 0 : value;
  }
  if (value === null) return null;
  if (isCelList(value)) return (sources.get(value) ?? Array.from(value, unbind)) as Json;
  if (isCelMap(value)) return sources.get(value) ?? Object.fromEntries(Array.from(value.entries(), unbindEntry));
  if (isCelUint(value)) return safeNumber(value.value);
  if (value instanceof Uint8Array) throw new TypeError("bytes are not JSON; use base64 text");
  if (isReflectMessage(value, TimestampSchema) || isReflectMessage(value, DurationSchema)) {
    return toJson(value.desc, value.message) as Json;
  }
  throw new TypeError(`${isReflectMessage(value) ? value.desc.typeName : "a type"} is not JSON`);
}

// Object.fromEntries defines own members, so a key "__proto__" stays a key.
function unbindEntry([key, value]: readonly [unknown, CelValue]): [string, Json] {
  if (typeof key !== "string") throw new TypeError("a map with keys that are not strings is not JSON");
  return [key, unbind(value)];
}

function safeNumber(value: bigint): number {
  if (value > BigInt(INTEGER_MAX) || value < -BigInt(INTEGER_MAX)) {
    throw new RangeError(`integer ${value} is beyond 2^53 and would lose digits; use string()`);
  }
  return Number(value);
}

function wantsDouble(hint: Hint | undefined): boolean {
  const type = hint?.schema["type"];
  return type === "number" || (Array.isArray(type) && type.includes("number") && !type.includes("integer"));
}

function memberHint(hint: Hint | undefined, key: string): Hint | undefined {
  if (hint === undefined) return undefined;
  const properties = hint.schema["properties"];
  if (isJsonObject(properties) && Object.hasOwn(properties, key)) return resolve(properties[key], hint.root);
  return resolve(hint.schema["additionalProperties"], hint.root);
}

function itemHint(hint: Hint | undefined, index: number): Hint | undefined {
  if (hint === undefined) return undefined;
  const prefix = hint.schema["prefixItems"];
  const own = Array.isArray(prefix) ? prefix[index] : undefined;
  return resolve(own ?? hint.schema["items"], hint.root);
}

function resolve(schema: Json | undefined, root: JsonObject): Hint | undefined {
  if (!isJsonObject(schema)) return undefined;
  const ref = schema["$ref"];
  if (typeof ref !== "string") return { schema, root };
  const name = /^#\/\$defs\/([^/~%]+)$/.exec(ref)?.[1];
  const defs = root["$defs"];
  const target = name !== undefined && isJsonObject(defs) && Object.hasOwn(defs, name) ? defs[name] : undefined;
  // One hop only: a hint is worth no cycle check.
  return isJsonObject(target) && target["$ref"] === undefined ? { schema: target, root } : undefined;
}

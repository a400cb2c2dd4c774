// Turns a JSON Schema (2020-12) into TypeScript types: one for the schema, and one for each place that it refers to.
// Called by catalog.ts. Pure. Never stricter than the schema: what a type cannot say (bounds, `not`, `if`) it leaves out, and what
// is not understood is unknown. Only members that no schema names are left out of open objects, so that a misspelt name is found;
// `additionalProperties: true` lets them in.
// A default is filled in by the server, but not inside anyOf and oneOf: elsewhere the member may be left out, and is there in a result.

import { isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";
import { camel, type Names } from "./names.ts";
import { wordsOf } from "./schema_words.ts";
import {
  allOf,
  anyOf,
  arrayOf,
  literal,
  type MemberText,
  NEVER,
  objectOf,
  plain,
  type TypeText,
  tupleOf,
  UNKNOWN,
} from "./type_text.ts";

/** A named type. */
export interface Declaration {
  readonly name: string;
  readonly type: TypeText;
  readonly doc: readonly string[];
}

/** given: what a caller passes, with members that have defaults optional; received: what comes back, with them present. */
export type Use = "given" | "received";

/**
 * Types of a schema, its own first, then those of the places it refers to, in the order in which they are met.
 *
 * @param name of the schema's own type, taken already; the others begin with it.
 */
export function schemaTypes(root: JsonObject, name: string, use: Use, names: Names): Declaration[] {
  return new SchemaTypes(root, name, use, names).declare();
}

interface Place {
  /** False where the server fills in no defaults. */
  readonly filled: boolean;
  /** The reference whose type this is part of without an object or list in between: a type cannot be made of itself. */
  readonly owner: string | undefined;
}

const MEMBER_KEYWORDS = ["properties", "required", "additionalProperties", "patternProperties"];
const BRANCH_KEYWORDS = ["anyOf", "oneOf"] as const;
const COMPOSING_KEYWORDS = ["$ref", "allOf", ...BRANCH_KEYWORDS];

class SchemaTypes {
  readonly #root: JsonObject;
  readonly #name: string;
  readonly #use: Use;
  readonly #names: Names;
  readonly #known = new Map<string, string>();
  readonly #declarations: Declaration[] = [];

  constructor(root: JsonObject, name: string, use: Use, names: Names) {
    this.#root = root;
    this.#name = name;
    this.#use = use;
    this.#names = names;
  }

  declare(): Declaration[] {
    this.#known.set(keyOf("#", true), this.#name);
    this.#define("#", this.#name, this.#root, true);
    return this.#declarations;
  }

  // Its place in the list is kept while the types that it names are made.
  #define(reference: string, name: string, schema: Json, filled: boolean): void {
    const index = this.#declarations.push({ name, type: UNKNOWN, doc: [] }) - 1;
    const type = this.#translate(schema, { filled, owner: reference });
    this.#declarations[index] = { name, type, doc: isJsonObject(schema) ? wordsOf(schema) : [] };
  }

  #translate(schema: Json | undefined, place: Place): TypeText {
    if (schema === false) return NEVER;
    if (!isJsonObject(schema)) return UNKNOWN;
    const parts = [this.#ownType(schema, place)];
    if (typeof schema["$ref"] === "string") parts.push(this.#reference(schema["$ref"], place));
    for (const part of listOf(schema["allOf"])) parts.push(this.#translate(part, place));
    for (const keyword of BRANCH_KEYWORDS) {
      const branches = listOf(schema[keyword]).map((branch) => this.#translate(branch, { ...place, filled: false }));
      if (branches.length > 0) parts.push(anyOf(branches));
    }
    return allOf(parts);
  }

  #ownType(schema: JsonObject, place: Place): TypeText {
    const types = typesOf(schema);
    const values = schema["const"] === undefined ? schema["enum"] : [schema["const"]];
    if (Array.isArray(values)) {
      const possible = values.filter((value) => types === undefined || types.some((type) => isOfType(value, type)));
      return anyOf(possible.map((value) => literal(value, this.#readOnly)));
    }
    return types === undefined ? UNKNOWN : anyOf(types.map((type) => this.#typed(type, schema, place)));
  }

  #typed(type: string, schema: JsonObject, place: Place): TypeText {
    const inner = { filled: place.filled, owner: undefined };
    if (type === "object") return this.#object(schema, inner);
    if (type === "array") return this.#array(schema, inner);
    return type === "integer" ? plain("number") : plain(type);
  }

  #object(schema: JsonObject, place: Place): TypeText {
    const properties = isJsonObject(schema["properties"]) ? schema["properties"] : {};
    if (isSaidElsewhere(schema)) return plain("object");
    const required = new Set(listOf(schema["required"]).filter((name) => typeof name === "string"));
    const members = [...new Set([...Object.keys(properties), ...required])].sort().map((name): MemberText => {
      const declared = Object.hasOwn(properties, name) ? properties[name] : undefined;
      const filled = place.filled && isJsonObject(declared) && declared["default"] !== undefined;
      return {
        name,
        optional: this.#use === "given" ? filled || !required.has(name) : !filled && !required.has(name),
        type: declared === undefined ? this.#undeclared(schema, place) : this.#translate(declared, place),
        doc: isJsonObject(declared) ? wordsOf(declared) : [],
      };
    });
    return objectOf(members, this.#others(schema, members, place));
  }

  /** A member that is required and not described. */
  #undeclared(schema: JsonObject, place: Place): TypeText {
    return schema["patternProperties"] === undefined ? this.#translate(schema["additionalProperties"], place) : UNKNOWN;
  }

  // An index signature has to hold for the named members too.
  #others(schema: JsonObject, members: readonly MemberText[], place: Place): TypeText | undefined {
    const { additionalProperties: additional, patternProperties } = schema;
    const patterns = isJsonObject(patternProperties) ? Object.values(patternProperties) : [];
    const closed = additional === false || (additional === undefined && members.length > 0);
    if (closed && patterns.length === 0) return members.length > 0 ? undefined : NEVER;
    const others = [...patterns, ...(additional === false ? [] : [additional])];
    // Types of several lines are not said twice.
    if (members.some(({ type }) => type.text.includes("\n"))) return UNKNOWN;
    return anyOf([
      ...others.map((other) => this.#translate(other, place)),
      ...members.map(({ type }) => type),
      ...(members.some(({ optional }) => optional) ? [plain("undefined")] : []),
    ]);
  }

  #array(schema: JsonObject, place: Place): TypeText {
    const { items, minItems, maxItems } = schema;
    const prefix = listOf(schema["prefixItems"]);
    const item = this.#translate(items, place);
    if (prefix.length === 0) return arrayOf(item, this.#readOnly);
    const isWhole = items === false || (typeof maxItems === "number" && maxItems <= prefix.length);
    const places = prefix.map((one) => this.#translate(one, place));
    return tupleOf(places, typeof minItems === "number" ? minItems : 0, isWhole ? undefined : item, this.#readOnly);
  }

  get #readOnly(): boolean {
    return this.#use === "given";
  }

  #reference(reference: string, { filled, owner }: Place): TypeText {
    const target = targetOf(reference, this.#root);
    if (target === undefined || (owner !== undefined && this.#isMadeOf(reference, owner))) return UNKNOWN;
    const key = keyOf(reference, filled);
    const known = this.#known.get(key);
    if (known !== undefined) return plain(known);
    const name = this.#names.take(
      `${this.#name}${camel(reference.replace(/^#\/(\$defs|definitions)\//, "")) || "Type"}`,
    );
    this.#known.set(key, name);
    this.#define(reference, name, target, filled);
    return plain(name);
  }

  // True if the type of a reference is the other's, or has it as a part without an object or list in between.
  #isMadeOf(reference: string, other: string): boolean {
    const pending = [reference];
    const seen = new Set<string>();
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (next === other) return true;
      if (seen.has(next)) continue;
      seen.add(next);
      pending.push(...partsOf(targetOf(next, this.#root)));
    }
    return false;
  }
}

// An object whose members are those of what it is composed of: open by itself, it would let every name in.
function isSaidElsewhere(schema: JsonObject): boolean {
  const isComposed = COMPOSING_KEYWORDS.some((keyword) => schema[keyword] !== undefined);
  return isComposed && !MEMBER_KEYWORDS.some((keyword) => schema[keyword] !== undefined);
}

function keyOf(reference: string, filled: boolean): string {
  return `${filled ? "filled" : "as it is"} ${reference}`;
}

/** References of which the type of a schema is made directly. */
function partsOf(schema: Json | undefined): string[] {
  if (!isJsonObject(schema)) return [];
  const own = typeof schema["$ref"] === "string" ? [schema["$ref"]] : [];
  const parts = ["allOf", ...BRANCH_KEYWORDS].flatMap((keyword) => listOf(schema[keyword]));
  return [...own, ...parts.flatMap(partsOf)];
}

function targetOf(reference: string, root: JsonObject): Json | undefined {
  if (reference !== "#" && !reference.startsWith("#/")) return undefined;
  let target: Json | undefined = root;
  for (const part of reference.split("/").slice(1)) {
    const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
    const inside: Json | undefined = target;
    target = undefined;
    if (Array.isArray(inside)) target = inside[Number(key)];
    else if (isJsonObject(inside) && Object.hasOwn(inside, key)) target = inside[key];
  }
  return target;
}

// A schema that speaks of members or items means objects or lists, though it does not say so.
function typesOf(schema: JsonObject): string[] | undefined {
  const { type, nullable } = schema;
  const said = typeof type === "string" ? [type] : Array.isArray(type) ? type.map(String) : undefined;
  if (said !== undefined) return nullable === true ? [...said, "null"] : said;
  if (MEMBER_KEYWORDS.some((keyword) => schema[keyword] !== undefined)) return ["object"];
  return schema["items"] !== undefined || schema["prefixItems"] !== undefined ? ["array"] : undefined;
}

function isOfType(value: Json, type: string): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isJsonObject(value);
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}

function listOf(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : [];
}

// TypeScript types as text: unions, intersections, arrays, literals, members, doc comments.
// Called by schema_types.ts and catalog.ts. Pure.
// Everything that comes from a manifest passes quoted() or docComment(): nothing of it can end a string or a comment, or hide in one.

import { isJsonObject, type Json } from "../../kit/json.ts";
import { safeJson, safeLine } from "../sanitize.ts";

/** A type, and how tightly its text binds. */
export interface TypeText {
  readonly text: string;
  /** one: may stand anywhere; all: parts joined by &; any: parts joined by |. */
  readonly binds: "one" | "all" | "any";
}

/** A member of an object type. */
export interface MemberText {
  readonly name: string;
  readonly optional: boolean;
  readonly type: TypeText;
  /** Lines of its doc comment; may be empty. */
  readonly doc: readonly string[];
}

/** A type by its name, or any other text that binds as one. */
export function plain(text: string): TypeText {
  return { text, binds: "one" };
}

/** Every value. */
export const UNKNOWN = plain("unknown");
/** No value. */
export const NEVER = plain("never");

const IDENTIFIER = /^[A-Za-z_$][A-Za-z0-9_$]*$/;

/** What fits any of the types. */
export function anyOf(types: readonly TypeText[]): TypeText {
  const parts = distinct(types.filter((type) => type.text !== NEVER.text));
  if (parts.some((type) => type.text === UNKNOWN.text)) return UNKNOWN;
  const [first = NEVER] = parts;
  if (parts.length <= 1) return first;
  return { text: parts.map((type) => type.text).join(" | "), binds: "any" };
}

/** What fits all of the types. */
export function allOf(types: readonly TypeText[]): TypeText {
  const parts = distinct(types.filter((type) => type.text !== UNKNOWN.text));
  if (parts.some((type) => type.text === NEVER.text)) return NEVER;
  const [first = UNKNOWN] = parts;
  if (parts.length <= 1) return first;
  return { text: parts.map((type) => (type.binds === "any" ? wrapped(type) : type.text)).join(" & "), binds: "all" };
}

function distinct(types: readonly TypeText[]): TypeText[] {
  return [...new Map(types.map((type) => [type.text, type])).values()];
}

function wrapped({ text, binds }: TypeText): string {
  return binds === "one" ? text : `(${text})`;
}

/** A list of values of one type. */
export function arrayOf(item: TypeText, readOnly: boolean): TypeText {
  const text = `${wrapped(item)}[]`;
  // "readonly" stands before a whole type: a list of such lists needs the brackets.
  return readOnly ? { text: `readonly ${text}`, binds: "all" } : plain(text);
}

/** A list with a type for each place; from `least` on places may be missing. */
export function tupleOf(
  places: readonly TypeText[],
  least: number,
  rest: TypeText | undefined,
  readOnly: boolean,
): TypeText {
  const parts = places.map((place, index) => (index < least ? place.text : `${wrapped(place)}?`));
  if (rest !== undefined) parts.push(`...${wrapped(rest)}[]`);
  const text = `[${parts.join(", ")}]`;
  return readOnly ? { text: `readonly ${text}`, binds: "all" } : plain(text);
}

/** The type of exactly one value. */
export function literal(value: Json, readOnly: boolean): TypeText {
  if (typeof value === "string") return plain(quoted(value));
  if (Array.isArray(value)) {
    return tupleOf(
      value.map((item) => literal(item, readOnly)),
      value.length,
      undefined,
      readOnly,
    );
  }
  if (!isJsonObject(value)) return plain(JSON.stringify(value));
  const names = Object.keys(value).sort();
  if (names.length === 0) return objectOf([], NEVER);
  return objectOf(
    names.map((name) => ({ name, optional: false, type: literal(value[name] as Json, readOnly), doc: [] })),
    undefined,
  );
}

/** An object type; `others` is the type of members that are not named, if there may be any. */
export function objectOf(members: readonly MemberText[], others: TypeText | undefined): TypeText {
  const index = others === undefined ? [] : [`[key: string]: ${others.text};`];
  if (members.length === 0) return plain(`{ ${index.join("").replace(/;$/, "")} }`);
  const lines = members.map(
    ({ name, optional, type, doc }) =>
      `${docComment(doc)}${IDENTIFIER.test(name) ? name : quoted(name)}${optional ? "?" : ""}: ${type.text};`,
  );
  return plain(`{\n${indented([...lines, ...index].join("\n"))}\n}`);
}

/** Each line two columns further in. */
export function indented(text: string): string {
  return text.replace(/^(?=.)/gm, "  ");
}

/** A string as it stands in source text. */
export function quoted(text: string): string {
  return safeJson(JSON.stringify(text));
}

/** A doc comment with its line end; nothing for no lines. */
export function docComment(lines: readonly string[]): string {
  const safe = lines.map((line) => safeLine(line).replaceAll("*/", "*\\/").trimEnd());
  if (safe.length === 0) return "";
  if (safe.length === 1) return `/** ${safe[0]} */\n`;
  return `/**\n${safe.map((line) => (line === "" ? " *" : ` * ${line}`)).join("\n")}\n */\n`;
}

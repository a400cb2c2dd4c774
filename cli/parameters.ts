// Reads -p key=value: which type a value has follows from the template's parameter schema.
// Called by invoke. Pure.
// key=value is a string unless the schema says integer, number, boolean, array, object or null; key:=json is always JSON.
// The server validates the result; here only what cannot be read as its type is refused.

import { isJsonObject, type Json, type JsonObject } from "../kit/json.ts";
import { UsageError } from "./failure.ts";

/** One -p as written. */
export interface ParameterWord {
  readonly key: string;
  readonly text: string;
  /** Written with := */
  readonly isJson: boolean;
}

/** Splits key=value and key:=json. @throws UsageError */
export function splitParameter(word: string): ParameterWord {
  const equals = word.indexOf("=");
  const isJson = word[equals - 1] === ":";
  const key = word.slice(0, isJson ? equals - 1 : Math.max(equals, 0));
  if (equals < 1 || key === "") {
    throw new UsageError(`-p ${word}: use key=value, or key:=json`);
  }
  return { key, text: word.slice(equals + 1), isJson };
}

/**
 * The parameters object.
 *
 * @param base   parameters of --params-file; -p wins.
 * @param schema JSON Schema of the template's parameters; undefined if it could not be read: every value is a string.
 */
export function parametersFrom(
  words: readonly ParameterWord[],
  base: JsonObject,
  schema: JsonObject | undefined,
): JsonObject {
  const values = new Map<string, Json>(Object.entries(base));
  for (const word of words) values.set(word.key, typedValue(word, typesOf(schema, word.key)));
  return Object.fromEntries(values);
}

function typedValue({ key, text, isJson }: ParameterWord, types: readonly string[]): Json {
  if (isJson)
    return parse(text, `-p ${key}:=${text}: the value is not JSON`, "quote it for the shell, such as 'key:=[1, 2]'");
  if (types.length === 0 || types.includes("string")) return text;
  const type = types.join(" or ");
  return parse(text, `-p ${key}=${text}: parameter "${key}" is ${article(type)}`, `write the value as JSON`);
}

function parse(text: string, message: string, next: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    throw new UsageError(message, next);
  }
}

function typesOf(schema: JsonObject | undefined, key: string): string[] {
  const properties = schema?.["properties"];
  const property = isJsonObject(properties) && Object.hasOwn(properties, key) ? properties[key] : undefined;
  if (!isJsonObject(property)) return [];
  const type = property["type"];
  if (typeof type === "string") return [type];
  return Array.isArray(type) ? type.filter((one) => typeof one === "string") : [];
}

function article(type: string): string {
  return /^[aeio]/.test(type) ? `an ${type}` : `a ${type}`;
}

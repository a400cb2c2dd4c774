// Compiles JSON Schemas (2020-12) into checks and fillers of defaults.
// Called by manifests (to refuse what does not compile), graph, commands and the worker (to check values).
// Strict: an unknown keyword or format is an error at compile. Nothing is fetched: `$ref` reaches only into the schema itself.
// `pattern` and `patternProperties` are RE2 expressions (linear time), so a pattern cannot hold the event loop;
// look-around and back-references are therefore refused at compile.

import { celEnv, isCelError, parse, plan } from "@bufbuild/cel";
import { Ajv2020, type ErrorObject, type Options, type ValidateFunction } from "ajv/dist/2020.js";
import * as formats from "ajv-formats";
import { messageOf } from "../kit/errors.ts";
import { isJsonObject, type Json, type JsonObject, jsonDigest } from "../kit/json.ts";
import { KIB } from "../kit/units.ts";
import { bounded } from "./bounded_cache.ts";

/** A compiled schema. */
export interface SchemaCheck {
  /** What does not fit, in one line that names the places; undefined if the value fits. Never changes the value. */
  check(value: Json): string | undefined;
  /** A copy with declared defaults filled in where members are absent. Not checked: call `check` on the result. */
  fill(value: Json): Json;
}

/** Result of compiling a schema; `path` is the place in the schema. */
export type SchemaResult =
  | { readonly ok: true; readonly value: SchemaCheck }
  | { readonly ok: false; readonly error: string; readonly path: readonly (string | number)[] };

/** Compiled schemas kept. */
const CACHE_MAX = 1_024;
/** Characters of a pattern at most. */
const PATTERN_MAX = 1 * KIB;
/** Nesting of a schema at most. */
const DEPTH_MAX = 32;
/** Problems that one message lists. */
const PROBLEMS_MAX = 5;
/** Values up to this size (UTF-16 units of JSON) get all their problems listed, larger ones the first only. */
const LIST_ALL_MAX = 16 * KIB;
const DIALECT = "https://json-schema.org/draft/2020-12/schema";

/** Keywords whose value is data, not a schema. */
const DATA_KEYWORDS = new Set(["const", "enum", "default", "examples", "required", "dependentRequired"]);
/** Keywords whose members are schemas by name. */
const NAMED_KEYWORDS = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"]);

const matchPattern = plan(celEnv(), parse("text.matches(pattern)")) as (variables: Record<string, string>) => unknown;

// Ajv calls this with the pattern when it compiles, and `test` for each value. It tells patterns apart by `toString`.
const regExp = Object.assign(
  (pattern: string) => ({
    test: (text: string) => matchPattern({ text, pattern }) === true,
    toString: () => pattern,
  }),
  // For standalone output only, which is never made.
  { code: "undefined" },
);

const OPTIONS: Options = {
  strict: true,
  strictTypes: false,
  strictTuples: false,
  strictRequired: false,
  allowUnionTypes: true,
  validateFormats: true,
  logger: false,
  code: { regExp },
};
const checker = createAjv({});
const lister = createAjv({ allErrors: true });
// Ajv calls a default that it cannot apply (inside anyOf, not) an error when strict; the checker has already been strict.
const filler = createAjv({ useDefaults: true, strict: false });

const cache = bounded<SchemaResult>(CACHE_MAX);
const byIdentity = new WeakMap<JsonObject, SchemaResult>();

/** Compiles a schema, or returns the one compiled before for an equal schema. Never throws. */
export function compileSchema(schema: JsonObject): SchemaResult {
  const kept = byIdentity.get(schema);
  if (kept !== undefined) return kept;
  let result: SchemaResult;
  try {
    result = cache.get(jsonDigest(schema), () => compile(schema));
  } catch (error) {
    result = { ok: false, error: messageOf(error), path: [] };
  }
  byIdentity.set(schema, result);
  return result;
}

function compile(original: JsonObject): SchemaResult {
  const problem = inspect(original, []);
  if (problem !== undefined) return { ok: false, ...problem };
  const { $id: _id, $schema: _dialect, ...schema } = structuredClone(original);
  if (checker.validateSchema(schema) !== true) {
    const error = checker.errors?.[0];
    const path = (error?.instancePath ?? "").split("/").slice(1).map(unescapePointer);
    return { ok: false, error: error?.message ?? "not a JSON Schema", path };
  }
  try {
    return { ok: true, value: createCheck(schema, compileWith(checker, schema)) };
  } catch (error) {
    return {
      ok: false,
      error: messageOf(error).replace(/^strict mode: | ignored in schema at path .*$/g, ""),
      path: [],
    };
  }
}

function createCheck(schema: JsonObject, validate: ValidateFunction): SchemaCheck {
  let listAll: ValidateFunction | undefined;
  let fillDefaults: ValidateFunction | undefined;
  return {
    check(value) {
      try {
        if (validate(value)) return undefined;
        let errors = validate.errors ?? [];
        if (JSON.stringify(value).length <= LIST_ALL_MAX) {
          listAll ??= compileWith(lister, schema);
          listAll(value);
          errors = listAll.errors ?? errors;
        }
        return describe(errors);
      } catch (error) {
        // A schema that refers to itself without end, or a value nested beyond the stack.
        if (error instanceof RangeError) return "the value or its schema nests too deeply";
        return messageOf(error);
      }
    },
    fill(value) {
      const filled = structuredClone(value);
      try {
        fillDefaults ??= compileWith(filler, schema);
        fillDefaults(filled);
      } catch (error) {
        // What could not be filled stays absent; `check` says what is wrong with it.
        if (!(error instanceof RangeError)) throw error;
      }
      return filled;
    },
  };
}

function createAjv(options: Options): Ajv2020 {
  const ajv = new Ajv2020({ ...OPTIONS, ...options });
  (formats.default as unknown as (target: Ajv2020) => void)(ajv);
  return ajv;
}

// Ajv keeps every schema it has compiled; the bounded cache of this room is meant to be the only one.
function compileWith(ajv: Ajv2020, schema: JsonObject): ValidateFunction {
  try {
    return ajv.compile(schema);
  } finally {
    ajv.removeSchema(schema);
  }
}

interface Problem {
  readonly error: string;
  readonly path: readonly (string | number)[];
}

// Finds, with their place, the errors that Ajv reports without one, and what Ajv would allow.
function inspect(schema: Json, path: readonly (string | number)[]): Problem | undefined {
  if (path.length > DEPTH_MAX * 2) return { error: `the schema nests deeper than ${DEPTH_MAX}`, path };
  if (Array.isArray(schema)) return firstProblem(schema.entries(), path);
  if (!isJsonObject(schema)) return undefined;
  for (const [keyword, value] of Object.entries(schema)) {
    const at = [...path, keyword];
    const error = inspectKeyword(keyword, value, path.length === 0);
    if (error !== undefined) return { error, path: at };
    if (DATA_KEYWORDS.has(keyword)) continue;
    const problem =
      NAMED_KEYWORDS.has(keyword) && isJsonObject(value)
        ? firstProblem(Object.entries(value), at, keyword === "patternProperties")
        : isJsonObject(value) || Array.isArray(value)
          ? inspect(value, at)
          : undefined;
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function firstProblem(
  entries: Iterable<[string | number, Json]>,
  path: readonly (string | number)[],
  keysArePatterns = false,
): Problem | undefined {
  for (const [key, value] of entries) {
    const error = keysArePatterns ? inspectPattern(String(key)) : undefined;
    const problem = error === undefined ? inspect(value, [...path, key]) : { error, path: [...path, key] };
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function inspectKeyword(keyword: string, value: Json, atRoot: boolean): string | undefined {
  switch (keyword) {
    case "$ref":
    case "$dynamicRef":
      return typeof value === "string" && value.startsWith("#")
        ? undefined
        : `${keyword} must begin with # : schemas are local, put the definition under $defs`;
    case "$id":
      return atRoot ? undefined : "$id is allowed at the root only";
    case "$schema":
      return value === DIALECT ? undefined : `$schema must be ${DIALECT}`;
    case "pattern":
      return typeof value === "string" ? inspectPattern(value) : undefined;
  }
  if (keyword.startsWith("$") || checker.RULES.keywords[keyword] === true) return undefined;
  return `unknown keyword "${keyword}"`;
}

function inspectPattern(pattern: string): string | undefined {
  if (pattern.length > PATTERN_MAX) return `the pattern is longer than ${PATTERN_MAX} characters`;
  const result = matchPattern({ text: "", pattern });
  return isCelError(result)
    ? `not an RE2 pattern (look-around and back-references are not supported): ${result.message}`
    : undefined;
}

function describe(errors: readonly ErrorObject[]): string {
  // Ajv adds "must match a schema in anyOf" and the like after the problems of each branch; the branches say more.
  const texts = [...new Set(errors.map(describeError))];
  const rest = texts.length - PROBLEMS_MAX;
  return `${texts.slice(0, PROBLEMS_MAX).join("; ")}${rest > 0 ? `; and ${rest} more` : ""}`;
}

function describeError(error: ErrorObject): string {
  const place = error.instancePath.split("/").slice(1).map(unescapePointer).join(".");
  let detail = error.message ?? "does not fit";
  if (error.keyword === "additionalProperties" || error.keyword === "unevaluatedProperties") {
    detail = `unknown property "${error.params["additionalProperty"] ?? error.params["unevaluatedProperty"]}"`;
  } else if (error.keyword === "enum") {
    detail = `must be one of ${JSON.stringify(error.params["allowedValues"])}`;
  } else if (error.keyword === "const") {
    detail = `must be ${JSON.stringify(error.params["allowedValue"])}`;
  }
  return place === "" ? detail : `${place}: ${detail}`;
}

function unescapePointer(token: string): string {
  return token.replaceAll("~1", "/").replaceAll("~0", "~");
}

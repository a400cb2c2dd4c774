// Holds CEL to the conformance cases of the specification, as @bufbuild/cel-spec ships them: values, and errors that must be errors.
// Every case that is not tried is listed with its reason; a case that is tried by mistake, or not at all, changes the counts below.

import { type CelValue, celList, celMap, celUint, isCelList, isCelMap, isCelType, isCelUint } from "@bufbuild/cel";
import type { Value } from "@bufbuild/cel-spec/cel/expr/value_pb.js";
import {
  getConformanceSuite,
  type IncrementalTest,
  type IncrementalTestSuite,
} from "@bufbuild/cel-spec/testdata/tests.js";
import { expect, test } from "vitest";
import { compileExpression } from "../../language/expression.ts";
import { truthOf } from "../policy/policy_fixtures.ts";

/** What is not tried, by the beginning of its name. */
const EXCLUDED: readonly (readonly [string, string])[] = [
  ["proto2", "protobuf messages: documents are JSON"],
  ["proto3", "protobuf messages: documents are JSON"],
  ["enums/", "enums of protobuf messages: documents are JSON"],
  ["wrappers/", "wrapper messages of protobuf: documents are JSON"],
  ["type_deductions/", "types that a checker deduces: expressions are planned without one"],
  ["bindings_ext/", "cel.bind is an extension that manifests do not have"],
  ["block_ext/", "cel.block is an extension that manifests do not have"],
  ["encoders_ext/", "base64 is an extension that manifests do not have"],
  ["math_ext/", "math.* is an extension that manifests do not have"],
  ["optionals/", "optional values are an extension that manifests do not have"],
  ["string_ext/", "further functions of strings are an extension that manifests do not have"],
  ["macros2/", "macros of two variables are an extension that manifests do not have"],
  ["fields/quoted_map_fields/", 'quoted members are an extension that manifests do not have: write map["a-b"]'],
  ["basic/functions/unbound_is_runtime_error", "an unknown function is refused when a manifest is applied"],
  ["parse/receiver_function_names/", "an unknown function is refused when a manifest is applied"],
  [
    "fields/qualified_identifier_resolution/map_value_repeat_key_heterogeneous",
    "the library takes 0 and 0u for two keys of a map literal; documents have text keys only",
  ],
];
/** Cases that need a message beside those of the list: a name of one, a container of one, or a binding that holds one. */
const MESSAGE = /TestAllTypes|google\.protobuf/;

interface Case {
  readonly name: string;
  readonly original: IncrementalTest["original"];
}

/** Cases that are tried, of those the conditions without variables, and cases that need a message. */
const [TRIED, CONDITIONS, MESSAGES] = [1_051, 585, 329];

const cases = [...casesOf(getConformanceSuite(), [])];

function* casesOf(suite: IncrementalTestSuite, path: readonly string[]): Generator<Case> {
  for (const { original } of suite.tests) yield { name: [...path, original.name].join("/"), original };
  for (const inner of suite.suites) yield* casesOf(inner, [...path, inner.name]);
}

function excluded(name: string): string | undefined {
  return EXCLUDED.find(([prefix]) => name.startsWith(prefix))?.[1];
}

function needsMessage({ original }: Case): boolean {
  if (MESSAGE.test(original.expr) || original.container !== "") return true;
  const { resultMatcher: result } = original;
  const bound = Object.values(original.bindings).flatMap(({ kind }) => (kind.case === "value" ? [kind.value] : []));
  return [...bound, ...(result.case === "value" ? [result.value] : [])].some(holdsMessage);
}

function holdsMessage({ kind }: Value): boolean {
  if (kind.case === "listValue") return kind.value.values.some(holdsMessage);
  if (kind.case === "mapValue")
    return kind.value.entries.some(({ value }) => value !== undefined && holdsMessage(value));
  return kind.case === "objectValue" || kind.case === "enumValue";
}

function celOf({ kind }: Value): CelValue {
  switch (kind.case) {
    case "uint64Value":
      return celUint(kind.value);
    case "nullValue":
      return null;
    case "listValue":
      return celList(kind.value.values.map(celOf));
    case "mapValue": {
      const entries = kind.value.entries.map(({ key, value }) => [celOf(key as Value), celOf(value as Value)] as const);
      return celMap(new Map(entries as [string, CelValue][]));
    }
    case "int64Value":
    case "doubleValue":
    case "stringValue":
    case "bytesValue":
    case "boolValue":
      return kind.value;
    default:
      throw new TypeError(`${kind.case} is no value of these cases`);
  }
}

function show(value: CelValue): string {
  if (value === null) return "null";
  if (typeof value === "number") return `double ${Object.is(value, -0) ? 0 : value}`;
  if (typeof value === "bigint") return `int ${value}`;
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "boolean") return String(value);
  if (isCelUint(value)) return `uint ${value.value}`;
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString("hex")}`;
  if (isCelList(value)) return `[${[...value].map(show).join(", ")}]`;
  if (isCelMap(value)) {
    const entries = [...value].map(([key, member]) => `${show(key)}: ${show(member)}`);
    return `{${entries.sort().join(", ")}}`;
  }
  return isCelType(value) ? `type ${value.name}` : "message";
}

function expected({ resultMatcher: result }: Case["original"]): string {
  if (result.case !== "value") return result.case === "evalError" ? "error" : (result.case ?? "true");
  return result.value.kind.case === "typeValue" ? `type ${result.value.kind.value}` : show(celOf(result.value));
}

const tried = cases.filter((one) => excluded(one.name) === undefined && !needsMessage(one));

test("conditions answer as the specification says", () => {
  const differing: string[] = [];
  for (const { name, original } of tried) {
    const activation = Object.create(null) as Record<string, CelValue>;
    for (const [variable, { kind }] of Object.entries(original.bindings)) {
      if (kind.case === "value") activation[variable] = celOf(kind.value);
    }
    const compiled = compileExpression(original.expr);
    const result = compiled.ok ? compiled.value.run(activation) : undefined;
    const answer = result?.ok === true ? show(result.value) : "error";
    if (answer !== expected(original))
      differing.push(`${name}: ${original.expr} is ${answer}, not ${expected(original)}`);
  }
  expect(differing).toEqual([]);
  expect(tried.length).toBe(TRIED);
});

test("a condition of a policy is Unknown where the specification has an error, and else what it says", () => {
  // `x || true` with an unknown x: a name that no policy has is refused when the policy is applied, and Unknown if it is stored.
  const unknownName = "basic/variables/unbound_is_runtime_error";
  const conditions = tried.filter(
    ({ name, original }) =>
      name !== unknownName &&
      Object.keys(original.bindings).length === 0 &&
      ["true", "false", "error"].includes(expected(original)),
  );
  const differing = conditions.filter(({ original }) => {
    const wanted = { true: true, false: false, error: undefined }[expected(original)];
    return truthOf({ cel: original.expr }) !== wanted;
  });
  expect(differing.map(({ name }) => name)).toEqual([]);
  expect(conditions.length).toBe(CONDITIONS);
});

test("every exclusion excludes something", () => {
  const useless = EXCLUDED.filter(([prefix]) => !cases.some(({ name }) => name.startsWith(prefix)));
  expect(useless).toEqual([]);
  const messages = cases.filter((one) => excluded(one.name) === undefined && needsMessage(one));
  expect(messages.length).toBe(MESSAGES);
});

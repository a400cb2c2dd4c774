// Checks the languages inside a manifest where they stand: conditions, templates and JSON Schemas, each error at its place in the file.
// Called by the schemas of the kinds and by graph_typing.ts; compiles with language/, the room that also evaluates at run time.
// Documents that were checked when they were applied (findings.trusted) are not compiled again.

import type { JsonObject } from "../../kit/json.ts";
import { isJsonObject } from "../../kit/json.ts";
import { compileCondition, compileValue } from "../../language/condition.ts";
import { compileSchema } from "../../language/json_schema.ts";
import { type CompiledTemplate, compileTemplate, type JsonPath } from "../../language/template.ts";
import type { Bindings, Condition } from "../../language/types.ts";
import { didYouMean, type Findings } from "./diagnostics.ts";
import { join, readString } from "./fields.ts";
import { positionInside, type ScalarTree, type Tree, toJson } from "./tree.ts";

/** Checks a CEL condition; with a sample, also that its result is a boolean when it has one. */
export function checkCondition(
  findings: Findings,
  tree: Tree,
  path: string,
  variables: readonly string[],
  sample?: Bindings,
): { text: string; condition?: Condition } | undefined {
  const text = readString(findings, tree, path);
  if (text === undefined || findings.trusted) return text === undefined ? undefined : { text };
  const scalar = tree as ScalarTree;
  if (text.includes("${{")) {
    const hint = "remove ${{ and }}";
    findings.error(
      "E-EXPRESSION",
      positionInside(scalar, text.indexOf("${{")),
      path,
      "a condition is bare CEL, not a template",
      hint,
    );
    return undefined;
  }
  const compiled = compileCondition(text, { variables });
  if (!compiled.ok) {
    const hint = unknownNameHint(compiled.error, variables);
    findings.error("E-EXPRESSION", positionInside(scalar, compiled.offset), path, compiled.error, hint);
    return undefined;
  }
  const result = compiled.value.evaluate(sample ?? {});
  // Without a value for what it reads an evaluation says nothing; a wrong type is wrong whatever the values.
  if (!result.ok && result.error.endsWith("not true or false")) {
    findings.error("E-CONDITION", scalar.at, path, result.error, 'compare it, as in output.route == "billing"');
    return undefined;
  }
  return { text, condition: compiled.value };
}

/** Checks a bare CEL expression of any type. */
export function checkExpression(
  findings: Findings,
  tree: Tree,
  path: string,
  variables: readonly string[],
): string | undefined {
  const text = readString(findings, tree, path);
  if (text === undefined || findings.trusted) return text;
  const compiled = compileValue(text, { variables });
  if (compiled.ok) return text;
  const hint = text.includes("${{") ? "remove ${{ and }}: it is bare CEL" : unknownNameHint(compiled.error, variables);
  findings.error("E-EXPRESSION", positionInside(tree as ScalarTree, compiled.offset), path, compiled.error, hint);
  return undefined;
}

/** Checks a template; undefined if it does not compile or the document is trusted. */
export function checkTemplate(
  findings: Findings,
  tree: Tree,
  path: string,
  variables: readonly string[],
): CompiledTemplate | undefined {
  if (findings.trusted) return undefined;
  const compiled = compileTemplate(toJson(tree), { variables });
  if (compiled.ok) return compiled.value;
  for (const problem of compiled.errors) {
    const place = locate(tree, path, problem.path);
    const at = place.tree.kind === "scalar" ? positionInside(place.tree, problem.offset) : place.tree.at;
    findings.error("E-EXPRESSION", at, place.path, problem.message, unknownNameHint(problem.message, variables));
  }
  return undefined;
}

/** Checks a JSON Schema (2020-12, local references only); undefined if it is not an object. */
export function checkSchema(findings: Findings, tree: Tree, path: string): JsonObject | undefined {
  const schema = toJson(tree);
  if (!isJsonObject(schema)) {
    findings.error("E-SCHEMA", tree.at, path, "a JSON Schema is a map", "for example {type: object}");
    return undefined;
  }
  if (findings.trusted) return schema;
  const compiled = compileSchema(schema);
  if (compiled.ok) return schema;
  const place = locate(tree, path, compiled.path);
  findings.error("E-SCHEMA", place.tree.at, place.path, compiled.error);
  return undefined;
}

/** The part of a tree at a path, as far as it goes. */
export function locate(tree: Tree, path: string, inner: JsonPath): { tree: Tree; path: string } {
  let at = { tree, path };
  for (const part of inner) {
    if (at.tree.kind === "list") {
      const item: Tree | undefined = at.tree.items[Number(part)];
      if (item === undefined) return at;
      at = { tree: item, path: `${at.path}[${part}]` };
    } else if (at.tree.kind === "map") {
      const entry = at.tree.entries.find((candidate) => candidate.key === String(part));
      if (entry === undefined) return at;
      at = { tree: entry.value, path: join(at.path, entry.key) };
    } else return at;
  }
  return at;
}

function unknownNameHint(message: string, variables: readonly string[]): string {
  const name = /^unknown name "([^"]*)"/.exec(message)?.[1];
  return name === undefined ? "" : didYouMean(name, variables);
}

// Types a template against the schema of what it makes: literals and lone field paths by their schemas, other expressions
// by evaluating them on a sample. A wrong type is an error; no value says nothing and is checked again at run time.
// Called by graph_typing.ts for node inputs, system outputs and template inputs.

import type { JsonObject } from "../../kit/json.ts";
import { compileSchema } from "../../language/json_schema.ts";
import type { CompiledTemplate, Insertion } from "../../language/template.ts";
import { compileTemplate } from "../../language/template.ts";
import type { Bindings } from "../../language/types.ts";
import type { Findings } from "./diagnostics.ts";
import { locate } from "./expressions.ts";
import { checkRead, type Scope, schemaAt } from "./reads.ts";
import {
  itemOf,
  memberOf,
  misfit,
  overlaps,
  requiredMembers,
  type Typed,
  typeOfJson,
  typesOf,
} from "./schema_types.ts";
import { positionInside, type Tree, toJson } from "./tree.ts";

/** What a template is checked with. */
export interface TemplateTyping {
  readonly findings: Findings;
  readonly scope: Scope;
  /** Values of the variables made from their schemas; variables without a sample are left out. */
  readonly sample: Bindings;
  readonly variables: readonly string[];
}

/** A path of members and nothing else. */
export const LONE_PATH = /^[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*|\["[^"\\]*"\])*$/;

/** Reports bad reads and values that cannot fit; silent about a template that does not compile (that is already reported). */
export function checkTemplateTypes(typing: TemplateTyping, tree: Tree, path: string, target: Typed | undefined): void {
  const compiled = compileTemplate(toJson(tree), { variables: typing.variables });
  if (!compiled.ok) return;
  for (const insertion of compiled.value.insertions) {
    const place = locate(tree, path, insertion.path);
    for (const reference of insertion.references) {
      const { tree: scalar } = place;
      const at = scalar.kind === "scalar" ? positionInside(scalar, insertion.offset + reference.offset) : scalar.at;
      checkRead(typing.findings, reference, typing.scope, at, place.path);
    }
  }
  checkTree(typing, compiled.value, tree, path, [], target);
}

function checkTree(
  typing: TemplateTyping,
  template: CompiledTemplate,
  tree: Tree,
  path: string,
  inner: readonly (string | number)[],
  target: Typed | undefined,
): void {
  if (target === undefined) return;
  const before = typing.findings.errors;
  const inside = template.insertions.filter((insertion) =>
    inner.every((part, index) => String(insertion.path[index]) === String(part)),
  );
  if (inside.length === 0 && tree.kind === "scalar") checkLiteral(typing, tree, path, target);
  else if (tree.kind === "map") checkMap(typing, template, tree, path, inner, target);
  else if (tree.kind === "list") {
    const wanted = typesOf(target);
    if (!overlaps(new Set(["array"]), wanted)) report(typing, tree, path, wanted, "array");
    else
      for (const [index, item] of tree.items.entries())
        checkTree(typing, template, item, `${path}[${index}]`, [...inner, index], itemOf(target));
  } else checkString(typing, inside[0] as Insertion, tree, path, target);
  // What no part of a literal shows, such as too few items, the whole does.
  const whole = inside.length === 0 && tree.kind !== "scalar" && typing.findings.errors === before;
  if (whole) checkLiteral(typing, tree, path, target);
}

function checkMap(
  typing: TemplateTyping,
  template: CompiledTemplate,
  tree: Tree & { kind: "map" },
  path: string,
  inner: readonly (string | number)[],
  target: Typed,
): void {
  const wanted = typesOf(target);
  if (!overlaps(new Set(["object"]), wanted)) {
    report(typing, tree, path, wanted, "object");
    return;
  }
  for (const name of requiredMembers(target)) {
    if (tree.entries.some((entry) => entry.key === name)) continue;
    typing.findings.error("E-INPUT", tree.at, path, `"${name}" is required by the schema and not given`, "add it");
  }
  for (const entry of tree.entries) {
    const member = memberOf(target, entry.key);
    const place = `${path}.${entry.key}`;
    if (member?.presence === "never") {
      typing.findings.error(
        "E-INPUT",
        entry.at,
        place,
        `the schema allows no "${entry.key}"`,
        `it allows ${member.siblings.join(", ")}`,
      );
    } else checkTree(typing, template, entry.value, place, [...inner, entry.key], member?.at);
  }
}

function checkLiteral({ findings }: TemplateTyping, tree: Tree, path: string, target: Typed): void {
  // Local references start from the root, so the root's definitions come along.
  const definitions = target.root["$defs"];
  const schema: JsonObject =
    definitions === undefined || target.schema === target.root
      ? target.schema
      : { ...target.schema, $defs: definitions };
  const compiled = compileSchema(schema);
  const problem = compiled.ok ? compiled.value.check(compiled.value.fill(toJson(tree))) : undefined;
  if (problem !== undefined) findings.error("E-INPUT", tree.at, path, `the value does not fit the schema: ${problem}`);
}

function checkString(
  typing: TemplateTyping,
  insertion: Insertion,
  tree: Tree & { kind: "scalar" },
  path: string,
  target: Typed,
): void {
  const wanted = typesOf(target);
  if (!insertion.whole) {
    if (!overlaps(new Set(["string"]), wanted)) report(typing, tree, path, wanted, "string");
    return;
  }
  const [reference] = insertion.references;
  if (insertion.references.length === 1 && reference !== undefined && LONE_PATH.test(insertion.text)) {
    const source = schemaAt(reference.path, typing.scope);
    const problem = misfit(source, target);
    if (problem !== undefined)
      typing.findings.error("E-INPUT", tree.at, path, `${insertion.text} does not fit the schema: ${problem}`);
    if (source !== undefined) return;
  }
  const compiled = compileTemplate(tree.value, { variables: typing.variables });
  const result = compiled.ok ? compiled.value.evaluate(typing.sample) : undefined;
  if (result?.ok !== true) return;
  const found = typeOfJson(result.value);
  if (!overlaps(new Set([found]), wanted)) report(typing, tree, path, wanted, found);
}

function report(
  { findings }: TemplateTyping,
  tree: Tree,
  path: string,
  wanted: ReadonlySet<string> | undefined,
  found: string,
): void {
  findings.error("E-INPUT", tree.at, path, `the schema wants ${[...(wanted ?? [])].join(" or ")}, found ${found}`);
}

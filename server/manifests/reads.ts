// Checks what an expression reads against the schemas of its variables: misspelt members, and members that may be absent.
// Called by graph_typing.ts for templates and conditions alike. Reports at the place of the variable inside the string.

import type { Reference } from "../../language/condition.ts";
import { didYouMean, type Findings, type Position } from "./diagnostics.ts";
import { END, type GraphShape } from "./graph_order.ts";
import { memberOf, type Typed } from "./schema_types.ts";

/** What the variables of an expression are. */
export interface Scope {
  /** Schemas of plain variables: input, output, params. */
  readonly schemas: Readonly<Record<string, Typed | undefined>>;
  /** Set where `nodes` may be read. */
  readonly nodes?: {
    readonly shape: GraphShape;
    /** The node that reads, or END. */
    readonly reader: string;
    /** Schemas of their output; of a mapped node, of its outputs. */
    readonly outputs: ReadonlyMap<string, Typed | undefined>;
    readonly mapped: ReadonlySet<string>;
  };
  /** Names of tags, where `tags` may be read; true: required or always set. */
  readonly tags?: ReadonlyMap<string, boolean>;
}

/** Reports what is wrong with one read. */
export function checkRead(findings: Findings, reference: Reference, scope: Scope, at: Position, path: string): void {
  const [variable, first] = reference.path;
  if (variable === "nodes") {
    if (checkNodeRead(findings, reference, scope, at, path))
      checkMembers(findings, reference, scope.nodes?.outputs.get(first as string), 3, at, path);
  } else if (variable === "secret") {
    if (reference.path.length === 3) return;
    findings.error("E-EXPRESSION", at, path, `${reference.path.join(".")} is no secret`, "write secret.NAME.KEY");
  } else if (variable === "tags" && scope.tags !== undefined) checkTag(findings, reference, scope.tags, at, path);
  else if (variable === "iteration" && first !== undefined && !["index", "max", "last"].includes(first)) {
    findings.error(
      "E-EXPRESSION",
      at,
      path,
      `iteration has no member "${first}"`,
      didYouMean(first, ["index", "max", "last"]) || "it has index, max, last",
    );
  } else if (variable === "iteration" && first === "last" && reference.known < 2 && !isTest(reference, 2)) {
    const message = "iteration.last is absent in the first iteration";
    findings.error("E-EXPRESSION", at, path, message, "ask has(iteration.last) first");
  } else if (variable !== undefined) checkMembers(findings, reference, scope.schemas[variable], 1, at, path);
}

function isTest({ tested, path }: Reference, length: number): boolean {
  return tested && path.length === length;
}

/** Schema of the value at a member path, as far as schemas say. */
export function schemaAt(path: readonly string[], scope: Scope): Typed | undefined {
  const [variable, node, output] = path;
  let at =
    variable === "nodes"
      ? output === memberName(scope, node)
        ? scope.nodes?.outputs.get(node as string)
        : undefined
      : scope.schemas[variable as string];
  for (const name of path.slice(variable === "nodes" ? 3 : 1)) at = at && memberOf(at, name)?.at;
  return at;
}

function memberName(scope: Scope, node: string | undefined): "output" | "outputs" {
  return node !== undefined && scope.nodes?.mapped.has(node) === true ? "outputs" : "output";
}

function checkNodeRead(findings: Findings, reference: Reference, scope: Scope, at: Position, path: string): boolean {
  const [, name, member] = reference.path;
  const { nodes } = scope;
  if (nodes === undefined || name === undefined) return false;
  if (!nodes.outputs.has(name)) {
    findings.error("E-EXPRESSION", at, path, `there is no node "${name}"`, didYouMean(name, nodes.outputs.keys()));
    return false;
  }
  if (nodes.reader !== END && !nodes.shape.ancestors(nodes.reader).has(name)) {
    const message = `node "${name}" does not run before "${nodes.reader}"`;
    findings.error("E-DOMINATION", at, path, message, `add an edge that leads from "${name}" to "${nodes.reader}"`);
    return false;
  }
  if (member === undefined) return false;
  const declared = memberName(scope, name);
  if (member !== declared) {
    const message = `node "${name}" has no member "${member}"`;
    const hint =
      declared === "outputs" ? "it is mapped: it has outputs" : didYouMean(member, [declared]) || "it has output";
    findings.error("E-EXPRESSION", at, path, message, hint);
    return false;
  }
  if (nodes.shape.certain(nodes.reader).has(name) || reference.known >= 3) return true;
  if (isTest(reference, 3)) return false;
  const reader = nodes.reader === END ? "the output" : `"${nodes.reader}"`;
  const message = `node "${name}" may be skipped before ${reader}`;
  findings.error("E-DOMINATION", at, path, message, `ask has(nodes.${name}.${declared}) first`);
  return false;
}

function checkMembers(
  findings: Findings,
  reference: Reference,
  start: Typed | undefined,
  from: number,
  at: Position,
  path: string,
): void {
  let here = start;
  for (let index = from; index < reference.path.length && here !== undefined; index += 1) {
    const name = reference.path[index] as string;
    const member = memberOf(here, name);
    if (member === undefined) return;
    const whole = reference.path.slice(0, index + 1).join(".");
    const last = index === reference.path.length - 1;
    const proved = reference.known > index || (reference.tested && last);
    if (member.presence === "never") {
      findings.error(
        "E-EXPRESSION",
        at,
        path,
        `${whole} does not exist`,
        didYouMean(name, member.siblings) || `known: ${member.siblings.join(", ")}`,
      );
      return;
    }
    if (!proved && member.presence !== "always") {
      const near = member.presence === "unknown" ? didYouMean(name, member.siblings) : "";
      const message =
        member.presence === "unknown" ? `${whole} is not in the schema` : `${whole} may be absent: it is not required`;
      findings.warning("W-OPTIONAL", at, path, message, near || `ask has(${whole}) first, or require it`);
    }
    here = member.at;
  }
}

function checkTag(
  findings: Findings,
  reference: Reference,
  tags: ReadonlyMap<string, boolean>,
  at: Position,
  path: string,
): void {
  const [, name] = reference.path;
  if (name === undefined) return;
  if (!tags.has(name))
    findings.error("E-EXPRESSION", at, path, `there is no tag "${name}"`, didYouMean(name, tags.keys()));
  else if (tags.get(name) === false && reference.known < 2 && !reference.tested) {
    findings.warning(
      "W-OPTIONAL",
      at,
      path,
      `the tag "${name}" may be absent: it is not required`,
      "require it, or ask has() first",
    );
  }
}

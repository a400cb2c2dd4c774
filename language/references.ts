// Lists what an expression reads: member paths such as nodes.triage.output.route, and which of their members a has()
// on the same branch proves to exist. Called by expression.ts once per text; read by the static checks of manifests.
// Works on the parsed tree only. Variables of macros (the `o` of filter(o, …)) are not references.

import type { parse } from "@bufbuild/cel";

/** A parsed expression tree. */
export type Expr = ReturnType<typeof parse>["expr"];

/** One read of a variable or of a member path of it. */
export interface Reference {
  /** Variable first; members by name or constant string index, up to the first other index or call. */
  readonly path: readonly string[];
  /** UTF-16 offset of the variable in the expression. */
  readonly offset: number;
  /** True for the argument of has(): its last member may be absent, the members before it are read. */
  readonly tested: boolean;
  /** How many leading members of `path` exist whenever this read happens, by has() or "name" in on the branch; 0 if nothing is known. */
  readonly known: number;
}

/** A called function and where. */
export interface Call {
  readonly name: string;
  readonly offset: number;
}

/** What an expression reads and calls. */
export interface Reads {
  readonly references: readonly Reference[];
  readonly calls: readonly Call[];
  /** Deepest nesting of macros that multiplies work; a macro in the range of another does not. */
  readonly macroDepth: number;
}

type Path = readonly string[];
type Positions = Readonly<Record<string, number>>;

/** Names that the language itself gives to types; never variables. */
const TYPE_NAMES = new Set("bool bytes double dyn google int list map null_type string type uint".split(" "));

/** Walks a parsed expression. `positions` maps expression ids to offsets. */
export function readsOf(root: Expr, positions: Positions): Reads {
  const walker = new Walker(positions);
  walker.walk(root, new Set(), []);
  return { references: walker.references, calls: walker.calls, macroDepth: walker.macroDepth };
}

class Walker {
  readonly references: Reference[] = [];
  readonly calls: Call[] = [];
  macroDepth = 0;
  readonly #positions: Positions;
  #depth = 0;

  constructor(positions: Positions) {
    this.#positions = positions;
  }

  walk(expr: Expr | undefined, local: ReadonlySet<string>, facts: readonly Path[]): void {
    if (expr === undefined) return;
    const kind = expr.exprKind;
    switch (kind.case) {
      case "identExpr":
      case "selectExpr":
        this.#member(expr, local, facts);
        break;
      case "callExpr":
        if (pathOf(expr) !== undefined) this.#member(expr, local, facts);
        else this.#call(expr, local, facts);
        break;
      case "listExpr":
        for (const element of kind.value.elements) this.walk(element, local, facts);
        break;
      case "structExpr":
        for (const entry of kind.value.entries) {
          if (entry.keyKind.case === "mapKey") this.walk(entry.keyKind.value, local, facts);
          this.walk(entry.value, local, facts);
        }
        break;
      case "comprehensionExpr": {
        const fold = kind.value;
        this.walk(fold.iterRange, local, facts);
        const inner = new Set(local).add(fold.iterVar).add(fold.accuVar);
        this.#depth += 1;
        this.macroDepth = Math.max(this.macroDepth, this.#depth);
        for (const part of [fold.accuInit, fold.loopStep, fold.result]) this.walk(part, inner, facts);
        this.#depth -= 1;
        break;
      }
    }
  }

  #member(expr: Expr, local: ReadonlySet<string>, facts: readonly Path[]): void {
    const found = pathOf(expr);
    if (found === undefined) {
      if (expr.exprKind.case === "selectExpr") this.walk(expr.exprKind.value.operand, local, facts);
      return;
    }
    const [variable] = found.path;
    if (variable === undefined || local.has(variable) || TYPE_NAMES.has(variable)) return;
    const tested = expr.exprKind.case === "selectExpr" && expr.exprKind.value.testOnly;
    let known = 0;
    for (const fact of facts) known = Math.max(known, commonPrefix(fact, found.path));
    // A fact of one member says no more than that the variable exists.
    this.references.push({ path: found.path, offset: this.#offset(found.root), tested, known: known < 2 ? 0 : known });
  }

  #call(expr: Expr, local: ReadonlySet<string>, facts: readonly Path[]): void {
    if (expr.exprKind.case !== "callExpr") return;
    const { function: name, target, args } = expr.exprKind.value;
    this.calls.push({ name, offset: this.#offset(expr) });
    const [first, second, third] = args;
    if (name === "_?_:_" && first !== undefined) {
      this.walk(first, local, facts);
      this.walk(second, local, [...facts, ...factsOf(first, true, local)]);
      this.walk(third, local, [...facts, ...factsOf(first, false, local)]);
    } else if (name === "_&&_" || name === "_||_") {
      // Whichever side errors, the other decides if it can: so each side is guarded by the other.
      for (const arg of args) {
        const others = args.filter((other) => other !== arg);
        this.walk(arg, local, [...facts, ...others.flatMap((other) => factsOf(other, name === "_&&_", local))]);
      }
    } else {
      this.walk(target, local, facts);
      for (const arg of args) this.walk(arg, local, facts);
    }
  }

  #offset(expr: Expr): number {
    return this.#positions[String(expr.id)] ?? 0;
  }
}

// Paths that exist when an expression has the given outcome.
function factsOf(expr: Expr, outcome: boolean, local: ReadonlySet<string>): Path[] {
  const kind = expr.exprKind;
  if (kind.case === "selectExpr" && kind.value.testOnly) return outcome ? factOf(expr, local) : [];
  if (kind.case !== "callExpr") return [];
  const { function: name, args } = kind.value;
  const [first, second] = args;
  if (name === "!_" && first !== undefined) return factsOf(first, !outcome, local);
  if (name === (outcome ? "_&&_" : "_||_")) return args.flatMap((arg) => factsOf(arg, outcome, local));
  if (name === "@in" && outcome && first !== undefined && second !== undefined) {
    const key = constantString(first);
    const map = factOf(second, local)[0];
    return key === undefined || map === undefined ? [] : [[...map, key]];
  }
  return [];
}

function factOf(expr: Expr, local: ReadonlySet<string>): Path[] {
  const path = pathOf(expr)?.path;
  return path === undefined || local.has(path[0] ?? "") ? [] : [path];
}

// The member path of a chain of selections and constant indexes that begins at a variable.
function pathOf(expr: Expr): { readonly path: Path; readonly root: Expr } | undefined {
  const members: string[] = [];
  let at: Expr | undefined = expr;
  while (at !== undefined) {
    const kind: Expr["exprKind"] = at.exprKind;
    if (kind.case === "identExpr")
      return { path: [kind.value.name.replace(/^\./, ""), ...members.reverse()], root: at };
    if (kind.case === "selectExpr") {
      members.push(kind.value.field);
      at = kind.value.operand;
    } else if (kind.case === "callExpr" && kind.value.function === "_[_]") {
      const key: string | undefined = constantString(kind.value.args[1]);
      if (key === undefined) return undefined;
      members.push(key);
      at = kind.value.args[0];
    } else return undefined;
  }
  return undefined;
}

function constantString(expr: Expr | undefined): string | undefined {
  if (expr?.exprKind.case !== "constExpr") return undefined;
  const constant = expr.exprKind.value.constantKind;
  return constant.case === "stringValue" ? constant.value : undefined;
}

function commonPrefix(left: Path, right: Path): number {
  let length = 0;
  while (length < left.length && length < right.length && left[length] === right[length]) length += 1;
  return length;
}

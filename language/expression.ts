// Compiles one CEL expression: limits, parse, plan, and what it reads. Compiled texts are kept in a bounded cache.
// Called by condition.ts and template.ts only. Evaluation is bounded too: macros share a budget of iterations, so that
// neither a manifest nor a large input can hold the event loop. Never throws.
// Limits: 4 KiB a text, brackets 64 deep, macros nested twice, 50 000 iterations an evaluation.

import {
  type CelList,
  CelScalar,
  type CelValue,
  celEnv,
  celFunc,
  celList,
  isCelError,
  isCelList,
  isCelMap,
  parse,
  plan,
} from "@bufbuild/cel";
import { messageOf } from "../kit/errors.ts";
import { KIB } from "../kit/units.ts";
import { bounded } from "./bounded_cache.ts";
import { type Expr, type Reads, readsOf } from "./references.ts";
import { scanExpression } from "./scan.ts";
import type { Evaluated } from "./types.ts";

/** UTF-8 bytes of an expression at most. */
export const EXPRESSION_BYTES_MAX = 4 * KIB;
/** Nesting of brackets at most. */
export const BRACKET_DEPTH_MAX = 64;
/** Nesting of macros at most. */
export const MACRO_DEPTH_MAX = 2;
/** Iterations of all macros in one evaluation at most; about 1.5 µs each. */
export const ITERATIONS_MAX = 50_000;
/** Comparisons of list items that cost as much as one iteration. */
const COMPARISONS_PER_ITERATION = 4;
/** Compiled texts kept. */
const CACHE_MAX = 4_096;
/** Characters of an expression that an error message quotes. */
const QUOTE_MAX = 80;

/** Values of the variables, made by binder.ts. */
export type Activation = Readonly<Record<string, CelValue>>;

/** A compiled expression. */
export interface Program extends Reads {
  readonly text: string;
  /** Errors are values; they quote the expression. */
  run(activation: Activation): Evaluated<CelValue>;
}

/** What is wrong with a text and at which UTF-16 offset of it. */
export interface CompileError {
  readonly ok: false;
  readonly error: string;
  readonly offset: number;
}

/** Result of a compilation. */
export type Compiled<T> = { readonly ok: true; readonly value: T } | CompileError;

let iterationsLeft = 0;
const appended = new WeakMap<CelList, CelValue[]>();

const ENVIRONMENT = celEnv({
  funcs: [
    celFunc("@spend", [CelScalar.DYN], CelScalar.DYN, (condition) => spend(1, condition)),
    celFunc("@weigh", [CelScalar.DYN], CelScalar.DYN, (value) => {
      const size = isCelList(value) || isCelMap(value) ? value.size : 0;
      return spend(size / COMPARISONS_PER_ITERATION, value);
    }),
    celFunc("@append", [CelScalar.DYN, CelScalar.DYN], CelScalar.DYN, (list, item) => append(list as CelList, item)),
  ],
});

const cache = bounded<Compiled<Program>>(CACHE_MAX);

/** Compiles a text. `variables`, when given, are the only names it may read. */
export function compileExpression(text: string, variables?: readonly string[]): Compiled<Program> {
  const compiled = cache.get(text, () => compile(text));
  if (!compiled.ok || variables === undefined) return compiled;
  const unknown = compiled.value.references.find((reference) => !variables.includes(reference.path[0] ?? ""));
  if (unknown === undefined) return compiled;
  const known = variables.length === 0 ? "nothing" : variables.join(", ");
  return { ok: false, error: `unknown name "${unknown.path[0]}"; known here: ${known}`, offset: unknown.offset };
}

function compile(text: string): Compiled<Program> {
  if (text.trim() === "") return { ok: false, error: "the expression is empty", offset: 0 };
  if (Buffer.byteLength(text) > EXPRESSION_BYTES_MAX) {
    return { ok: false, error: `the expression is longer than ${EXPRESSION_BYTES_MAX} bytes`, offset: 0 };
  }
  if (scanExpression(text, 0, false).depth > BRACKET_DEPTH_MAX) {
    return { ok: false, error: `brackets nest deeper than ${BRACKET_DEPTH_MAX}`, offset: 0 };
  }
  try {
    // The grammar ends a comment by a newline only.
    const parsed = parse(`${text}\n`);
    const reads = readsOf(parsed.expr, parsed.sourceInfo?.positions ?? {});
    if (reads.macroDepth > MACRO_DEPTH_MAX) {
      return { ok: false, error: `macros nest deeper than ${MACRO_DEPTH_MAX}`, offset: 0 };
    }
    for (const call of reads.calls) {
      const error = checkCall(call.name);
      if (error !== undefined) return { ok: false, error, offset: call.offset };
    }
    guardMacros(parsed.expr);
    const evaluate = plan(ENVIRONMENT, parsed) as (activation: Activation) => ReturnType<ReturnType<typeof plan>>;
    return { ok: true, value: { ...reads, text, run: (activation) => run(text, evaluate, activation) } };
  } catch (error) {
    return syntaxError(error, text);
  }
}

function run(text: string, evaluate: (activation: Activation) => unknown, activation: Activation): Evaluated<CelValue> {
  iterationsLeft = ITERATIONS_MAX;
  let message: string;
  try {
    const value = evaluate(activation);
    if (!isCelError(value)) return { ok: true, value: value as CelValue };
    message = value.message;
  } catch (error) {
    message = messageOf(error);
  }
  const quoted = text.length > QUOTE_MAX ? `${text.slice(0, QUOTE_MAX)}…` : text;
  return { ok: false, error: `${message} (in \`${quoted}\`)` };
}

function checkCall(name: string): string | undefined {
  if (name === "has") return "has() takes a member, as in has(input.name)";
  if (["all", "exists", "exists_one", "filter", "map"].includes(name)) {
    return `${name}() takes a variable and an expression, as in ${name}(item, item.ok)`;
  }
  // Operators have names such as _+_ and are always known.
  if (!/^[a-z]/i.test(name) || ENVIRONMENT.funcs.find(name) !== undefined) return undefined;
  return `unknown function "${name}"`;
}

function syntaxError(error: unknown, text: string): CompileError {
  if (error instanceof RangeError) return { ok: false, error: "the expression is too complex", offset: 0 };
  const { rawMessage, location } = error as { rawMessage?: unknown; location?: { start?: { offset?: unknown } } };
  const offset = location?.start?.offset;
  // The parser lists every token it would have taken; the first half of its message says what is wrong.
  const message = (typeof rawMessage === "string" ? rawMessage : messageOf(error)).replace(
    / but expecting .{40,}$/su,
    "",
  );
  return {
    ok: false,
    error: `not a CEL expression: ${message}`,
    offset: typeof offset === "number" ? Math.min(offset, text.length) : 0,
  };
}

// Rewrites macros before they are planned: each iteration is paid for, and `result + [item]` appends in place. The
// library's own concatenation nests one list in another, takes n² time to read and overflows the stack at 10 000 items.
// Inside a macro, comparisons with whole lists and maps are paid for by their size too: `x in list` is a loop of its own.
function guardMacros(expr: Expr | undefined, inMacro = false): void {
  if (expr === undefined) return;
  const kind = expr.exprKind;
  switch (kind.case) {
    case "selectExpr":
      guardMacros(kind.value.operand, inMacro);
      break;
    case "callExpr":
      guardMacros(kind.value.target, inMacro);
      for (const arg of kind.value.args) guardMacros(arg, inMacro);
      if (inMacro && ["@in", "_==_", "_!=_"].includes(kind.value.function)) {
        kind.value.args = kind.value.args.map((arg) =>
          arg.exprKind.case === "constExpr" ? arg : call(arg, "@weigh", [arg]),
        );
      }
      break;
    case "listExpr":
      for (const element of kind.value.elements) guardMacros(element, inMacro);
      break;
    case "structExpr":
      for (const entry of kind.value.entries) {
        if (entry.keyKind.case === "mapKey") guardMacros(entry.keyKind.value, inMacro);
        guardMacros(entry.value, inMacro);
      }
      break;
    case "comprehensionExpr": {
      const fold = kind.value;
      guardMacros(fold.iterRange, inMacro);
      for (const part of [fold.accuInit, fold.loopStep, fold.result]) guardMacros(part, true);
      if (fold.loopCondition !== undefined)
        fold.loopCondition = call(fold.loopCondition, "@spend", [fold.loopCondition]);
      if (fold.loopStep !== undefined) fold.loopStep = appendInPlace(fold.loopStep, fold.accuVar);
      break;
    }
  }
}

function appendInPlace(step: Expr, accumulator: string): Expr {
  if (step.exprKind.case !== "callExpr") return step;
  const { function: name, args } = step.exprKind.value;
  const [first, second, third] = args;
  if (name === "_?_:_" && first !== undefined && second !== undefined && third !== undefined) {
    return call(step, name, [first, appendInPlace(second, accumulator), third]);
  }
  if (name !== "_+_" || first?.exprKind.case !== "identExpr" || second?.exprKind.case !== "listExpr") return step;
  const [item] = second.exprKind.value.elements;
  if (first.exprKind.value.name !== accumulator || item === undefined) return step;
  return call(step, "@append", [first, item]);
}

function call(at: Expr, name: string, args: Expr[]): Expr {
  const value = { $typeName: "cel.expr.Expr.Call" as const, function: name, args };
  return { $typeName: "cel.expr.Expr", id: at.id, exprKind: { case: "callExpr", value } };
}

function spend(iterations: number, value: CelValue): CelValue {
  iterationsLeft -= iterations;
  if (iterationsLeft < 0) throw new RangeError(`more than ${ITERATIONS_MAX} iterations; use smaller lists`);
  return value;
}

// The list under construction is seen by nobody else until the macro ends, so it may grow in place.
function append(list: CelList, item: CelValue): CelList {
  const growing = appended.get(list);
  if (growing !== undefined) {
    growing.push(item);
    return list;
  }
  const items = [...list, item];
  const grown = celList(items);
  appended.set(grown, items);
  return grown;
}

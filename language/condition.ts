// Compiles bare CEL: conditions (`when` of edges, `cel` of policies, `when` of model scripts), and values such as keys.
// Called by manifests (to check), graph, policy and the worker (to evaluate). A result that is not a boolean is an error
// value; nothing here throws.

import { celType } from "@bufbuild/cel";
import type { Json } from "../kit/json.ts";
import { bindVariables, jsonOf, type SchemaHints } from "./binder.ts";
import { type Activation, type Compiled, compileExpression } from "./expression.ts";
import type { Reference } from "./references.ts";
import type { Bindings, Condition, Evaluated } from "./types.ts";

export type { Activation, Compiled, CompileError } from "./expression.ts";
export type { Reference } from "./references.ts";

/** What an expression may read. */
export interface ExpressionOptions {
  /** Names that may be read; any other is a compile error. */
  readonly variables: readonly string[];
  /** Schemas by variable: where they say `number`, integers bind as CEL double. */
  readonly schemas?: SchemaHints;
}

/** Compiles a condition. An error's offset is in UTF-16 units within the text. */
export function compileCondition(text: string, options: ExpressionOptions): Compiled<Condition> {
  const compiled = compileBoundCondition(text, options.variables);
  if (!compiled.ok) return compiled;
  const evaluate = (bindings: Bindings) => compiled.value.evaluate(bindVariables(bindings, options.schemas));
  return { ok: true, value: { text, evaluate } };
}

/** A condition over variables that were bound before, so that many conditions can share them. */
export interface BoundCondition {
  readonly text: string;
  readonly references: readonly Reference[];
  /** A result that is not a boolean is an error. */
  evaluate(activation: Activation): Evaluated<boolean>;
}

/** Compiles a condition whose variables the caller binds. */
export function compileBoundCondition(text: string, variables: readonly string[]): Compiled<BoundCondition> {
  const compiled = compileExpression(text, variables);
  if (!compiled.ok) return compiled;
  const program = compiled.value;
  const evaluate = (activation: Activation): Evaluated<boolean> => {
    const result = program.run(activation);
    if (!result.ok) return result;
    if (typeof result.value === "boolean") return { ok: true, value: result.value };
    return { ok: false, error: `\`${text}\` is ${celType(result.value).name}, not true or false` };
  };
  return { ok: true, value: { text, references: program.references, evaluate } };
}

/** A compiled expression of any type. */
export interface ValueExpression {
  readonly text: string;
  /** Its value as JSON; what JSON cannot say is an error. */
  evaluate(bindings: Bindings): Evaluated<Json>;
}

/** Compiles a bare expression. An error's offset is in UTF-16 units within the text. */
export function compileValue(text: string, options: ExpressionOptions): Compiled<ValueExpression> {
  const compiled = compileExpression(text, options.variables);
  if (!compiled.ok) return compiled;
  const evaluate = (bindings: Bindings): Evaluated<Json> => {
    const result = compiled.value.run(bindVariables(bindings, options.schemas));
    return result.ok ? jsonOf(result.value) : result;
  };
  return { ok: true, value: { text, evaluate } };
}

/** What a text reads, for static checks; an empty list if it does not compile. */
export function referencesOf(text: string): readonly Reference[] {
  const compiled = compileExpression(text);
  return compiled.ok ? compiled.value.references : [];
}

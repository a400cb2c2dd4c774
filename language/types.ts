// What an expression is to the rooms that use one: compiled once, evaluated against bindings, never throws.
// Implemented by condition.ts and template.ts of this room over @bufbuild/cel.

import type { Json } from "../kit/json.ts";

/** Result of an evaluation; errors are values. */
export type Evaluated<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string };

/** Variables of an expression. Integers up to 2^53 bind as CEL int, other numbers as double. */
export type Bindings = Readonly<Record<string, Json>>;

/** A compiled CEL condition. */
export interface Condition {
  readonly text: string;
  /** A result that is not a boolean is an error. */
  evaluate(bindings: Bindings): Evaluated<boolean>;
}

/** A compiled template: a JSON literal in which strings may embed ${{ CEL }}. */
export interface Template {
  /** Nodes that it reads as nodes.NAME…, for loading their outputs. */
  readonly nodesRead: readonly string[];
  evaluate(bindings: Bindings): Evaluated<Json>;
}

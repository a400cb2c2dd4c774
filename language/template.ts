// Compiles templates: JSON in whose strings ${{ CEL }} may be embedded.
// A string that is exactly one insertion keeps the expression's type; `$${{` is a literal `${{`; otherwise strings embed
// raw, numbers and booleans as JSON, lists and maps as canonical JSON, and null is an error. Keys are not templated.
// Called by manifests (to check), graph, server/grant and the worker. Nothing here throws.

import { messageOf } from "../kit/errors.ts";
import { canonicalJson, isJsonObject, type Json } from "../kit/json.ts";
import { bindVariables, jsonOf } from "./binder.ts";
import type { ExpressionOptions } from "./condition.ts";
import { type Activation, compileExpression, type Program } from "./expression.ts";
import type { Reference } from "./references.ts";
import { scanExpression } from "./scan.ts";
import type { Bindings, Evaluated, Template } from "./types.ts";

/** Where in a JSON value: keys and indexes from its root. */
export type JsonPath = readonly (string | number)[];

/** What is wrong, in which string of the value, and at which UTF-16 offset of that string. */
export interface TemplateError {
  readonly path: JsonPath;
  readonly offset: number;
  readonly message: string;
}

/** A part of a templated string. */
export type Segment =
  | { readonly kind: "literal"; readonly text: string }
  | {
      readonly kind: "expression";
      /** The expression without the white space around it. */
      readonly text: string;
      /** UTF-16 offset of that text in the string. */
      readonly offset: number;
      readonly references: readonly Reference[];
    };

/** An insertion, and where it stands. */
export interface Insertion {
  /** Of the string that holds it. */
  readonly path: JsonPath;
  readonly text: string;
  readonly offset: number;
  /** True if the string is this insertion alone and keeps its type. */
  readonly whole: boolean;
  readonly references: readonly Reference[];
}

/** A compiled template with what static checks need. */
export interface CompiledTemplate extends Template {
  readonly insertions: readonly Insertion[];
}

/** Turns the text of one insertion into what is put in its place, or refuses it. `index` counts insertions from 0. */
export type Encoder = (text: string, index: number, expression: string) => Evaluated<string>;

/** A compiled templated string. */
export interface StringTemplate extends CompiledTemplate {
  readonly segments: readonly Segment[];
  /** The string with every insertion embedded as text, passed through the encoder; also when it is one insertion alone. */
  evaluateString(bindings: Bindings, encode?: Encoder): Evaluated<string>;
}

/** Result of compiling a template: all errors at once. */
export type TemplateResult<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly errors: readonly TemplateError[] };

/** Stands in `nodesRead` when a template reads `nodes` other than by name: every node. */
export const ALL_NODES = "*";

type Part = { readonly segment: Segment; readonly program?: Program };
type Evaluate = (activation: Activation) => Evaluated<Json>;

/** Compiles a JSON value. Without any insertion it evaluates to the value itself. */
export function compileTemplate(value: Json, options: ExpressionOptions): TemplateResult<CompiledTemplate> {
  const compiler = new Compiler(options);
  const evaluate = compiler.value(value, []);
  if (compiler.errors.length > 0) return { ok: false, errors: compiler.errors };
  return { ok: true, value: compiler.template(evaluate ?? (() => ({ ok: true, value }))) };
}

/** Compiles one string, giving its parts and encoded evaluation. */
export function compileStringTemplate(text: string, options: ExpressionOptions): TemplateResult<StringTemplate> {
  const compiler = new Compiler(options);
  const parts = compiler.string(text, []);
  if (compiler.errors.length > 0) return { ok: false, errors: compiler.errors };
  return {
    ok: true,
    value: {
      ...compiler.template((activation) => evaluateParts(parts, activation)),
      segments: parts.map((part) => part.segment),
      evaluateString: (bindings, encode) => embed(parts, bindVariables(bindings, options.schemas), encode),
    },
  };
}

class Compiler {
  readonly errors: TemplateError[] = [];
  readonly #insertions: Insertion[] = [];
  readonly #options: ExpressionOptions;

  constructor(options: ExpressionOptions) {
    this.#options = options;
  }

  template(evaluate: Evaluate): CompiledTemplate {
    const schemas = this.#options.schemas;
    return {
      insertions: this.#insertions,
      nodesRead: nodesOf(this.#insertions),
      evaluate: (bindings) => evaluate(bindVariables(bindings, schemas)),
    };
  }

  /** Undefined for a value without insertions: it is its own result. */
  value(value: Json, path: JsonPath): Evaluate | undefined {
    if (typeof value === "string") {
      const parts = this.string(value, path);
      const [only] = parts;
      if (parts.length === 0 || (parts.length === 1 && only?.program === undefined && only?.segment.text === value)) {
        return undefined;
      }
      return (activation) => evaluateParts(parts, activation);
    }
    if (Array.isArray(value)) {
      const items = value.map((item, index) => this.value(item, [...path, index]));
      return items.every((item) => item === undefined)
        ? undefined
        : (activation) => evaluateList(value, items, activation);
    }
    if (!isJsonObject(value)) return undefined;
    const members = Object.entries(value).map(
      ([key, member]) => [key, member, this.value(member, [...path, key])] as const,
    );
    if (members.every(([, , evaluate]) => evaluate === undefined)) return undefined;
    return (activation) => {
      const entries: [string, Json][] = [];
      for (const [key, member, evaluate] of members) {
        const result = evaluate?.(activation) ?? { ok: true, value: member };
        if (!result.ok) return { ok: false, error: `${key}: ${result.error}` };
        entries.push([key, result.value]);
      }
      return { ok: true, value: Object.fromEntries(entries) };
    };
  }

  string(text: string, path: JsonPath): readonly Part[] {
    const parts: Part[] = [];
    let literal = "";
    let at = 0;
    const flush = () => {
      if (literal !== "") parts.push({ segment: { kind: "literal", text: literal } });
      literal = "";
    };
    while (at < text.length) {
      const dollar = text.indexOf("$", at);
      if (dollar === -1) break;
      literal += text.slice(at, dollar);
      at = dollar;
      if (text.startsWith("$${{", at)) {
        literal += "${{";
        at += 4;
      } else if (text.startsWith("${{", at)) {
        flush();
        const scan = scanExpression(text, at + 3, true);
        const part = this.#insertion(text, at, scan, path, at === 0 && scan.end + 2 === text.length);
        if (part !== undefined) parts.push(part);
        at = scan.end + 2;
      } else {
        literal += "$";
        at += 1;
      }
    }
    literal += text.slice(at);
    flush();
    return parts;
  }

  #insertion(
    string: string,
    at: number,
    scan: { readonly end: number; readonly closed: boolean },
    path: JsonPath,
    whole: boolean,
  ): Part | undefined {
    if (!scan.closed) {
      this.errors.push({ path, offset: at, message: "${{ is not closed by }}; write $${{ for a literal ${{" });
      return undefined;
    }
    const inner = string.slice(at + 3, scan.end);
    const text = inner.trim();
    const offset = at + 3 + (inner.length - inner.trimStart().length);
    const compiled = compileExpression(text, this.#options.variables);
    if (!compiled.ok) {
      this.errors.push({ path, offset: offset + compiled.offset, message: compiled.error });
      return undefined;
    }
    const { references } = compiled.value;
    this.#insertions.push({ path, text, offset, whole, references });
    return { segment: { kind: "expression", text, offset, references }, program: compiled.value };
  }
}

function evaluateParts(parts: readonly Part[], activation: Activation): Evaluated<Json> {
  const [only] = parts;
  if (parts.length !== 1 || only?.program === undefined) return embed(parts, activation);
  return evaluateProgram(only.program, activation);
}

function evaluateProgram(program: Program, activation: Activation): Evaluated<Json> {
  const result = program.run(activation);
  if (!result.ok) return result;
  const json = jsonOf(result.value);
  return json.ok ? json : { ok: false, error: `${json.error} (in \`${program.text}\`)` };
}

function evaluateList(
  list: readonly Json[],
  items: readonly (Evaluate | undefined)[],
  activation: Activation,
): Evaluated<Json> {
  const values: Json[] = [];
  for (const [index, item] of list.entries()) {
    const result = items[index]?.(activation) ?? { ok: true, value: item };
    if (!result.ok) return { ok: false, error: `[${index}]: ${result.error}` };
    values.push(result.value);
  }
  return { ok: true, value: values };
}

function embed(parts: readonly Part[], activation: Activation, encode?: Encoder): Evaluated<string> {
  let text = "";
  let index = 0;
  for (const { segment, program } of parts) {
    if (program === undefined) {
      text += segment.text;
      continue;
    }
    const value = evaluateProgram(program, activation);
    if (!value.ok) return value;
    const embedded = embeddedText(value.value, program.text);
    if (!embedded.ok) return embedded;
    const encoded = encode?.(embedded.value, index, program.text) ?? embedded;
    if (!encoded.ok) return encoded;
    text += encoded.value;
    index += 1;
  }
  return { ok: true, value: text };
}

function embeddedText(value: Json, expression: string): Evaluated<string> {
  if (typeof value === "string") return { ok: true, value };
  if (value === null) return { ok: false, error: `null cannot be embedded in a string (in \`${expression}\`)` };
  try {
    return { ok: true, value: canonicalJson(value) };
  } catch (error) {
    return { ok: false, error: messageOf(error) };
  }
}

function nodesOf(insertions: readonly Insertion[]): readonly string[] {
  const names = new Set<string>();
  for (const { references } of insertions) {
    for (const { path } of references) if (path[0] === "nodes") names.add(path[1] ?? ALL_NODES);
  }
  return [...names];
}

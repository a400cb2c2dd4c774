// A templated string, rendered into its pieces: what the manifest wrote and what was inserted, kept apart.
// Called by render_http.ts and render_command.ts, which decide by that difference what is safe.
// Never quotes a value: a piece may hold a secret.

import type { CompiledTemplate, StringTemplate } from "../../language/template.ts";
import type { Bindings } from "../../language/types.ts";
import { readsSecret } from "./templates.ts";

/** Characters of an evaluation's error that a message quotes. */
const QUOTE_MAX = 500;

/** A part of a rendered string. */
export interface Piece {
  readonly text: string;
  /** Absent for what the manifest wrote. */
  readonly inserted?: {
    /** The expression. */
    readonly expression: string;
    /** True if it reads secrets and nothing else. */
    readonly secretOnly: boolean;
  };
}

/** Why a call cannot be made: the class of its failure and a message that holds no value. */
export class RenderError extends Error {
  readonly failureClass: RenderFailureClass;

  constructor(failureClass: RenderFailureClass, message: string) {
    super(message);
    this.failureClass = failureClass;
  }
}

/**
 * InvalidArguments: the caller's arguments cannot be sent; tell the model. SecretMissing: an operator must provide it.
 * ToolInvalid: the tool's manifest or its base URL is wrong; an engineer must change it.
 */
export type RenderFailureClass = "InvalidArguments" | "SecretMissing" | "ToolInvalid";

/** Renders a string into pieces. @throws RenderError if an expression has no value */
export function renderPieces(field: string, template: StringTemplate, bindings: Bindings): Piece[] {
  const values: string[] = [];
  const result = template.evaluateString(bindings, (value) => {
    values.push(value);
    return { ok: true, value };
  });
  if (!result.ok) throw evaluationError(field, template, result.error);
  let index = 0;
  return template.segments.map((segment): Piece => {
    if (segment.kind === "literal") return { text: segment.text };
    const secretOnly = segment.references.length > 0 && segment.references.every(({ path }) => path[0] === "secret");
    const text = values[index] as string;
    index += 1;
    return { text, inserted: { expression: segment.text, secretOnly } };
  });
}

/** The error of an evaluation, without its text when that could quote a secret. */
export function evaluationError(field: string, template: CompiledTemplate, error: string): RenderError {
  const why = readsSecret(template) ? "an expression has no value for these arguments" : error.slice(0, QUOTE_MAX);
  const readsArguments = template.insertions.some(({ references }) =>
    references.some(({ path }) => path[0] === "args"),
  );
  return new RenderError(readsArguments ? "InvalidArguments" : "ToolInvalid", `${field}: ${why}`);
}

/** The pieces as one string. */
export function joined(pieces: readonly Piece[]): string {
  return pieces.map((piece) => piece.text).join("");
}

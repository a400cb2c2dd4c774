// Renders the block of a command tool: argv, standard input, environment. Never a shell; each argument stays one argument.
// An argument that begins with an insertion must not begin with "-", unless it stands after a literal "--": it would be
// read as an option. The program itself takes no insertion. Called by render.ts.

import type { Bindings } from "../../language/types.ts";
import type { ToolSpec } from "../manifests/specs.ts";
import { joined, type Piece, RenderError, renderPieces } from "./pieces.ts";
import { renderContent } from "./render_http.ts";
import type { ToolTemplates } from "./templates.ts";

/** Variable in which a command finds the request id, the same for every repetition of one call. */
export const REQUEST_ID_VARIABLE = "ORLOJ_REQUEST_ID";

/** What a worker needs to start one process. Holds secrets. */
export interface CommandMeansValue {
  readonly kind: "command";
  readonly argv: readonly string[];
  /** Absent: standard input is empty. */
  readonly stdin?: Uint8Array<ArrayBuffer>;
  /** The whole environment but for what the worker always sets. */
  readonly env: Readonly<Record<string, string>>;
  readonly workDir?: string;
}

/** Renders one process. @throws RenderError */
export function renderCommand(
  spec: NonNullable<ToolSpec["command"]>,
  templates: NonNullable<ToolTemplates["command"]>,
  bindings: Bindings,
  requestId: string,
): CommandMeansValue {
  if (spec.workDir?.includes("${{")) throw new RenderError("ToolInvalid", "command.workDir: takes no insertion");
  const argv: string[] = [];
  let afterDashes = false;
  for (const [index, template] of templates.argv.entries()) {
    const field = `command.argv[${index}]`;
    const pieces = renderPieces(field, template, bindings);
    const inserted = pieces.some((piece) => piece.inserted !== undefined);
    if (inserted && index === 0) throw new RenderError("ToolInvalid", `${field}: the program cannot be inserted`);
    if (!afterDashes) refuseOption(field, pieces);
    const argument = joined(pieces);
    refuseNul(field, argument);
    if (!inserted && argument === "--") afterDashes = true;
    argv.push(argument);
  }
  const env = renderEnvironment("command.env", templates.env, bindings);
  const stdin = templates.stdin && renderContent("command.stdin", templates.stdin, bindings);
  return {
    kind: "command",
    argv,
    env: { ...env, [REQUEST_ID_VARIABLE]: requestId },
    ...(stdin && { stdin: stdin.bytes }),
    ...(spec.workDir !== undefined && { workDir: spec.workDir }),
  };
}

/** Renders the environment of a process. @throws RenderError */
export function renderEnvironment(
  field: string,
  templates: NonNullable<ToolTemplates["command"]>["env"],
  bindings: Bindings,
): Record<string, string> {
  return Object.fromEntries(
    templates.map(([name, template]) => {
      const value = joined(renderPieces(`${field}.${name}`, template, bindings));
      refuseNul(`${field}.${name}`, value);
      return [name, value];
    }),
  );
}

// Only the first character counts: "--since=${{ args.days }}" is one argument whatever the days are.
function refuseOption(field: string, pieces: readonly Piece[]): void {
  const first = pieces.find((piece) => piece.text !== "");
  if (first?.inserted === undefined || !first.text.startsWith("-")) return;
  const message = `${field}: \${{ ${first.inserted.expression} }} begins with "-" and would be read as an option; put a literal "--" before it`;
  throw new RenderError("InvalidArguments", message);
}

function refuseNul(field: string, value: string): void {
  if (value.includes("\0")) throw new RenderError("InvalidArguments", `${field}: holds U+0000`);
}

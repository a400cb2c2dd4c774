// Renders the block of a database tool: the statement as the manifest wrote it, and the values of its parameters as JSON.
// Nothing is inserted into the statement. Called by render.ts.

import type { Json } from "../../kit/json.ts";
import type { Bindings } from "../../language/types.ts";
import type { ToolSpec } from "../manifests/specs.ts";
import { evaluationError, joined, RenderError, renderPieces } from "./pieces.ts";
import type { ToolTemplates } from "./templates.ts";

/** What a worker needs to run one statement. Holds secrets. */
export interface DatabaseMeansValue {
  readonly kind: "database";
  readonly driver: "postgres" | "sqlite";
  /** Address of a Postgres, or path of a SQLite file inside the worker's work directory. */
  readonly place: string;
  readonly statement: string;
  readonly parameters: readonly Json[];
  readonly readOnly: boolean;
  readonly maxRows: number;
  readonly allowPrivateNetwork: boolean;
  readonly requestId: string;
}

/** Renders one statement. @throws RenderError */
export function renderDatabase(
  spec: NonNullable<ToolSpec["database"]>,
  templates: NonNullable<ToolTemplates["database"]>,
  bindings: Bindings,
  requestId: string,
): DatabaseMeansValue {
  const place =
    templates.dsn === undefined ? (spec.file ?? "") : joined(renderPieces("database.dsn", templates.dsn, bindings));
  if (spec.driver === "postgres" && !/^postgres(?:ql)?:\/\/./.test(place)) {
    throw new RenderError("ToolInvalid", "database.dsn: does not give a postgres:// address");
  }
  const parameters = templates.parameters.map((template, index) => {
    const result = template.evaluate(bindings);
    const field = `database.parameters[${index}]`;
    if (!result.ok) throw evaluationError(field, template, result.error);
    if (typeof result.value === "string" && result.value.includes("\0")) {
      throw new RenderError("InvalidArguments", `${field}: holds U+0000`);
    }
    return result.value;
  });
  const { driver, statement, maxRows, allowPrivateNetwork } = spec;
  const readOnly = spec.access === "readOnly";
  return { kind: "database", driver, place, statement, parameters, readOnly, maxRows, allowPrivateNetwork, requestId };
}

// Checks a value against a JSON Schema of a manifest: outputs of agents, results of tools.
// Called by output.ts and tool_call.ts. Compiled schemas are cached by language/json_schema.ts.
// A schema that does not compile fits nothing: the server let it pass, so a check that is skipped would hide that.

import type { Json, JsonObject } from "../../kit/json.ts";
import { compileSchema } from "../../language/json_schema.ts";

/** What does not fit, in one line; undefined if the value fits. */
export function schemaErrors(schema: JsonObject, value: Json): string | undefined {
  const compiled = compileSchema(schema);
  return compiled.ok ? compiled.value.check(value) : `the schema does not compile: ${compiled.error}`;
}

// What is known of a mapped node's outputs from the schema of one item's output.
// Called by graph typing and by graph/plan.ts. Pure.

import type { JsonObject } from "../../kit/json.ts";
import type { MapSpec } from "./specs.ts";

const ERROR: JsonObject = {
  type: "object",
  required: ["class", "message"],
  properties: { class: { type: "string" }, message: { type: "string" } },
};

/** Schema of the list of outputs. Definitions of the item's schema stay where its references look for them. */
export function outputsSchema(item: JsonObject | undefined, map: MapSpec): JsonObject {
  const { $defs, ...schema } = item ?? {};
  const collected = { type: "object", properties: { output: schema, error: ERROR } };
  const items = map.onItemError === "collect" ? collected : schema;
  return { ...($defs !== undefined && { $defs }), type: "array", items };
}

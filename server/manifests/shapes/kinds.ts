// The JSON Schemas of the five kinds: a document of one kind, and one of any kind, for files that hold several.
// Called by the CLI (schema, explain) and by scripts/reference.ts. Pure.
// Each schema stands alone: its $defs hold everything that it refers to.

import type { JsonObject } from "../../../kit/json.ts";
import { API_VERSION, DEFAULT_NAMESPACE } from "../kinds.ts";
import { KINDS, type Kind } from "../specs.ts";
import { AGENT_SPEC } from "./agent_shape.ts";
import { CONDITION, POLICY_SPEC } from "./policy_shape.ts";
import { label, map, mapOf, type Shape, text, when, word } from "./shape.ts";
import { SYSTEM_SPEC } from "./system_shape.ts";
import { TOOL_SPEC } from "./tool_shape.ts";
import { WORKFLOW_SPEC } from "./workflow_shape.ts";

const DRAFT = "https://json-schema.org/draft/2020-12/schema";
const KEY = {
  propertyNames: {
    pattern: "^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
  },
};

const METADATA = map(
  "Who the resource is.",
  {
    name: label("Name, unique for its kind in the namespace."),
    namespace: { ...label("Namespace; references stay inside it."), default: DEFAULT_NAMESPACE },
    labels: mapOf("Words that policies select by, and listings filter by.", { type: "string", maxLength: 63 }, KEY),
    annotations: mapOf("Notes; nothing reads them.", { type: "string", maxLength: 4_096 }, KEY),
  },
  ["name"],
);

const SPECS: Readonly<Record<Kind, Shape>> = {
  Agent: AGENT_SPEC,
  AgentSystem: SYSTEM_SPEC,
  Tool: TOOL_SPEC,
  Policy: POLICY_SPEC,
  WorkflowTemplate: WORKFLOW_SPEC,
};

/** What else the shapes of a kind refer to. */
const DEFS: Readonly<Partial<Record<Kind, JsonObject>>> = { Policy: { Condition: CONDITION } };

function documentShape(kind: Kind): Shape {
  return map(
    SPECS[kind]["description"] as string,
    {
      apiVersion: word("Version of the manifest language.", [API_VERSION]),
      kind: { ...text("The kind."), const: kind },
      metadata: METADATA,
      spec: SPECS[kind],
    },
    ["apiVersion", "kind", "metadata", "spec"],
  );
}

/** The schema of a document of a kind. */
export function schemaOf(kind: Kind): JsonObject {
  const defs = DEFS[kind];
  return { $schema: DRAFT, title: kind, ...documentShape(kind), ...(defs && { $defs: defs }) };
}

/** The schema of a document of any kind: what an editor needs for a file with several. */
export function schemaOfAny(): JsonObject {
  const defs: JsonObject = {};
  for (const kind of KINDS) Object.assign(defs, { [kind]: documentShape(kind) }, DEFS[kind]);
  return {
    $schema: DRAFT,
    title: "Orloj manifest",
    description: "A manifest: one resource.",
    type: "object",
    required: ["apiVersion", "kind", "metadata", "spec"],
    properties: { kind: word("The kind; it decides what may stand in spec.", KINDS) },
    allOf: KINDS.map((kind) => when("kind", kind, { $ref: `#/$defs/${kind}` })),
    $defs: defs,
  };
}

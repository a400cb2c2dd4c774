// Checks what the templates in the blocks of tools and agents read: members of the arguments, and secrets by name and key.
// Called by validate.ts once every document of an apply was read on its own.
// A new block is one more line here, or what it reads is found only when it is rendered.

import type { ReadDocument } from "./kinds.ts";
import type { Scope } from "./reads.ts";
import { typed } from "./schema_types.ts";
import type { Manifest } from "./specs.ts";
import { checkTemplateTypes } from "./template_typing.ts";
import { child } from "./tree.ts";

/** Templated fields by block. */
type Blocks = Readonly<Record<string, readonly string[]>>;

const TOOL_TEMPLATES: Blocks = {
  http: ["url", "headers", "body"],
  webhook: ["url", "signingSecret", "data"],
  database: ["dsn", "parameters"],
  command: ["argv", "stdin", "env"],
  mcp: ["url", "headers", "env", "arguments"],
};
const AGENT_TEMPLATES: Blocks = { http: ["url", "headers"], command: ["env"], model: ["headers"] };

/** Checks what a tool's blocks read of its arguments, and that what they read of secrets is one. */
export function checkToolReads(document: ReadDocument): void {
  const spec = (document.manifest as Manifest<"Tool">).spec;
  checkBlockReads(document, TOOL_TEMPLATES, ["args", "secret"], { args: typed(spec.inputSchema) });
}

/** Checks that what an agent's blocks read is a secret. */
export function checkAgentReads(document: ReadDocument): void {
  checkBlockReads(document, AGENT_TEMPLATES, ["secret"], {});
}

function checkBlockReads(
  document: ReadDocument,
  templates: Blocks,
  variables: readonly string[],
  schemas: Scope["schemas"],
): void {
  const typing = { findings: document.findings, scope: { schemas }, sample: {}, variables };
  for (const [block, keys] of Object.entries(templates)) {
    for (const key of keys) {
      const tree = child(child(child(document.tree, "spec"), block), key);
      if (tree !== undefined) checkTemplateTypes(typing, tree, `spec.${block}.${key}`, undefined);
    }
  }
}

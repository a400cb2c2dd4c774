// The stored form of a manifest: JSON in the shape of its YAML, defaults filled in, so that it can be read back and applied again.
// Called by commands (apply stores the canonical text and its digest; caches read it back) and by the CLI.
// Never checks what was checked when the document was applied.

import { DomainError } from "../../kit/errors.ts";
import { canonicalJson, type JsonObject } from "../../kit/json.ts";
import { Findings, formatDiagnostic } from "./diagnostics.ts";
import { compact } from "./fields.ts";
import { API_VERSION, type KindSchema, readDocument, SCHEMAS } from "./kinds.ts";
import type { Kind, Manifest, SpecOf } from "./specs.ts";
import { treeOf } from "./tree.ts";

/** Document of a manifest. Equal manifests have equal canonical text. */
export function documentOf(manifest: Manifest): JsonObject {
  const { kind, metadata, spec } = manifest;
  const schema = SCHEMAS[kind] as KindSchema<Kind>;
  const document = compact({
    apiVersion: API_VERSION,
    kind,
    metadata: {
      name: metadata.name,
      namespace: metadata.namespace,
      labels: { ...metadata.labels },
      annotations: { ...metadata.annotations },
    },
    spec: schema.write(spec as SpecOf[Kind] & never),
  });
  // A copy shares no part with the spec.
  return JSON.parse(canonicalJson(document)) as JsonObject;
}

/** Manifest of a stored document. @throws INVARIANT_BROKEN if it cannot be read: only checked documents are stored */
export function manifestFromDocument(document: JsonObject): Manifest {
  const findings = new Findings("stored document", true);
  const read = readDocument(findings, treeOf(document));
  if (read === undefined || !read.sound) {
    const [first] = findings.list;
    const reason = first === undefined ? "no reason found" : formatDiagnostic(first);
    throw new DomainError("INVARIANT_BROKEN", `invariant broken: a stored manifest cannot be read: ${reason}`);
  }
  return read.manifest;
}

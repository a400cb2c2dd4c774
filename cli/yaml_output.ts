// The `-o yaml` form of stored manifests: what can be applied again and changes nothing. Comments of the file are not stored, so not here.
// Called by get, describe, diff and edit. Pure.
// What could steer a terminal stands as an escape in double quotes, so that the text is safe to print and means the same.

import { Document, isScalar, visit } from "yaml";
import type { Json } from "../kit/json.ts";
import { isUnsafe, safeJson } from "./sanitize.ts";

/** YAML of one manifest, from its canonical JSON; ends with a line break. */
export function manifestYaml(manifestJson: string): string {
  const document = new Document(inOrder(JSON.parse(manifestJson) as Json));
  visit(document, {
    Scalar(_key, node) {
      if (isScalar(node) && typeof node.value === "string" && isUnsafe(node.value)) node.type = "QUOTE_DOUBLE";
    },
  });
  return safeJson(document.toString({ lineWidth: 0 }));
}

/** YAML of several manifests: a document each. */
export function manifestsYaml(manifestJsons: readonly string[]): string {
  return manifestJsons.map(manifestYaml).join("---\n");
}

const FIRST = ["apiVersion", "kind", "metadata", "spec"];

// Canonical JSON sorts its keys; people begin with what a document is, and with its name.
function inOrder(manifest: Json): Json {
  if (typeof manifest !== "object" || manifest === null || Array.isArray(manifest)) return manifest;
  const { metadata } = manifest;
  const named =
    typeof metadata === "object" && metadata !== null && !Array.isArray(metadata)
      ? { metadata: ordered(metadata, ["name", "namespace"]) }
      : {};
  return ordered({ ...manifest, ...named }, FIRST);
}

function ordered(object: Readonly<Record<string, Json>>, first: readonly string[]): Record<string, Json> {
  const rank = (key: string) => (first.includes(key) ? first.indexOf(key) : first.length);
  return Object.fromEntries(Object.entries(object).sort(([left], [right]) => rank(left) - rank(right)));
}

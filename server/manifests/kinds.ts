// Reads one document (apiVersion, kind, metadata, spec) with the schema of its kind.
// Called by validate.ts for files and by document.ts for stored documents. The record SCHEMAS lists the five kinds once.
// Never looks at another document.

import type { JsonObject } from "../../kit/json.ts";
import { agentJson, readAgent } from "./agent.ts";
import { agentSystemJson, readAgentSystem } from "./agent_system.ts";
import type { Findings, Position } from "./diagnostics.ts";
import { Fields, readLabel } from "./fields.ts";
import { policyJson, readPolicy } from "./policy.ts";
import { checkSecrets } from "./secret_rule.ts";
import { KINDS, type Kind, type Manifest, type Metadata, type SpecOf } from "./specs.ts";
import { readTool, toolJson } from "./tool.ts";
import type { Tree } from "./tree.ts";
import { readWorkflowTemplate, workflowTemplateJson } from "./workflow_template.ts";

/** The one version of the manifest language. */
export const API_VERSION = "orloj.dev/v1";
/** Namespace of a document that names none, unless the caller says otherwise. */
export const DEFAULT_NAMESPACE = "default";

/** How the spec of a kind is read and written. */
export interface KindSchema<K extends Kind> {
  readonly read: (findings: Findings, tree: Tree, path: string) => SpecOf[K] | undefined;
  readonly write: (spec: SpecOf[K]) => JsonObject;
}

/** The schema of every kind. */
export const SCHEMAS: { readonly [K in Kind]: KindSchema<K> } = {
  Agent: { read: readAgent, write: agentJson },
  AgentSystem: { read: readAgentSystem, write: agentSystemJson },
  Tool: { read: readTool, write: toolJson },
  Policy: { read: readPolicy, write: policyJson },
  WorkflowTemplate: { read: readWorkflowTemplate, write: workflowTemplateJson },
};

/** A document that could be read at least so far that it can be named. */
export interface ReadDocument {
  readonly manifest: Manifest;
  /** Place of the document's name. */
  readonly at: Position;
  readonly tree: Tree;
  readonly findings: Findings;
  /** True if the document has no error of its own; only then do checks across documents read its spec. */
  readonly sound: boolean;
}

/** Reads a document; undefined if it cannot even be named. */
export function readDocument(
  findings: Findings,
  tree: Tree,
  defaultNamespace = DEFAULT_NAMESPACE,
): ReadDocument | undefined {
  const before = findings.errors;
  const fields = Fields.of(findings, tree, "", ["apiVersion", "kind", "metadata", "spec"]);
  if (fields === undefined) return undefined;
  if (!fields.has("apiVersion")) fields.missing("apiVersion");
  fields.oneOf("apiVersion", [API_VERSION]);
  if (!fields.has("kind")) fields.missing("kind");
  const kind = fields.oneOf("kind", KINDS);
  const metadataTree = fields.required("metadata");
  const metadata = metadataTree && readMetadata(findings, metadataTree, defaultNamespace);
  const specTree = fields.required("spec");
  const spec = kind !== undefined && specTree ? SCHEMAS[kind].read(findings, specTree, "spec") : undefined;
  if (kind === undefined || metadata === undefined || spec === undefined || metadataTree === undefined)
    return undefined;
  const at =
    metadataTree.kind === "map"
      ? (metadataTree.entries.find(({ key }) => key === "name")?.value.at ?? tree.at)
      : tree.at;
  return { manifest: { kind, metadata, spec }, at, tree, findings, sound: findings.errors === before };
}

function readMetadata(findings: Findings, tree: Tree, defaultNamespace: string): Metadata | undefined {
  const fields = Fields.of(findings, tree, "metadata", ["name", "namespace", "labels", "annotations"]);
  if (fields === undefined) return undefined;
  const nameTree = fields.required("name");
  const name = nameTree && readLabel(findings, nameTree, "metadata.name");
  const namespaceTree = fields.get("namespace");
  const namespace =
    namespaceTree === undefined ? defaultNamespace : readLabel(findings, namespaceTree, "metadata.namespace");
  for (const key of ["labels", "annotations"]) {
    const values = fields.get(key);
    if (values?.kind === "map") checkKeys(findings, values, `metadata.${key}`, key === "labels" ? 63 : 4_096);
    if (values !== undefined) checkSecrets(findings, values, `metadata.${key}`, "labels and annotations are public");
  }
  const labels = fields.strings("labels");
  const annotations = fields.strings("annotations");
  return name === undefined || namespace === undefined ? undefined : { name, namespace, labels, annotations };
}

// Kubernetes' syntax of label and annotation keys: an optional DNS prefix and a name.
const KEY = /^(?:[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

function checkKeys(findings: Findings, tree: Tree & { kind: "map" }, path: string, valueMax: number): void {
  for (const entry of tree.entries) {
    const inner = `${path}.${entry.key}`;
    if (!KEY.test(entry.key))
      findings.error("E-NAME", entry.at, inner, `"${entry.key.slice(0, 80)}" is not a key of labels or annotations`);
    const value = entry.value.kind === "scalar" ? entry.value.value : undefined;
    if (typeof value === "string" && value.length > valueMax) {
      findings.error("E-VALUE", entry.value.at, inner, `the value has more than ${valueMax} characters`, "shorten it");
    }
  }
}

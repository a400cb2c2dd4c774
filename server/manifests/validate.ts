// Validates the files of one apply: reads every document, then checks them together against the stored catalog.
// Called in the pooled thread by the server and directly by the CLI (offline, with an empty catalog). Pure and synchronous.
// All errors of all files in one pass, sorted by place. Never stores, never asks anybody but the lookup it is given.

import { checkAgentReads, checkToolReads } from "./block_reads.ts";
import { checkContained } from "./contained_systems.ts";
import { compareDiagnostics, type Diagnostic, Findings } from "./diagnostics.ts";
import { checkConcurrencyKey, checkGraph, checkPrompt, checkWorkflowInput } from "./graph_typing.ts";
import { DEFAULT_NAMESPACE, type ReadDocument, readDocument } from "./kinds.ts";
import type { ParsedFile } from "./parse.ts";
import { checkPolicyRefs } from "./policy_refs.ts";
import {
  ANY_NAMESPACE,
  checkReferences,
  type Lookup,
  lookupIn,
  type ResourceKey,
  resolveReference,
} from "./references.ts";
import {
  type AgentSpec,
  type AgentSystemSpec,
  KINDS,
  type Kind,
  type Manifest,
  manifestKey,
  type ToolSpec,
} from "./specs.ts";
import { child, type Tree } from "./tree.ts";
import { checkUnverifiedReads } from "./unverified_reads.ts";

/** How validation is done. */
export interface ValidateOptions {
  /** True: warnings become errors. */
  readonly strict?: boolean;
  /** Namespace of documents that name none; "default" unless set. */
  readonly defaultNamespace?: string;
  /** Names of stored resources of a kind, for "did you mean"; none unless set. */
  readonly storedNames?: (kind: Kind) => readonly string[];
}

/** A manifest and where it came from. */
export interface PositionedManifest {
  readonly manifest: Manifest;
  readonly file: string;
  /** Place of its name. */
  readonly line: number;
  readonly column: number;
}

/** Result of a validation. */
export interface Validation {
  /** Every document that could be read, in file order; to be used only if there is no error. */
  readonly manifests: readonly PositionedManifest[];
  /** Sorted by file, line, column. */
  readonly diagnostics: readonly Diagnostic[];
}

/** Documents of parsed files, each with its own findings, before they are checked together. */
export interface ReadFiles {
  readonly documents: readonly ReadDocument[];
  /** Documents that have a name but could not be read: what refers to them is not wrong. */
  readonly broken: readonly ResourceKey[];
  readonly findings: readonly Findings[];
  readonly diagnostics: readonly Diagnostic[];
}

/** Reads the documents of parsed files, each on its own. */
export function readFiles(files: readonly ParsedFile[], defaultNamespace?: string): ReadFiles {
  const documents: ReadDocument[] = [];
  const broken: ResourceKey[] = [];
  const findings: Findings[] = [];
  for (const file of files) {
    for (const tree of file.documents) {
      const own = new Findings(file.file);
      findings.push(own);
      const document = readDocument(own, tree, defaultNamespace);
      if (document !== undefined) documents.push(document);
      else broken.push(...nameOf(tree, defaultNamespace));
    }
  }
  return { documents, broken, findings, diagnostics: files.flatMap((file) => file.diagnostics) };
}

function nameOf(tree: Tree, defaultNamespace = DEFAULT_NAMESPACE): ResourceKey[] {
  const text = (at: Tree | undefined) => (at?.kind === "scalar" && typeof at.value === "string" ? at.value : undefined);
  const kind = KINDS.find((candidate) => candidate === text(child(tree, "kind")));
  const name = text(child(child(tree, "metadata"), "name"));
  const namespace = text(child(child(tree, "metadata"), "namespace")) ?? defaultNamespace;
  return kind === undefined || name === undefined ? [] : [{ kind, namespace, name }];
}

/** Checks documents together, and against the catalog. */
export function checkFiles(read: ReadFiles, stored: Lookup, options: ValidateOptions = {}): Validation {
  const { documents } = read;
  checkDuplicates(documents);
  const applied = lookupIn(documents.map((document) => document.manifest));
  const lookup: Lookup = (kind, namespace, name) => applied(kind, namespace, name) ?? stored(kind, namespace, name);
  const unsound = new Set(documents.filter((document) => !document.sound).map((document) => document.manifest));
  const namesOf = (kind: Kind) => [
    ...documents.flatMap(({ manifest }) => (manifest.kind === kind ? [manifest.metadata.name] : [])),
    ...(options.storedNames?.(kind) ?? []),
  ];
  const isBroken = (kind: Kind, namespace: string, name: string) =>
    read.broken.some(
      (key) => key.kind === kind && key.name === name && [key.namespace, ANY_NAMESPACE].includes(namespace),
    );
  // A file that could not be parsed may hold whatever is missing: its own errors come first.
  const complete = !hasErrors(read.diagnostics);
  for (const document of documents) {
    if (complete) checkReferences(document, (...key) => lookup(...key) !== undefined || isBroken(...key), namesOf);
    if (document.sound) checkTogether(document, lookup, unsound);
  }
  checkUnverifiedReads(documents, lookup);
  const found = [...read.diagnostics, ...read.findings.flatMap((findings) => findings.list)];
  const manifests = documents.map(({ manifest, findings, at }) => ({
    manifest,
    file: findings.file,
    line: at.line,
    column: at.column,
  }));
  return {
    manifests,
    diagnostics: found
      .map((diagnostic) => (options.strict ? strictly(diagnostic) : diagnostic))
      .sort(compareDiagnostics),
  };
}

/** Validates parsed files in one go. */
export function validateFiles(files: readonly ParsedFile[], stored: Lookup, options: ValidateOptions = {}): Validation {
  return checkFiles(readFiles(files, options.defaultNamespace), stored, options);
}

/** True if a finding refuses the apply. */
export function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some((diagnostic) => diagnostic.severity === "error");
}

function strictly(diagnostic: Diagnostic): Diagnostic {
  return { ...diagnostic, severity: "error" };
}

function checkTogether(document: ReadDocument, lookup: Lookup, unsound: ReadonlySet<Manifest>): void {
  const { manifest } = document;
  const find = (kind: Kind, name: string): Manifest | undefined => {
    const found = resolveReference(manifest, { kind, name, path: [] }, lookup);
    return found === undefined || unsound.has(found) ? undefined : found;
  };
  if (manifest.kind === "Agent") {
    checkPrompt(document);
    checkAgentReads(document);
  } else if (manifest.kind === "Policy") checkPolicyRefs(document, lookup);
  else if (manifest.kind === "Tool") checkToolReads(document);
  else if (manifest.kind === "AgentSystem") {
    checkGraph(document, ({ agent, tool, system }) => {
      if (tool !== undefined) return find("Tool", tool)?.spec as ToolSpec | undefined;
      if (system === undefined) return agent === undefined ? undefined : (find("Agent", agent)?.spec as AgentSpec);
      const { inputSchema, output } = (find("AgentSystem", system)?.spec ?? { output: {} }) as Partial<AgentSystemSpec>;
      return { ...(inputSchema && { inputSchema }), ...(output?.schema && { outputSchema: output.schema }) };
    });
    checkContained(document, lookup);
  } else if (manifest.kind === "WorkflowTemplate") {
    const { system } = (manifest as Manifest<"WorkflowTemplate">).spec;
    checkWorkflowInput(document, find("AgentSystem", system)?.spec as AgentSystemSpec | undefined);
    checkConcurrencyKey(document);
  }
}

function checkDuplicates(documents: readonly ReadDocument[]): void {
  const seen = new Map<string, ReadDocument>();
  for (const document of documents) {
    const { kind, metadata } = document.manifest;
    const key = manifestKey(kind, metadata.namespace, metadata.name);
    const first = seen.get(key);
    if (first === undefined) {
      seen.set(key, document);
      continue;
    }
    const message = `${kind} ${metadata.namespace}/${metadata.name} is given twice; first in ${first.findings.file}:${first.at.line}`;
    document.findings.error("E-DUPLICATE", document.at, "metadata.name", message, "remove or rename one");
  }
}

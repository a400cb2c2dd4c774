// What commands keep in memory: compiled bundles by digest, workflows by catalog revision, live policies by policy revision.
// Every entry is valid for exactly the revision or digest it is stored under; the deciding transaction reads the revisions.
// Called inside transactions: awaits nothing but queries.

import { assert, DomainError } from "../../kit/errors.ts";
import type { JsonObject } from "../../kit/json.ts";
import type { Bundle } from "../manifests/bundle.ts";
import { manifestFromDocument } from "../manifests/document.ts";
import { resolveBundle, workerView } from "../manifests/resolve.ts";
import type { Kind, Manifest, PolicySpec } from "../manifests/specs.ts";
import { manifestKey } from "../manifests/specs.ts";
import { compilePolicies } from "../policy/compile.ts";
import type { LiveFacts } from "../policy/input.ts";
import type { LivePolicy, PolicySet } from "../policy/types.ts";
import type { BundleRow } from "../storage/bundle_queries.ts";
import type { RouteRequirements } from "../storage/schema.ts";
import type { StoreQueries } from "../storage/store.ts";
import { type CompiledBundle, compileBundle } from "./compiled_bundle.ts";

const BUNDLES_MAX = 500;
const WORKFLOWS_MAX = 1_000;

/** What a decision reads live. */
export interface LiveState extends LiveFacts {
  readonly policies: PolicySet;
  /** How many calls of a tool may be granted at a time; undefined: any number. */
  toolConcurrency(namespace: string, tool: string): number | undefined;
}

/** See the file header. */
export class Caches {
  readonly #bundles = new Map<string, CompiledBundle>();
  readonly #workflows = new Map<string, CompiledBundle>();
  readonly #stored = new Set<string>();
  #newRoutes = new Map<string, RouteRequirements>();
  #catalogRevision = "";
  readonly #unattached: PolicySet["unattached"];
  #live: { revision: string; state: LiveState } | undefined;

  /** @param unattached what becomes of something that no enforcing policy decides */
  constructor(unattached: PolicySet["unattached"] = "allow") {
    this.#unattached = unattached;
  }

  /** Routes of bundles compiled since the last call. */
  takeNewRoutes(): Map<string, RouteRequirements> {
    const routes = this.#newRoutes;
    this.#newRoutes = new Map();
    return routes;
  }

  #keepBundle(compiled: CompiledBundle): void {
    for (const agent of compiled.agents.values()) this.#newRoutes.set(agent.route, agent.requirements);
    keep(this.#bundles, compiled.row.digest, compiled, BUNDLES_MAX);
  }

  /** The compiled bundle of a digest. @throws INVARIANT_BROKEN if a run names one that is not stored */
  async bundle(tx: StoreQueries, digest: string): Promise<CompiledBundle> {
    const known = this.#bundles.get(digest);
    if (known !== undefined) return known;
    const row = await tx.bundles.byDigest(digest);
    assert(row !== undefined, `bundle ${digest} is not stored`);
    const compiled = compileBundle(row);
    this.#stored.add(digest);
    this.#keepBundle(compiled);
    return compiled;
  }

  /** The bundle of a workflow as the catalog is at this revision. @throws WORKFLOW_NOT_FOUND, MANIFEST_INVALID */
  async workflow(tx: StoreQueries, revision: string, namespace: string, name: string): Promise<CompiledBundle> {
    if (revision !== this.#catalogRevision) {
      this.#workflows.clear();
      this.#catalogRevision = revision;
    }
    const key = `${namespace}/${name}`;
    const known = this.#workflows.get(key);
    if (known !== undefined) return known;
    const compiled = await this.#resolve(tx, namespace, name);
    // Another transaction may have seen a newer catalog while this one read.
    if (revision === this.#catalogRevision) keep(this.#workflows, key, compiled, WORKFLOWS_MAX);
    this.#keepBundle(compiled);
    return compiled;
  }

  async #resolve(tx: StoreQueries, namespace: string, name: string): Promise<CompiledBundle> {
    const rows = await tx.bundles.documents([...new Set([namespace, "system"])]);
    const stored = new Map(rows.map((row) => [manifestKey(row.kind as Kind, row.namespace, row.name), row]));
    if (!stored.has(manifestKey("WorkflowTemplate", namespace, name))) {
      throw new DomainError(
        "WORKFLOW_NOT_FOUND",
        `workflow ${namespace}/${name} does not exist; apply its WorkflowTemplate, or list those there are`,
        { namespace, workflow: name },
      );
    }
    const lookup = (kind: Kind, space: string, resource: string) => {
      const row = stored.get(manifestKey(kind, space, resource));
      if (row === undefined) return undefined;
      const manifest: Manifest = manifestFromDocument(JSON.parse(row.document) as JsonObject);
      return { manifest, generation: row.generation, digest: row.digest };
    };
    const resolved = resolveBundle(namespace, name, lookup);
    const view = workerView(resolved.bundle);
    return (
      this.#bundles.get(resolved.digest) ??
      compileBundle({
        digest: resolved.digest,
        document: resolved.text,
        view_digest: view.digest,
        view_document: view.text,
        ...retentionOf(resolved.bundle),
      })
    );
  }

  /** True the first time after a start; the caller then inserts the bundle and its routes (harmless when they are there). */
  needsStoring(digest: string): boolean {
    return !this.#stored.has(digest);
  }

  /** Forgets what is stored: retention removes bundles that no run uses, and their next run stores them again. */
  forgetStored(): void {
    this.#stored.clear();
  }

  /** Called after the commit that stored bundles. */
  markStored(digests: readonly string[]): void {
    for (const digest of digests) this.#stored.add(digest);
  }

  /** What was live when it was last read; what it says may be over. */
  get lastLive(): LiveState | undefined {
    return this.#live?.state;
  }

  /** Policies and labels of a policy revision that this transaction read. */
  async live(tx: StoreQueries, revision: string): Promise<LiveState> {
    if (this.#live?.revision === revision) return this.#live.state;
    const { policies, subjects } = await tx.bundles.livePolicyFacts();
    const live: LivePolicy[] = policies.map((row) => ({
      namespace: row.namespace,
      name: row.name,
      generation: row.generation,
      digest: row.digest,
      spec: policySpecOf(row.document),
    }));
    const facts = new Map(subjects.map((row) => [manifestKey(row.kind as Kind, row.namespace, row.name), row]));
    const state: LiveState = {
      policies: compilePolicies(live, revision, this.#unattached),
      labels: (kind, namespace, name) => facts.get(manifestKey(kind, namespace, name))?.labels ?? {},
      annotations: (kind, namespace, name) => facts.get(manifestKey(kind, namespace, name))?.annotations ?? {},
      guarded: (namespace, tool) => facts.get(manifestKey("Tool", namespace, tool))?.guarded ?? false,
      toolConcurrency: (namespace, tool) => facts.get(manifestKey("Tool", namespace, tool))?.concurrency ?? undefined,
    };
    // Read again: two statements may see two revisions, and policies of one with labels of the other allow what neither does.
    const after = await tx.bundles.revisions();
    if (after.policy !== revision) return await this.live(tx, after.policy);
    this.#live = { revision, state };
    return state;
  }
}

// A policy that cannot be read has no spec, which denies everything in its reach; it must not stop the reading of the others.
function policySpecOf(document: string): PolicySpec {
  try {
    return (manifestFromDocument(JSON.parse(document) as JsonObject) as Manifest<"Policy">).spec;
  } catch {
    return null as unknown as PolicySpec;
  }
}

// Columns that retention sweeps by, so that it need not parse documents.
function retentionOf(bundle: Bundle): Pick<BundleRow, "run_retention_ms" | "dead_letter_retention_ms"> {
  const { runsMs, deadLettersMs } = bundle.workflow.spec.retention ?? {};
  return {
    ...(runsMs !== undefined && { run_retention_ms: runsMs }),
    ...(deadLettersMs !== undefined && { dead_letter_retention_ms: deadLettersMs }),
  };
}

function keep<T>(map: Map<string, T>, key: string, value: T, max: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > max) map.delete(map.keys().next().value as string);
}

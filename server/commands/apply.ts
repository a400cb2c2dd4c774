// Applies manifests: all documents of all files in one transaction, or none. Applying starts nothing.
// Called by rpc/manifest_service. Validates outside the transaction, then locks the catalog's revision and stores only if the
// catalog is still the one that was validated against; else validates again.
// Invariant: each change has its audit record in the same transaction; an unchanged document changes nothing at all.

import { DomainError } from "../../kit/errors.ts";
import { canonicalJson, sha256 } from "../../kit/json.ts";
import type { AuditEvent } from "../audit/events.ts";
import { auditRecord } from "../audit/record.ts";
import { documentOf } from "../manifests/document.ts";
import { type Manifest, manifestKey } from "../manifests/specs.ts";
import { hasErrors, type PositionedManifest } from "../manifests/validate.ts";
import type { WorkflowMax } from "../storage/group_queries.ts";
import { type ResourceWrite, resourceQueries } from "../storage/resources.ts";
import type { StoreQueries } from "../storage/store.ts";
import { requireApplyRights } from "./apply_rights.ts";
import { callTrace } from "./call_trace.ts";
import type { ApplyInput } from "./control_plane.ts";
import { checkManifests, type ManifestContext, manifestsRefused, requireWithin } from "./manifest_checks.ts";
import type { Quotas } from "./quotas.ts";
import type { ApplyResultView, DiagnosticView, Principal } from "./views.ts";

/** Times that an apply is validated again because others changed the catalog meanwhile. */
const TRIES_MAX = 5;

/** What apply needs. Without quotas a namespace may have as many resources as it likes. */
export type ApplyContext = ManifestContext & { readonly quotas?: Pick<Quotas, "resourcesMax"> };

/** Results in file order, and warnings. */
export interface Applied {
  readonly results: ApplyResultView[];
  readonly diagnostics: DiagnosticView[];
}

/** See the file header. @throws MANIFEST_INVALID (ManifestInvalidError), MANIFEST_TOO_SLOW, VERSION_CHANGED, PERMISSION_DENIED, TOO_MANY */
export async function apply(context: ApplyContext, principal: Principal, input: ApplyInput): Promise<Applied> {
  for (let tries = 1; tries <= TRIES_MAX; tries += 1) {
    // Read before the catalog is: if it is the same under the lock, nothing in between has changed.
    const revision = await context.store.read(({ db }) => resourceQueries(db).catalogRevision());
    const { manifests, diagnostics } = await checkManifests(context, input);
    requireWithin(manifests, input.within);
    if (hasErrors(diagnostics)) throw manifestsRefused(diagnostics);
    const results = await context.store.transaction((tx) =>
      storeManifests(tx, context, principal, manifests, revision),
    );
    if (results !== undefined) return { results, diagnostics: [...diagnostics] };
  }
  const message = `others changed the catalog ${TRIES_MAX} times while this apply was validated; apply again`;
  throw new DomainError("VERSION_CHANGED", message);
}

/** Stores what changed; undefined if the catalog is not at the given revision any more. */
async function storeManifests(
  tx: StoreQueries,
  { quotas }: ApplyContext,
  principal: Principal,
  manifests: readonly PositionedManifest[],
  revision: string,
): Promise<ApplyResultView[] | undefined> {
  const resources = resourceQueries(tx.db);
  if ((await resources.lockCatalog()) !== revision) return undefined;
  const keys = manifests.map(({ manifest }) => keyOf(manifest));
  const stored = byKey(await resources.find(keys));
  const before = byKey(await resources.lastGenerations(keys.filter((key) => !stored.has(textOf(key)))));
  const results: ApplyResultView[] = [];
  const writes: ResourceWrite[] = [];
  const events: AuditEvent[] = [];
  for (const { manifest } of manifests) {
    const key = keyOf(manifest);
    const document = canonicalJson(documentOf(manifest));
    const digest = sha256(document);
    const current = stored.get(textOf(key));
    if (current?.digest === digest) {
      results.push({ ...key, action: "unchanged", generation: current.generation, digest });
      continue;
    }
    requireApplyRights(principal, manifest, current);
    const action = current === undefined ? "created" : "configured";
    const generation = (current ?? before.get(textOf(key)) ?? { generation: 0 }).generation + 1;
    results.push({ ...key, action, generation, digest });
    writes.push({ ...key, generation, digest, labels: manifest.metadata.labels, document });
    events.push({
      kind: "resource.applied",
      namespace: key.namespace,
      actor: principal.id,
      ...callTrace(principal),
      detail: {
        ...{ kind: key.kind, name: key.name, action, generation, digest },
        ...(current !== undefined && { previousDigest: current.digest, previousGeneration: current.generation }),
      },
    });
  }
  if (writes.length === 0) return results;
  await requireRoom(resources, quotas, results);
  await resources.write(writes, principal.id);
  await tx.groups.setMax(changedLimits(manifests, writes));
  await resources.bumpRevisions();
  await tx.audit.insert(events.map(auditRecord));
  return results;
}

async function requireRoom(
  resources: ReturnType<typeof resourceQueries>,
  quotas: ApplyContext["quotas"],
  results: readonly ApplyResultView[],
): Promise<void> {
  const created = Map.groupBy(
    results.filter(({ action }) => action === "created"),
    ({ namespace }) => namespace,
  );
  for (const [namespace, { length: added }] of created) {
    const max = quotas?.resourcesMax(namespace);
    if (max === undefined) continue;
    const count = await resources.countIn(namespace);
    if (count + added <= max) continue;
    const message = `namespace ${namespace} has ${count} of at most ${max} resources, and this apply would add ${added}: delete some, or ask for a larger quota`;
    throw new DomainError("TOO_MANY", message, { namespace, resources: String(count), resources_max: String(max) });
  }
}

// A limit holds for what is decided from now on, also for runs that were invoked under another one.
function changedLimits(manifests: readonly PositionedManifest[], writes: readonly ResourceWrite[]): WorkflowMax[] {
  const written = new Set(writes.map(textOf));
  return manifests.flatMap(({ manifest }) => {
    if (manifest.kind !== "WorkflowTemplate" || !written.has(textOf(keyOf(manifest)))) return [];
    const { namespace, name } = manifest.metadata;
    const { concurrency } = (manifest as Manifest<"WorkflowTemplate">).spec;
    return [{ namespace, workflow: name, max_running: concurrency?.max ?? null }];
  });
}

function keyOf({ kind, metadata: { namespace, name } }: Manifest) {
  return { kind, namespace, name };
}

function textOf(key: { readonly kind: string; readonly namespace: string; readonly name: string }): string {
  return manifestKey(key.kind as Manifest["kind"], key.namespace, key.name);
}

function byKey<Row extends { kind: string; namespace: string; name: string }>(rows: readonly Row[]): Map<string, Row> {
  return new Map(rows.map((row) => [textOf(row), row]));
}

// Applies manifests: all documents of all files in one transaction, or none, with what is pruned of their set. Applying starts nothing.
// Called by rpc/manifest_service. Validates outside the transaction, then locks the catalog's revision and stores only if the
// catalog is still the one that was validated against; else validates again.
// Invariant: each change has its audit record in the same transaction; an unchanged document changes nothing at all.

import { DomainError } from "../../kit/errors.ts";
import type { AuditEvent } from "../audit/events.ts";
import { auditRecord } from "../audit/record.ts";
import { type Kind, type Manifest, manifestKey } from "../manifests/specs.ts";
import { hasErrors, type PositionedManifest } from "../manifests/validate.ts";
import type { WorkflowMax } from "../storage/group_queries.ts";
import { type ResourceWrite, resourceQueries } from "../storage/resources.ts";
import type { StoreQueries } from "../storage/store.ts";
import { callTrace } from "./call_trace.ts";
import type { ApplyInput } from "./control_plane.ts";
import { checkManifests, type ManifestContext, manifestsRefused, requireWithin } from "./manifest_checks.ts";
import { type PlannedChange, plannedChanges, requireChange } from "./planned_changes.ts";
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

/**
 * See the file header.
 *
 * @throws MANIFEST_INVALID (ManifestInvalidError), MANIFEST_TOO_SLOW, VERSION_CHANGED, PERMISSION_DENIED, SET_CONFLICT, RESOURCE_IN_USE,
 * REQUEST_INVALID, TOO_MANY
 */
export async function apply(context: ApplyContext, principal: Principal, input: ApplyInput): Promise<Applied> {
  for (let tries = 1; tries <= TRIES_MAX; tries += 1) {
    // Read before the catalog is: if it is the same under the lock, nothing in between has changed.
    const revision = await context.store.read(({ db }) => resourceQueries(db).catalogRevision());
    const { manifests, diagnostics } = await checkManifests(context, input);
    requireWithin(manifests, input.within);
    if (hasErrors(diagnostics)) throw manifestsRefused(diagnostics);
    const results = await context.store.transaction((tx) =>
      storeManifests(tx, context, principal, { manifests, revision, input }),
    );
    if (results !== undefined) return { results, diagnostics: [...diagnostics] };
  }
  const message = `others changed the catalog ${TRIES_MAX} times while this apply was validated; apply again`;
  throw new DomainError("VERSION_CHANGED", message);
}

/** Stores what changed, and deletes what is pruned; undefined if the catalog is not at the given revision any more. */
async function storeManifests(
  tx: StoreQueries,
  { quotas }: ApplyContext,
  principal: Principal,
  {
    manifests,
    revision,
    input,
  }: { readonly manifests: readonly PositionedManifest[]; readonly revision: string; readonly input: ApplyInput },
): Promise<ApplyResultView[] | undefined> {
  const resources = resourceQueries(tx.db);
  if ((await resources.lockCatalog()) !== revision) return undefined;
  const changes = await plannedChanges(tx.db, manifests, input);
  if (input.expectedGeneration !== undefined) requireGeneration(changes, input.expectedGeneration);
  for (const change of changes) requireChange(principal, change, input);
  const results = changes.map(({ kind, namespace, name, action, generation, digest }) => ({
    ...{ kind, namespace, name, action, generation, digest },
  }));
  const changed = changes.filter(({ action }) => action !== "unchanged");
  if (changed.length === 0) return results;
  const writes = changed.filter(({ action }) => action === "created" || action === "configured").map(writeOf);
  // What goes makes room for what comes.
  for (const change of changed) if (change.action === "pruned") await resources.remove(keyOf(change));
  await requireRoom(resources, quotas, results);
  if (writes.length > 0) await resources.write(writes, principal.id);
  if (input.set !== undefined) {
    await resources.recordSet(changed.filter(({ action }) => action === "recorded").map(keyOf), input.set);
  }
  await tx.groups.setMax(changedLimits(manifests, writes));
  await resources.bumpRevisions();
  await tx.audit.insert(changed.map((change) => auditRecord(eventOf(change, principal))));
  return results;
}

function writeOf({ kind, namespace, name, generation, digest, manifest, document, set }: PlannedChange): ResourceWrite {
  const labels = manifest?.metadata.labels ?? {};
  return { kind, namespace, name, generation, digest, labels, document: document ?? "", apply_set: set };
}

function eventOf(change: PlannedChange, principal: Principal): AuditEvent {
  const { kind, namespace, name, action, generation, digest, current, set } = change;
  const who = { namespace, actor: principal.id, ...callTrace(principal) };
  if (action === "pruned") {
    const detail = { kind, name, generation, digest, forced: false, ...(set !== null && { prunedFrom: set }) };
    return { kind: "resource.deleted", ...who, detail };
  }
  const before = current?.apply_set ?? null;
  return {
    kind: "resource.applied",
    ...who,
    detail: {
      ...{ kind, name, action: action as "created" | "configured" | "recorded", generation, digest },
      ...(current !== undefined && { previousDigest: current.digest, previousGeneration: current.generation }),
      ...(set !== null && { set }),
      ...(before !== null && before !== set && { previousSet: before }),
    },
  };
}

// Who edits what was read must not write over what others wrote meanwhile.
function requireGeneration(changes: readonly PlannedChange[], expected: number): void {
  const [only, second] = changes;
  if (only === undefined || second !== undefined) {
    const message = `expected_generation is the one of a single manifest, and the files hold ${changes.length}: send one`;
    throw new DomainError("REQUEST_INVALID", message, { field: "expected_generation" });
  }
  const { kind, namespace, name, current } = only;
  if ((current?.generation ?? 0) === expected) return;
  const now = current === undefined ? "does not exist any more" : `is at generation ${current.generation} by now`;
  const message = `${kind} ${namespace}/${name} ${now}, and the change was made to generation ${expected}: read it again`;
  throw new DomainError("VERSION_CHANGED", message, {
    kind,
    namespace,
    name,
    generation: String(current?.generation ?? 0),
  });
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
  const written = new Set(writes.map(({ kind, namespace, name }) => manifestKey(kind as Kind, namespace, name)));
  return manifests.flatMap(({ manifest }) => {
    const { namespace, name } = manifest.metadata;
    if (manifest.kind !== "WorkflowTemplate" || !written.has(manifestKey(manifest.kind, namespace, name))) return [];
    const { concurrency } = (manifest as Manifest<"WorkflowTemplate">).spec;
    return [{ namespace, workflow: name, max_running: concurrency?.max ?? null }];
  });
}

function keyOf({ kind, namespace, name }: PlannedChange) {
  return { kind, namespace, name };
}

// What one apply changes, resource by resource: documents against the catalog, and what a pruned set loses.
// Called by apply.ts under its lock, and by plan_apply.ts, which only tells. Reads; writes nothing and refuses nothing by itself:
// requireChange says for each change why it may not be.

import { DomainError } from "../../kit/errors.ts";
import { canonicalJson, sha256 } from "../../kit/json.ts";
import { documentOf } from "../manifests/document.ts";
import { SYSTEM_NAMESPACE } from "../manifests/references.ts";
import { type Kind, type Manifest, manifestKey } from "../manifests/specs.ts";
import type { PositionedManifest } from "../manifests/validate.ts";
import type { Queryable } from "../storage/bulk.ts";
import { type ResourceRow, resourceQueries } from "../storage/resources.ts";
import { requireApplyRights } from "./apply_rights.ts";
import type { ApplyInput } from "./control_plane.ts";
import { manifestOf } from "./manifest_checks.ts";
import { inUse, referrersAmong } from "./referrers.ts";
import { requireRight } from "./rights.ts";
import type { ApplyAction, Principal } from "./views.ts";

/** What becomes of one resource. */
export interface PlannedChange {
  readonly kind: Kind;
  readonly namespace: string;
  readonly name: string;
  readonly action: ApplyAction;
  /** Generation after the change; of one that is pruned, its last one. */
  readonly generation: number;
  readonly digest: string;
  /** What the files say; absent: it is pruned. */
  readonly manifest?: Manifest;
  /** Canonical JSON of that. */
  readonly document?: string;
  readonly current?: ResourceRow;
  /** The set that it belongs to afterwards; null: none. */
  readonly set: string | null;
  /** Who would lose a reference to one that is pruned. */
  readonly referrers: readonly string[];
}

type Options = Pick<ApplyInput, "set" | "prune" | "within">;

/** Changes in file order, then what is pruned in key order. @throws REQUEST_INVALID for files that would prune a whole set */
export async function plannedChanges(
  db: Queryable,
  manifests: readonly PositionedManifest[],
  { set, prune, within }: Options,
): Promise<PlannedChange[]> {
  const resources = resourceQueries(db);
  const keys = manifests.map(({ manifest }) => keyOf(manifest));
  const stored = byKey(await resources.find(keys));
  const before = byKey(await resources.lastGenerations(keys.filter((key) => !stored.has(textOf(key)))));
  const changes = manifests.map(({ manifest }): PlannedChange => {
    const key = keyOf(manifest);
    const current = stored.get(textOf(key));
    const document = canonicalJson(documentOf(manifest));
    const digest = sha256(document);
    const own = set ?? current?.apply_set ?? null;
    const common = { ...key, digest, manifest, document, set: own, referrers: [], ...(current && { current }) };
    if (current?.digest === digest) {
      const action = current.apply_set === own ? "unchanged" : "recorded";
      return { ...common, action, generation: current.generation };
    }
    const { generation } = current ?? before.get(textOf(key)) ?? { generation: 0 };
    return { ...common, action: current === undefined ? "created" : "configured", generation: generation + 1 };
  });
  if (set === undefined || prune !== true) return changes;
  if (changes.length === 0) {
    const message = `the files hold no manifest, and --prune would delete everything in the set ${set}: delete what is meant by name`;
    throw new DomainError("REQUEST_INVALID", message, { set });
  }
  const given = new Set(changes.map(textOf));
  // What is in namespaces that the caller may not touch is as if it were not there.
  const gone = (await resources.ofSet(set)).filter(
    (row) => !given.has(textOf(row)) && (within === undefined || within.has(row.namespace)),
  );
  return [...changes, ...(await prunedOf(db, changes, gone))];
}

async function prunedOf(
  db: Queryable,
  changes: readonly PlannedChange[],
  gone: readonly ResourceRow[],
): Promise<PlannedChange[]> {
  if (gone.length === 0) return [];
  const resources = resourceQueries(db);
  // A resource of `system` may be used from everywhere; policies of `system` reach every namespace.
  const spaces = [...new Set([...gone.map(({ namespace }) => namespace), SYSTEM_NAMESPACE])];
  const everywhere = gone.some(({ namespace }) => namespace === SYSTEM_NAMESPACE);
  const rows = everywhere ? await resources.all() : await resources.ofNamespaces(spaces);
  const replaced = new Set([...changes, ...gone].map(textOf));
  const left = [
    ...rows.filter((row) => !replaced.has(textOf(row))).map(manifestOf),
    ...changes.flatMap(({ manifest }) => manifest ?? []),
  ];
  return gone.map((row) => ({
    ...{ kind: row.kind as Kind, namespace: row.namespace, name: row.name },
    ...{ action: "pruned", generation: row.generation, digest: row.digest, current: row, set: row.apply_set },
    referrers: referrersAmong({ kind: row.kind as Kind, namespace: row.namespace, name: row.name }, left),
  }));
}

/** @throws PERMISSION_DENIED, SET_CONFLICT, RESOURCE_IN_USE if this change may not be made */
export function requireChange(
  principal: Principal,
  { action, manifest, current, kind, namespace, name, referrers, set }: PlannedChange,
  { adopt }: Pick<ApplyInput, "adopt">,
): void {
  if (action === "unchanged") return;
  if (manifest === undefined) {
    requireRight(principal, deleteRight(kind), namespace, `delete the ${kind} ${name}`);
    if (referrers.length > 0) {
      throw inUse({ kind, namespace, name }, referrers, "it is not in the files any more, and would be pruned");
    }
    return;
  }
  const other = current?.apply_set ?? null;
  if (other !== null && other !== set && adopt !== true) {
    const message = `${kind} ${namespace}/${name} belongs to the set ${other}, whose next --prune would delete it: leave it to that set, or take it over with --adopt`;
    throw new DomainError("SET_CONFLICT", message, { kind, namespace, name, set: other });
  }
  // Who records a resource in a set decides who may prune it.
  if (action === "recorded")
    requireRight(principal, deleteRight(kind), namespace, `record the ${kind} ${name} in a set`);
  else requireApplyRights(principal, manifest, current);
}

/** The right that deleting a resource of a kind takes. */
export function deleteRight(kind: Kind): "policies.delete" | "operator" {
  return kind === "Policy" ? "policies.delete" : "operator";
}

function keyOf({ kind, metadata: { namespace, name } }: Manifest) {
  return { kind, namespace, name };
}

function textOf(key: { readonly kind: string; readonly namespace: string; readonly name: string }): string {
  return manifestKey(key.kind as Kind, key.namespace, key.name);
}

function byKey<Row extends { kind: string; namespace: string; name: string }>(rows: readonly Row[]): Map<string, Row> {
  return new Map(rows.map((row) => [textOf(row), row]));
}

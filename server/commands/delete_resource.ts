// Deletes one resource; refused while others refer to it, unless forced. Runs under way keep their bundle.
// Called by rpc/manifest_service. Holds the catalog's revision row, so that no apply adds a reference meanwhile.
// Revisions stay: a resource of that name goes on counting its generations if it is applied again.

import { auditRecord } from "../audit/record.ts";
import { SYSTEM_NAMESPACE } from "../manifests/references.ts";
import type { Kind } from "../manifests/specs.ts";
import { resourceQueries } from "../storage/resources.ts";
import type { StoreQueries } from "../storage/store.ts";
import { callTrace } from "./call_trace.ts";
import type { CommandContext } from "./context.ts";
import { manifestOf } from "./manifest_checks.ts";
import { deleteRight } from "./planned_changes.ts";
import { resourceNotFound } from "./read_resources.ts";
import { inUse, referrersAmong } from "./referrers.ts";
import { requireRight } from "./rights.ts";
import type { Principal } from "./views.ts";

/** See the file header. @throws RESOURCE_NOT_FOUND, RESOURCE_IN_USE, PERMISSION_DENIED */
export async function deleteResource(
  context: Pick<CommandContext, "store">,
  principal: Principal,
  kind: Kind,
  namespace: string,
  name: string,
  force: boolean,
): Promise<void> {
  const key = { kind, namespace, name };
  requireRight(principal, deleteRight(kind), namespace, `delete the ${kind} ${name}`);
  await context.store.transaction(async (tx) => {
    const resources = resourceQueries(tx.db);
    await resources.lockCatalog();
    const row = await resources.get(key);
    if (row === undefined) throw resourceNotFound(kind, namespace, name);
    const referrers = await findReferrers(tx, key);
    if (referrers.length > 0 && !force) {
      throw inUse(key, referrers, "delete or change those first, or force the deletion");
    }
    await resources.remove(key);
    await resources.bumpRevisions();
    const record = auditRecord({
      kind: "resource.deleted",
      namespace,
      actor: principal.id,
      ...callTrace(principal),
      detail: {
        ...{ kind, name, generation: row.generation, digest: row.digest, forced: referrers.length > 0 },
        ...(referrers.length > 0 && { referrers }),
      },
    });
    await tx.audit.insert([record]);
  });
}

async function findReferrers(
  tx: StoreQueries,
  key: { kind: Kind; namespace: string; name: string },
): Promise<string[]> {
  const resources = resourceQueries(tx.db);
  // A resource of `system` may be used from everywhere; policies of `system` reach every namespace.
  const rows =
    key.namespace === SYSTEM_NAMESPACE
      ? await resources.all()
      : await resources.ofNamespaces([key.namespace, SYSTEM_NAMESPACE]);
  return referrersAmong(key, rows.map(manifestOf));
}

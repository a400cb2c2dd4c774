// Reads stored resources: one, or a page in (kind, namespace, name) order.
// Called by rpc/manifest_service. Never locks, never writes.

import { DomainError } from "../../kit/errors.ts";
import type { Kind } from "../manifests/specs.ts";
import { type ResourceRow, resourceQueries } from "../storage/resources.ts";
import type { CommandContext } from "./context.ts";
import { readPage } from "./page_token.ts";
import type { Page, PageRequest, ResourceView } from "./views.ts";

const SIZES = { sizeDefault: 100, sizeMax: 500 };
const KEY_LENGTH = 3;

/** One resource with its manifest. @throws RESOURCE_NOT_FOUND */
export async function readResource(
  context: Pick<CommandContext, "store">,
  kind: Kind,
  namespace: string,
  name: string,
): Promise<ResourceView> {
  const row = await context.store.read(({ db }) => resourceQueries(db).get({ kind, namespace, name }));
  if (row === undefined) throw resourceNotFound(kind, namespace, name);
  return resourceView(row, true);
}

/** A page of resources; with their manifests if `full`. @throws PAGE_TOKEN_INVALID */
export async function listResources(
  context: Pick<CommandContext, "store">,
  filter: { kind?: Kind; namespace?: string; labels?: Readonly<Record<string, string>>; full: boolean },
  request: PageRequest,
): Promise<Page<ResourceView>> {
  const page = await readPage(
    { name: "resources", filter: [filter.kind ?? "", filter.namespace ?? "", { ...filter.labels }], ...SIZES },
    request,
    (after, limit) => {
      const [kind, namespace, name] = (after ?? []) as [string, string, string];
      const key = after === undefined ? undefined : { kind, namespace, name };
      return context.store.read(({ db }) => resourceQueries(db).list(filter, key, limit));
    },
    (row) => [row.kind, row.namespace, row.name],
    KEY_LENGTH,
  );
  return { ...page, items: page.items.map((row) => resourceView(row, filter.full)) };
}

/** The error for a resource that is not there. */
export function resourceNotFound(kind: Kind, namespace: string, name: string): DomainError {
  const message = `${kind} ${namespace}/${name} does not exist; list ${kind} resources to see those that do`;
  return new DomainError("RESOURCE_NOT_FOUND", message, { kind, namespace, name });
}

function resourceView(row: ResourceRow, full: boolean): ResourceView {
  return {
    kind: row.kind as Kind,
    namespace: row.namespace,
    name: row.name,
    generation: row.generation,
    digest: row.digest,
    labels: row.labels,
    createTime: row.create_time,
    updateTime: row.update_time,
    set: row.apply_set ?? "",
    ...(full && { manifestJson: row.document }),
  };
}

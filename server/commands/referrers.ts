// Who refers to a resource that is to be deleted, and the error that says so.
// Called by delete_resource.ts and planned_changes.ts. Pure: the manifests come in.

import { DomainError } from "../../kit/errors.ts";
import { type ResourceKey, referrersOf } from "../manifests/references.ts";
import { type Manifest, manifestKey } from "../manifests/specs.ts";

/** Referrers named in the message at most; metadata holds their number. */
const NAMED_MAX = 10;

/** Keys of the manifests that would lose a reference, sorted. */
export function referrersAmong(key: ResourceKey, manifests: readonly Manifest[]): string[] {
  return referrersOf(key, manifests).map(({ kind, namespace, name }) => manifestKey(kind, namespace, name));
}

/** RESOURCE_IN_USE. @param advice what to do, or what else there is to know */
export function inUse(
  key: { readonly kind: string; readonly namespace: string; readonly name: string },
  referrers: readonly string[],
  advice: string,
): DomainError {
  const more = referrers.length > NAMED_MAX ? ` and ${referrers.length - NAMED_MAX} more` : "";
  const named = `${referrers.slice(0, NAMED_MAX).join(", ")}${more}`;
  const message = `${key.kind} ${key.namespace}/${key.name} is used by ${named}; ${advice}`;
  return new DomainError("RESOURCE_IN_USE", message, { ...key, referrers: String(referrers.length) });
}

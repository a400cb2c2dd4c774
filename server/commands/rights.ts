// Where a principal holds a right: everywhere, in some namespaces, or nowhere. The role admin holds every right where it holds.
// Called by rpc before a use case, and by the commands whose rights depend on what is asked (policies, invoke-as).
// Pure: everything comes with the principal.

import { DomainError } from "../../kit/errors.ts";
import type { FineRight, Grant, PersonBounds, Principal, Role } from "./views.ts";

/** Every role. */
export const ROLES: readonly Role[] = Object.freeze(["admin", "operator", "invoker", "auditor", "worker"] as const);
/** Every right beside the roles. */
export const FINE_RIGHTS: readonly FineRight[] = Object.freeze([
  "policies.write",
  "policies.mode",
  "policies.delete",
  "invoke-as",
] as const);

/** Namespaces in which something is allowed. */
export type Scope = "everywhere" | ReadonlySet<string>;

/** Where the principal has one of the roles or rights. */
export function scopeOf(principal: Principal, rights: readonly Grant["right"][]): Scope {
  if (principal.roles.some((role) => rights.includes(role))) return "everywhere";
  const namespaces = new Set<string>();
  for (const { right, namespace } of principal.grants ?? []) {
    if (!rights.includes(right)) continue;
    if (namespace === undefined) return "everywhere";
    namespaces.add(namespace);
  }
  return namespaces;
}

/** True if the principal has the role or right, or the role admin, there. */
export function holds(principal: Principal, right: Grant["right"], namespace: string): boolean {
  const scope = scopeOf(principal, ["admin", right]);
  return scope === "everywhere" || scope.has(namespace);
}

/** @throws PERMISSION_DENIED naming the right, unless the principal holds it there */
export function requireRight(principal: Principal, right: Grant["right"], namespace: string, to: string): void {
  if (holds(principal, right, namespace)) return;
  throw new DomainError(
    "PERMISSION_DENIED",
    `${principal.id} may not ${to} in namespace ${namespace}: ask for ${right}`,
    { right, namespace },
  );
}

/** What the principal may say of persons that it invokes for there; one entry a grant. Empty: it may not invoke for anybody. */
export function personBounds(principal: Principal, namespace: string): PersonBounds[] {
  const anything = { ids: ["*"], groups: ["*"], claims: ["*"] };
  const admin = scopeOf(principal, ["admin"]);
  if (admin === "everywhere" || admin.has(namespace)) return [anything];
  return (principal.grants ?? [])
    .filter((grant) => grant.right === "invoke-as" && (grant.namespace ?? namespace) === namespace)
    .map(({ persons }) => persons ?? { ids: ["*"], groups: [], claims: [] });
}

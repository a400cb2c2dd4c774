// Who a run is for: the caller itself, or the person that a service with the right invoke-as invokes for. Both are recorded.
// Called by replica.ts before an invocation is queued, so that a refusal comes before anything is looked up; and by the commands that write
// a requester down. Pure.

import { DomainError } from "../../kit/errors.ts";
import { isReservedId } from "../identity/settings.ts";
import type { InvokeInput } from "./control_plane.ts";
import { personBounds } from "./rights.ts";
import type { PersonBounds, Principal, RequesterView } from "./views.ts";

/** The principal that the run is for. @throws PERMISSION_DENIED without a right to say what is said of the person */
export function requesterOf(caller: Principal, { namespace, onBehalfOf }: InvokeInput): Principal {
  if (onBehalfOf === undefined) return caller;
  const { id, groups, claims } = onBehalfOf;
  const bounds = personBounds(caller, namespace);
  const deny = (what: string) => {
    const message = `${caller.id} may not invoke ${what} in namespace ${namespace}: ask for the right invoke-as that says so`;
    return new DomainError("PERMISSION_DENIED", message, { right: "invoke-as", namespace });
  };
  if (bounds.length === 0 || isReservedId(id)) throw deny("for others");
  const fits = (bound: PersonBounds) =>
    within(bound.ids, [id]) && within(bound.groups, groups) && within(bound.claims, Object.keys(claims));
  if (!bounds.some(fits)) throw deny(`for ${id} with these groups and claims`);
  return { id, kind: "user", groups, claims, method: "invoke-as", invokedBy: caller.id, roles: [] };
}

/** What is kept of a requester. */
export function requesterView(requester: RequesterView): RequesterView {
  const { id, kind, groups, claims, method, issuer, invokedBy } = requester;
  return {
    ...{ id, kind, groups, claims, method },
    ...(issuer !== undefined && { issuer }),
    ...(invokedBy !== undefined && { invokedBy }),
  };
}

/** Who acts in the records of an invocation: the service, when it invokes for a person. */
export function invokerOf(requester: RequesterView): string {
  return requester.invokedBy ?? requester.id;
}

function within(allowed: readonly string[], asked: readonly string[]): boolean {
  return allowed.includes("*") || asked.every((one) => allowed.includes(one));
}

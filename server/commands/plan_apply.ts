// Says what apply would do, resource by resource, with the manifests of now and those that would be, and why apply would refuse.
// Called by rpc/manifest_service. Writes nothing, takes no lock: the answer is of this moment.

import { DomainError } from "../../kit/errors.ts";
import { hasErrors } from "../manifests/validate.ts";
import type { ApplyInput } from "./control_plane.ts";
import { checkManifests, type ManifestContext, requireWithin } from "./manifest_checks.ts";
import { type PlannedChange, plannedChanges, requireChange } from "./planned_changes.ts";
import type { DiagnosticView, PlannedChangeView, Principal } from "./views.ts";

/** What apply would do. */
export interface PlannedApply {
  /** False: the findings have errors, and nothing is planned. */
  readonly valid: boolean;
  readonly changes: PlannedChangeView[];
  readonly diagnostics: DiagnosticView[];
}

/** See the file header. @throws MANIFEST_TOO_SLOW, PERMISSION_DENIED, REQUEST_INVALID */
export async function planApply(
  context: ManifestContext,
  principal: Principal,
  input: ApplyInput,
): Promise<PlannedApply> {
  const { manifests, diagnostics } = await checkManifests(context, input);
  requireWithin(manifests, input.within);
  if (hasErrors(diagnostics)) return { valid: false, changes: [], diagnostics: [...diagnostics] };
  const changes = await context.store.read(({ db }) => plannedChanges(db, manifests, input));
  return {
    valid: true,
    changes: changes.map((change) => viewOf(change, refusalOf(principal, change, input))),
    diagnostics: [...diagnostics],
  };
}

function refusalOf(principal: Principal, change: PlannedChange, input: ApplyInput): PlannedChangeView["refusal"] {
  try {
    requireChange(principal, change, input);
    return undefined;
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    return { reason: error.reason, message: error.message };
  }
}

function viewOf(
  { kind, namespace, name, action, current, document }: PlannedChange,
  refusal: PlannedChangeView["refusal"],
): PlannedChangeView {
  return {
    ...{ kind, namespace, name, action },
    generation: current?.generation ?? 0,
    currentJson: current?.document ?? "",
    plannedJson: document ?? "",
    ...(refusal && { refusal }),
  };
}

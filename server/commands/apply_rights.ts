// Who may change which document: policies those who may change policies, everything else operators. The role admin includes all of it.
// Called by apply.ts, under its lock, for each document that changes something. What stays as it is needs no right.

import { canonicalJson, type JsonObject } from "../../kit/json.ts";
import { documentOf, manifestFromDocument } from "../manifests/document.ts";
import type { Manifest } from "../manifests/specs.ts";
import type { ResourceRow } from "../storage/resources.ts";
import { requireRight } from "./rights.ts";
import type { Principal } from "./views.ts";

/** @throws PERMISSION_DENIED naming what is missing: policies.write, policies.mode, or the role operator */
export function requireApplyRights(principal: Principal, manifest: Manifest, current: ResourceRow | undefined): void {
  const { namespace, name } = manifest.metadata;
  if (manifest.kind !== "Policy") {
    requireRight(principal, "operator", namespace, `change the ${manifest.kind} ${name}`);
    return;
  }
  const before = current && policyOf(current);
  const after = manifest as Manifest<"Policy">;
  const rewrites = before === undefined || withoutMode(before) !== withoutMode(after);
  if (rewrites) requireRight(principal, "policies.write", namespace, `write the policy ${name}`);
  if (before !== undefined && before.spec.mode !== after.spec.mode) {
    requireRight(principal, "policies.mode", namespace, `change the mode of the policy ${name}`);
  }
}

// What cannot be read any more is written anew.
function policyOf(row: ResourceRow): Manifest<"Policy"> | undefined {
  try {
    return manifestFromDocument(JSON.parse(row.document) as JsonObject) as Manifest<"Policy">;
  } catch {
    return undefined;
  }
}

function withoutMode(policy: Manifest<"Policy">): string {
  return canonicalJson(documentOf({ ...policy, spec: { ...policy.spec, mode: "enforce" } }));
}

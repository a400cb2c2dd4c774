// What is said of a secret that a namespace may not name, and of manifests that name one.
// Called by manifest_checks.ts when manifests are applied, by grant_tool.ts when a call is granted, by claim.ts when a task is claimed.
// Says the same whether the secret exists or not.

import { secretsOf } from "../grant/render.ts";
import { agentSecretsOf } from "../grant/render_agent.ts";
import type { Diagnostic } from "../manifests/diagnostics.ts";
import type { Manifest, SecretRef } from "../manifests/specs.ts";
import type { PositionedManifest } from "../manifests/validate.ts";
import type { SecretAccess } from "../secrets/secret_access.ts";

/** The message for secrets that a namespace may not name. */
export function secretForbidden(secrets: readonly SecretRef[], namespace: string): string {
  const names = secrets.map(({ name, key }) => `${name}/${key}`).join(", ");
  return `secret ${names} may not be used in namespace ${namespace}; an operator has to allow it`;
}

/** One error for each manifest that names a secret which its namespace may not name. */
export function forbiddenSecrets(access: SecretAccess, manifests: readonly PositionedManifest[]): Diagnostic[] {
  if (!access.isRestricted) return [];
  return manifests.flatMap(({ manifest, file, line, column }) => {
    const { namespace } = manifest.metadata;
    const refused = namedSecrets(manifest).filter((name) => !access.allows(namespace, name));
    if (refused.length === 0) return [];
    const message = secretForbidden(refused, namespace);
    const place = { file, line, column, path: "spec" };
    const hint = "name another one, or ask for it in the section secrets of the server's configuration";
    return [{ severity: "error", code: "E-SECRET-FORBIDDEN", ...place, message, hint }];
  });
}

function namedSecrets(manifest: Manifest): readonly SecretRef[] {
  if (manifest.kind === "Tool") return secretsOf((manifest as Manifest<"Tool">).spec);
  if (manifest.kind !== "Agent") return [];
  const { spec } = manifest as Manifest<"Agent">;
  const ref = spec.model?.secretRef;
  return [...(ref === undefined ? [] : [ref]), ...agentSecretsOf(spec)];
}

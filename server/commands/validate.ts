// Validates manifests as apply would, against the stored catalog, and stores nothing.
// Called by rpc/manifest_service. Findings are the result, not an error.

import { hasErrors } from "../manifests/validate.ts";
import type { ApplyInput } from "./control_plane.ts";
import { checkManifests, type ManifestContext } from "./manifest_checks.ts";
import type { DiagnosticView } from "./views.ts";

/** See the file header. @throws MANIFEST_TOO_SLOW */
export async function validateManifests(
  context: ManifestContext,
  input: ApplyInput,
): Promise<{ valid: boolean; diagnostics: DiagnosticView[] }> {
  const { diagnostics } = await checkManifests(context, input);
  return { valid: !hasErrors(diagnostics), diagnostics: [...diagnostics] };
}

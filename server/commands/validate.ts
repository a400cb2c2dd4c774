// Validates manifests as apply would, against the stored catalog, and stores nothing.
// Called by rpc/manifest_service. Findings are the result, not an error.

import { hasErrors } from "../manifests/validate.ts";
import type { ApplyInput } from "./control_plane.ts";
import { checkManifests, type ManifestContext, requireWithin } from "./manifest_checks.ts";
import type { DiagnosticView } from "./views.ts";

/** See the file header. @throws MANIFEST_TOO_SLOW, PERMISSION_DENIED */
export async function validateManifests(
  context: ManifestContext,
  input: ApplyInput,
): Promise<{ valid: boolean; diagnostics: DiagnosticView[] }> {
  const { manifests, diagnostics } = await checkManifests(context, input);
  requireWithin(manifests, input.within);
  return { valid: !hasErrors(diagnostics), diagnostics: [...diagnostics] };
}

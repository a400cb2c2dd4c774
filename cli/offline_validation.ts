// Validates manifests in this process, without a server and without stored resources.
// Called by validate --offline. The same pure rules as the server's; references must be met by the files themselves.
// Runs in the main thread: a hostile file can only keep its own author waiting.

import { create } from "@bufbuild/protobuf";
import { type ValidateResponse, ValidateResponseSchema } from "../sdk/index.ts";
import { parseFile } from "../server/manifests/parse.ts";
import { hasErrors, validateFiles } from "../server/manifests/validate.ts";
import type { ManifestFile } from "./manifest_files.ts";

/** What the server would answer if nothing were stored. */
export function validateOffline(
  files: readonly ManifestFile[],
  options: { readonly defaultNamespace: string; readonly strict: boolean },
): ValidateResponse {
  const encoder = new TextEncoder();
  const parsed = files.map((file) => parseFile({ file: file.name, bytes: encoder.encode(file.content) }));
  const { strict, defaultNamespace } = options;
  const { diagnostics } = validateFiles(parsed, () => undefined, {
    strict,
    ...(defaultNamespace === "" ? {} : { defaultNamespace }),
  });
  return create(ValidateResponseSchema, {
    valid: !hasErrors(diagnostics),
    diagnostics: diagnostics.map((finding) => ({ ...finding })),
  });
}

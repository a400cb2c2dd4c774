// Validates manifests in this process, without a server and without stored resources.
// Called by validate --offline, codegen -f and graph -f. The same pure rules as the server's; references must be met by the files themselves.
// Runs in the main thread: a hostile file can only keep its own author waiting.

import { create } from "@bufbuild/protobuf";
import { type ValidateResponse, ValidateResponseSchema } from "../sdk/index.ts";
import { parseFile } from "../server/manifests/parse.ts";
import type { Manifest } from "../server/manifests/specs.ts";
import { hasErrors, validateFiles } from "../server/manifests/validate.ts";
import type { ManifestFile } from "./manifest_files.ts";

/** How files are validated. */
export interface OfflineOptions {
  readonly defaultNamespace: string;
  readonly strict: boolean;
}

/** What the server would answer if nothing were stored. */
export function validateOffline(files: readonly ManifestFile[], options: OfflineOptions): ValidateResponse {
  return readOffline(files, options).response;
}

/** The same, with the manifests; those serve for something only if the response is valid. */
export function readOffline(
  files: readonly ManifestFile[],
  { strict, defaultNamespace }: OfflineOptions,
): { readonly response: ValidateResponse; readonly manifests: readonly Manifest[] } {
  const encoder = new TextEncoder();
  const parsed = files.map((file) => parseFile({ file: file.name, bytes: encoder.encode(file.content) }));
  const { diagnostics, manifests } = validateFiles(parsed, () => undefined, {
    strict,
    ...(defaultNamespace === "" ? {} : { defaultNamespace }),
  });
  const response = create(ValidateResponseSchema, {
    valid: !hasErrors(diagnostics),
    diagnostics: diagnostics.map((finding) => ({ ...finding })),
  });
  return { response, manifests: manifests.map(({ manifest }) => manifest) };
}

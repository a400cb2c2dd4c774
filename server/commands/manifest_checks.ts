// Runs the manifest pipeline on the files of one apply or validate call, against the stored catalog.
// Called by apply.ts and validate.ts, outside any transaction: parsing happens in the pooled thread and takes its time.

import type { JsonObject } from "../../kit/json.ts";
import type { Diagnostic } from "../manifests/diagnostics.ts";
import { formatDiagnostic } from "../manifests/diagnostics.ts";
import { manifestFromDocument } from "../manifests/document.ts";
import type { ManifestPool } from "../manifests/pool.ts";
import { keysNeeded, type ResourceKey } from "../manifests/references.ts";
import { type Kind, type Manifest, manifestKey } from "../manifests/specs.ts";
import type { Validation } from "../manifests/validate.ts";
import { type ResourceRow, resourceQueries } from "../storage/resources.ts";
import type { CommandContext } from "./context.ts";
import type { ApplyInput } from "./control_plane.ts";
import { ManifestInvalidError } from "./manifest_invalid_error.ts";

/** Names offered as "did you mean" at most. */
const NAMES_MAX = 5_000;

/** What apply and validate need. */
export type ManifestContext = Pick<CommandContext, "store"> & { readonly pool: ManifestPool };

/** Validates files against the catalog as it is now. @throws MANIFEST_TOO_SLOW, MANIFEST_INVALID, SHUTTING_DOWN */
export async function checkManifests(context: ManifestContext, input: ApplyInput): Promise<Validation> {
  const { store, pool } = context;
  const names = await store.read(({ db }) => resourceQueries(db).names(NAMES_MAX));
  const storedNames: Partial<Record<Kind, string[]>> = {};
  for (const { kind, name } of names) {
    const list = storedNames[kind as Kind] ?? [];
    storedNames[kind as Kind] = list;
    list.push(name);
  }
  const files = input.files.map(({ name, content }) => ({ file: name, bytes: new TextEncoder().encode(content) }));
  return await pool.validate(
    files,
    async (keys) =>
      await loadWithLibraries(async (more) => await store.read(({ db }) => resourceQueries(db).find(more)), keys),
    {
      strict: input.strict,
      storedNames,
      ...(input.defaultNamespace !== "" && { defaultNamespace: input.defaultNamespace }),
    },
  );
}

// Library policies use others, which those to be applied do not name.
async function loadWithLibraries(
  find: (keys: readonly ResourceKey[]) => Promise<readonly ResourceRow[]>,
  keys: readonly ResourceKey[],
): Promise<Manifest[]> {
  const asked = new Set<string>();
  const loaded: Manifest[] = [];
  let next = keys;
  while (next.length > 0) {
    for (const { kind, namespace, name } of next) asked.add(manifestKey(kind, namespace, name));
    const found = (await find(next)).map(manifestOf);
    loaded.push(...found);
    const libraries = found.filter(({ kind }) => kind === "Policy");
    next = keysNeeded(libraries).filter(({ kind, namespace, name }) => !asked.has(manifestKey(kind, namespace, name)));
  }
  return loaded;
}

/** The manifest of a stored row. */
export function manifestOf(row: ResourceRow): Manifest {
  return manifestFromDocument(JSON.parse(row.document) as JsonObject);
}

/** The error of refused manifests: how many findings, the first one, and all of them as a list. */
export function manifestsRefused(diagnostics: readonly Diagnostic[]): ManifestInvalidError {
  const errors = diagnostics.filter(({ severity }) => severity === "error");
  const [first] = errors;
  const count = errors.length === 1 ? "1 error" : `${errors.length} errors`;
  const message = `the manifests have ${count}; nothing was applied${first === undefined ? "" : `. ${formatDiagnostic(first)}`}`;
  return new ManifestInvalidError(message, diagnostics);
}

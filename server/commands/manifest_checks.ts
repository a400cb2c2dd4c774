// Runs the manifest pipeline on the files of one apply or validate call, against the stored catalog.
// Called by apply.ts and validate.ts, outside any transaction: parsing happens in the pooled thread and takes its time.

import { DomainError } from "../../kit/errors.ts";
import type { JsonObject } from "../../kit/json.ts";
import type { Diagnostic } from "../manifests/diagnostics.ts";
import { compareDiagnostics, formatDiagnostic } from "../manifests/diagnostics.ts";
import { manifestFromDocument } from "../manifests/document.ts";
import type { ManifestPool } from "../manifests/pool.ts";
import { keysNeeded, type ResourceKey, SYSTEM_NAMESPACE } from "../manifests/references.ts";
import { type Kind, type Manifest, manifestKey } from "../manifests/specs.ts";
import type { PositionedManifest, Validation } from "../manifests/validate.ts";
import { type ResourceRow, resourceQueries } from "../storage/resources.ts";
import type { CommandContext } from "./context.ts";
import type { ApplyInput } from "./control_plane.ts";
import { ManifestInvalidError } from "./manifest_invalid_error.ts";
import { forbiddenSecrets } from "./secret_refusal.ts";

/** Names offered as "did you mean" at most. */
const NAMES_MAX = 5_000;

/** What apply and validate need. */
export type ManifestContext = Pick<CommandContext, "store" | "secrets"> & { readonly pool: ManifestPool };

/** Validates files against the catalog as it is now. @throws MANIFEST_TOO_SLOW, MANIFEST_INVALID, SHUTTING_DOWN */
export async function checkManifests(context: ManifestContext, input: ApplyInput): Promise<Validation> {
  const { store, pool, secrets } = context;
  const names = await store.read(({ db }) => resourceQueries(db).names(NAMES_MAX));
  const storedNames: Partial<Record<Kind, string[]>> = {};
  for (const { kind, namespace, name } of names) {
    if (!isVisible(input, namespace)) continue;
    const list = storedNames[kind as Kind] ?? [];
    storedNames[kind as Kind] = list;
    list.push(name);
  }
  const files = input.files.map(({ name, content }) => ({ file: name, bytes: new TextEncoder().encode(content) }));
  const validation = await pool.validate(
    files,
    async (keys) =>
      await loadWithLibraries(async (more) => {
        const found = await store.read(({ db }) => resourceQueries(db).find(more));
        return found.filter(({ namespace }) => isVisible(input, namespace));
      }, keys),
    {
      strict: input.strict,
      storedNames,
      ...(input.defaultNamespace !== "" && { defaultNamespace: input.defaultNamespace }),
    },
  );
  const forbidden = forbiddenSecrets(secrets, validation.manifests);
  if (forbidden.length === 0) return validation;
  return { ...validation, diagnostics: [...validation.diagnostics, ...forbidden].sort(compareDiagnostics) };
}

/** @throws PERMISSION_DENIED for a document in a namespace that the caller may not touch */
export function requireWithin(manifests: readonly PositionedManifest[], within: ApplyInput["within"]): void {
  if (within === undefined) return;
  const outside = manifests.find(({ manifest }) => !within.has(manifest.metadata.namespace));
  if (outside === undefined) return;
  const { file, line, manifest } = outside;
  const { namespace } = manifest.metadata;
  const message = `${file}:${line}: your role holds in ${[...within].join(", ")} and not in ${namespace}: ask for it there`;
  throw new DomainError("PERMISSION_DENIED", message, { namespace });
}

// What others have in their namespaces is not told by findings either; `system` may be referred to from everywhere.
function isVisible({ within }: ApplyInput, namespace: string): boolean {
  return within === undefined || within.has(namespace) || namespace === SYSTEM_NAMESPACE;
}

// Library policies use others, and systems contain others, which those to be applied do not name.
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
    const further = found.filter(({ kind }) => kind === "Policy" || kind === "AgentSystem");
    next = keysNeeded(further).filter(({ kind, namespace, name }) => !asked.has(manifestKey(kind, namespace, name)));
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

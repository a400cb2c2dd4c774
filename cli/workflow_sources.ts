// Finds the workflows that types are made of: those stored on a server, or those of manifest files.
// Called by codegen.ts. Both ways read the same document of a manifest, so that they give equal types.
// A system that cannot be read leaves an output typed by its template alone; that is told, and never ends the command.

import { isJsonObject, type Json, type JsonObject } from "../kit/json.ts";
import { Code, type OrlojClient, OrlojError } from "../sdk/index.ts";
import { documentOf } from "../server/manifests/document.ts";
import { SYSTEM_NAMESPACE } from "../server/manifests/references.ts";
import type { WorkflowSource } from "./codegen/catalog.ts";
import { type ManifestFile, readManifestFiles } from "./manifest_files.ts";
import { readOffline } from "./offline_validation.ts";
import { allPages } from "./pages.ts";

/** Workflows stored on a server: of a namespace, or of all when it is empty. `warn` is told what could not be read. */
export async function workflowsOfServer(
  client: OrlojClient,
  namespace: string,
  warn: (line: string) => void,
): Promise<WorkflowSource[]> {
  const { items } = await allPages(
    async (pageToken, pageSize) => {
      const filter = { kind: "WorkflowTemplate", namespace, full: true };
      const page = await client.manifests.listResources({ ...filter, pageToken, pageSize });
      return { items: page.resources, nextPageToken: page.nextPageToken };
    },
    Number.MAX_SAFE_INTEGER,
    100,
  );
  // Many workflows may stand on one system.
  const systems = new Map<string, Promise<JsonObject | undefined>>();
  const find: FindSystem = (space, system) => {
    const key = `${space}/${system}`;
    const found = systems.get(key) ?? storedSystem(client, space, system);
    systems.set(key, found);
    return found;
  };
  const sources: WorkflowSource[] = [];
  for (const { namespace: space, name, manifestJson } of items) {
    const template = JSON.parse(manifestJson) as JsonObject;
    const { source, systemFound } = await sourceOf(template, find);
    if (!systemFound) warn(`${space}/${name}: its system cannot be read, so only its own output schema is known`);
    sources.push(source);
  }
  return sources;
}

async function storedSystem(client: OrlojClient, namespace: string, name: string): Promise<JsonObject | undefined> {
  try {
    const { resource } = await client.manifests.getResource({ kind: "AgentSystem", namespace, name });
    return resource && (JSON.parse(resource.manifestJson) as JsonObject);
  } catch (error) {
    const { code } = OrlojError.from(error);
    if (code === Code.NotFound || code === Code.PermissionDenied) return undefined;
    throw error;
  }
}

/**
 * Workflows of manifest files, validated as `orloj validate --offline` does.
 *
 * @param defaultNamespace of manifests that name none.
 * @throws OrlojError MANIFEST_INVALID with every finding.
 */
export async function workflowsOfFiles(
  paths: readonly string[],
  defaultNamespace: string,
  readInput: () => Promise<string>,
): Promise<WorkflowSource[]> {
  const files: readonly ManifestFile[] = await readManifestFiles(paths, readInput);
  const { response, manifests } = readOffline(files, { defaultNamespace, strict: false });
  if (!response.valid) {
    throw new OrlojError("the manifests are not valid, so no types were made", {
      reason: "MANIFEST_INVALID",
      code: Code.InvalidArgument,
      diagnostics: response.diagnostics,
    });
  }
  const systems = new Map<string, JsonObject>();
  for (const manifest of manifests) {
    const { namespace, name } = manifest.metadata;
    if (manifest.kind === "AgentSystem") systems.set(`${namespace}/${name}`, documentOf(manifest));
  }
  const find: FindSystem = async (namespace, name) => systems.get(`${namespace}/${name}`);
  const templates = manifests.filter(({ kind }) => kind === "WorkflowTemplate");
  return Promise.all(templates.map(async (manifest) => (await sourceOf(documentOf(manifest), find)).source));
}

type FindSystem = (namespace: string, name: string) => Promise<JsonObject | undefined>;

async function sourceOf(
  template: JsonObject,
  find: FindSystem,
): Promise<{ readonly source: WorkflowSource; readonly systemFound: boolean }> {
  const metadata = objectAt(template, "metadata");
  const spec = objectAt(template, "spec");
  const namespace = String(metadata["namespace"]);
  const system = String(spec["system"]);
  const found = (await find(namespace, system)) ?? (await find(SYSTEM_NAMESPACE, system));
  const outputs = [objectAt(found, "spec"), spec].map((holder) => objectAt(holder, "output")["schema"]);
  const source = {
    namespace,
    name: String(metadata["name"]),
    description: typeof spec["description"] === "string" ? spec["description"] : "",
    parameters: objectAt(spec, "parameters"),
    tags: requestTags(objectAt(spec, "tags")),
    outputs: outputs.filter(isJsonObject),
  };
  return { source, systemFound: found !== undefined };
}

function requestTags(tags: JsonObject): Record<string, { required: boolean }> {
  const given = Object.entries(tags).filter(([, tag]) => isJsonObject(tag) && tag["from"] === "request");
  return Object.fromEntries(
    given.map(([name, tag]) => [name, { required: isJsonObject(tag) && tag["required"] === true }]),
  );
}

function objectAt(value: Json | undefined, key: string): JsonObject {
  const inner = isJsonObject(value) ? value[key] : undefined;
  return isJsonObject(inner) ? inner : {};
}

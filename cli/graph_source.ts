// Finds the graph that `orloj graph` is to draw: of a run, of a stored system or workflow, or of one in files.
// Called by graph.ts. Reads only.
// A name without a namespace is looked for in `default`, then elsewhere: it is found there if it is the only one.

import { isJsonObject, type Json, type JsonObject } from "../kit/json.ts";
import { Code, OrlojError } from "../sdk/index.ts";
import { didYouMean } from "../server/manifests/diagnostics.ts";
import { documentOf } from "../server/manifests/document.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { runStateName } from "./format.ts";
import { type Graph, graphOfRun, graphOfSystem } from "./graph_model.ts";
import { readManifestFiles } from "./manifest_files.ts";
import { readOffline } from "./offline_validation.ts";
import { allPages } from "./pages.ts";

/** What is to be drawn. */
export interface Wanted {
  /** NAME, RUN, or KIND/NAME of them; absent: the only system of the files. */
  readonly subject?: string;
  readonly namespace?: string;
  /** Files and folders; none: ask the server. */
  readonly paths: readonly string[];
}

type DrawnKind = "AgentSystem" | "WorkflowTemplate";

interface Named {
  readonly namespace: string;
  readonly name: string;
}

interface Catalog {
  get(kind: DrawnKind, namespace: string, name: string): Promise<JsonObject | undefined>;
  list(kind: DrawnKind): Promise<readonly Named[]>;
}

const KINDS: Readonly<Record<string, readonly DrawnKind[]>> = {
  system: ["AgentSystem"],
  systems: ["AgentSystem"],
  workflow: ["WorkflowTemplate"],
  workflows: ["WorkflowTemplate"],
};
const SHARED_NAMESPACE = "system";
const RUNS_SEARCHED = 500;
const SUGGESTED_MAX = 3;

/** See the file header. @throws UsageError, OrlojError */
export async function loadGraph(context: Context, { subject, namespace, paths }: Wanted): Promise<Graph> {
  const { kind, name } = splitSubject(subject);
  const isRun = kind === "run" || (kind === undefined && name?.startsWith("run_") === true);
  if (isRun && paths.length > 0) throw new UsageError("a run is not in files", "leave -f out, or name a system");
  if (isRun && name !== undefined) return await graphOfStoredRun(context, name);
  if (paths.length === 0 && name === undefined) {
    throw new UsageError("name what to draw", "orloj graph SYSTEM, orloj graph RUN, or orloj graph -f FOLDER");
  }
  const catalog = paths.length === 0 ? storedCatalog(context) : await filesCatalog(context, paths, namespace);
  if (name === undefined) return await graphOfOnly(catalog, namespace);
  return await graphOfNamed(catalog, name, namespace, kind === undefined ? undefined : KINDS[kind]);
}

function splitSubject(subject: string | undefined): { kind?: string; name?: string } {
  if (subject === undefined) return {};
  const slash = subject.indexOf("/");
  if (slash < 0) return { name: subject };
  const kind = subject.slice(0, slash).toLowerCase();
  if (kind !== "run" && !Object.hasOwn(KINDS, kind)) {
    throw new UsageError(`"${kind}" has no graph`, "use system/NAME, workflow/NAME or run/ID");
  }
  return { kind, name: subject.slice(slash + 1) };
}

async function graphOfStoredRun(context: Context, runId: string): Promise<Graph> {
  try {
    const run = await context.client.run(runId).get();
    return graphOfRun(run, runStateName(run.state));
  } catch (error) {
    const failure = OrlojError.from(error);
    if (failure.reason !== "RUN_NOT_FOUND") throw error;
    const { items } = await allPages(async (pageToken, pageSize) => {
      const page = await context.client.workflows.listRuns({ pageToken, pageSize });
      return { items: page.runs, nextPageToken: page.nextPageToken };
    }, RUNS_SEARCHED);
    const near = items.map(({ id }) => id).filter((id) => runId !== "run_" && id.startsWith(runId));
    if (near.length === 0) throw error;
    const more = near.length > SUGGESTED_MAX ? `, or another of ${near.length}` : "";
    const message = `run ${runId} does not exist (did you mean ${near.slice(0, SUGGESTED_MAX).join(" or ")}${more}?)`;
    throw new OrlojError(message, { reason: failure.reason, code: Code.NotFound, metadata: { run: runId } });
  }
}

async function graphOfOnly(catalog: Catalog, namespace: string | undefined): Promise<Graph> {
  const systems = (await catalog.list("AgentSystem")).filter(
    (one) => namespace === undefined || one.namespace === namespace,
  );
  const [only] = systems;
  if (only === undefined) throw notFound("AgentSystem", "no system is in these files");
  if (systems.length > 1) {
    const names = systems.map((one) =>
      systems.every((other) => other.namespace === one.namespace) ? one.name : labelOf(one),
    );
    throw new UsageError(`these files have ${systems.length} systems: ${names.join(", ")}`, "orloj graph NAME -f PATH");
  }
  return graphOfSystem(labelOf(only), (await catalog.get("AgentSystem", only.namespace, only.name)) as JsonObject);
}

async function graphOfNamed(
  catalog: Catalog,
  name: string,
  namespace: string | undefined,
  kinds: readonly DrawnKind[] = ["AgentSystem", "WorkflowTemplate"],
): Promise<Graph> {
  const system = kinds.includes("AgentSystem") ? await findOne(catalog, "AgentSystem", name, namespace) : undefined;
  const workflow = kinds.includes("WorkflowTemplate")
    ? await findOne(catalog, "WorkflowTemplate", name, namespace)
    : undefined;
  const target = workflow && textIn(workflow.manifest, "spec", "system");
  if (system !== undefined && workflow !== undefined && target !== name) {
    const message = `"${name}" is a system, and a workflow of the system "${target}"`;
    throw new UsageError(message, `orloj graph system/${name}, or orloj graph workflow/${name}`);
  }
  if (system !== undefined) return graphOfSystem(labelOf(system), system.manifest);
  if (workflow === undefined || target === undefined) throw await unknownName(catalog, name, namespace, kinds);
  for (const where of [workflow.namespace, SHARED_NAMESPACE]) {
    const manifest = await catalog.get("AgentSystem", where, target);
    if (manifest !== undefined) return graphOfSystem(`${where}/${target}`, manifest);
  }
  throw notFound("AgentSystem", `workflow ${labelOf(workflow)} refers to the system "${target}", which does not exist`);
}

async function findOne(catalog: Catalog, kind: DrawnKind, name: string, namespace: string | undefined) {
  const where = namespace ?? "default";
  const manifest = await catalog.get(kind, where, name);
  if (manifest !== undefined) return { namespace: where, name, manifest };
  if (namespace !== undefined) return undefined;
  const [only, ...others] = (await catalog.list(kind)).filter((one) => one.name === name);
  if (only === undefined) return undefined;
  if (others.length > 0) {
    const namespaces = [only, ...others].map((one) => one.namespace);
    throw new UsageError(`"${name}" is in several namespaces: ${namespaces.join(", ")}`, "name one with -n");
  }
  const found = await catalog.get(kind, only.namespace, name);
  return found && { ...only, manifest: found };
}

async function unknownName(
  catalog: Catalog,
  name: string,
  namespace: string | undefined,
  kinds: readonly DrawnKind[],
): Promise<OrlojError> {
  const known = (await Promise.all(kinds.map((kind) => catalog.list(kind)))).flat();
  const elsewhere = known.find((one) => one.name === name)?.namespace;
  const here = known.filter((one) => namespace === undefined || one.namespace === namespace);
  const near = didYouMean(
    name,
    here.map((one) => one.name),
  );
  const hint = elsewhere === undefined ? near : `there is one in namespace ${elsewhere}`;
  const what = kinds.map((kind) => (kind === "AgentSystem" ? "system" : "workflow")).join(" or ");
  const where = namespace === undefined ? "" : ` in namespace ${namespace}`;
  return notFound(kinds[0] as DrawnKind, `no ${what} is called "${name}"${where}${hint === "" ? "" : ` (${hint})`}`);
}

function notFound(kind: DrawnKind, message: string): OrlojError {
  return new OrlojError(message, { reason: "RESOURCE_NOT_FOUND", code: Code.NotFound, metadata: { kind } });
}

function labelOf({ namespace, name }: Named): string {
  return `${namespace}/${name}`;
}

function textIn(document: JsonObject, ...path: readonly string[]): string {
  let value: Json | undefined = document;
  for (const key of path) value = isJsonObject(value) ? value[key] : undefined;
  return typeof value === "string" ? value : "";
}

function storedCatalog(context: Context): Catalog {
  const { manifests } = context.client;
  return {
    async get(kind, namespace, name) {
      try {
        const { resource } = await manifests.getResource({ kind, namespace, name });
        return resource && (JSON.parse(resource.manifestJson) as JsonObject);
      } catch (error) {
        if (OrlojError.from(error).reason === "RESOURCE_NOT_FOUND") return undefined;
        throw error;
      }
    },
    async list(kind) {
      try {
        const { items } = await allPages(async (pageToken, pageSize) => {
          const page = await manifests.listResources({ kind, pageToken, pageSize });
          return { items: page.resources, nextPageToken: page.nextPageToken };
        });
        return items;
      } catch (error) {
        // Who may look into one namespace only is told nothing of the others.
        if (OrlojError.from(error).code === Code.PermissionDenied) return [];
        throw error;
      }
    },
  };
}

async function filesCatalog(
  context: Context,
  paths: readonly string[],
  namespace: string | undefined,
): Promise<Catalog> {
  const files = await readManifestFiles(paths, context.host.readInput);
  const { response, manifests } = readOffline(files, { defaultNamespace: namespace ?? "", strict: false });
  if (!response.valid) {
    const errors = response.diagnostics.filter((finding) => finding.severity === "error");
    throw new OrlojError(`the manifests have ${errors.length} ${errors.length === 1 ? "error" : "errors"}`, {
      ...{ reason: "MANIFEST_INVALID", code: Code.InvalidArgument },
      diagnostics: errors,
    });
  }
  const of = (kind: DrawnKind) => manifests.filter((manifest) => manifest.kind === kind);
  return {
    async get(kind, where, name) {
      const found = of(kind).find(({ metadata }) => metadata.namespace === where && metadata.name === name);
      return found && documentOf(found);
    },
    list: async (kind) => of(kind).map(({ metadata }) => metadata),
  };
}

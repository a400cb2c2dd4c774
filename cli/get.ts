// The verb `orloj get`: lists resources of a kind (or of all), or shows one.
// Called by main.ts.
// JSON: one resource with its manifest, or {"items": […]} with the manifests. YAML: the manifests alone, as apply takes them.

import type { Command } from "commander";
import { type Resource, ResourceSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { age, instant, millis, pairs } from "./format.ts";
import { presentable } from "./json_output.ts";
import { kindOf, shortKindOf, splitKindName } from "./kinds.ts";
import { type Listing, type ListOptions, listOptions, print, showListing } from "./listing.ts";
import { collectPairs } from "./options.ts";
import { allPages, ITEMS_MAX } from "./pages.ts";
import { manifestsYaml, manifestYaml } from "./yaml_output.ts";

interface Options extends ListOptions {
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
  readonly label?: Readonly<Record<string, string>>;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  listOptions(
    program
      .command("get")
      .description("List resources of a kind (agents, systems, tools, policies, workflows, all), or show one.")
      .argument("<kind[/name]>", "kind, or kind and name")
      .argument("[name]", "name of one resource")
      .option("-n, --namespace <name>", "namespace (default: default)")
      .option("-A, --all-namespaces", "all namespaces")
      .option("-l, --label <key=value>", "only those with this label; repeatable", collectPairs),
  ).action(async (first: string, second: string | undefined, options: Options) => {
    const { kind, name } = splitKindName(first, second);
    if (name === undefined) return await list(context, kind, options);
    if (options.watch === true || options.label !== undefined) {
      throw new UsageError("--watch and --label are for lists", `orloj get ${kind} --watch, without a name`);
    }
    const { resource } = await context.client.manifests.getResource({
      kind: kindOf(kind),
      namespace: options.namespace ?? "",
      name,
    });
    if (resource === undefined) return;
    if (context.format === "yaml") context.host.out(manifestYaml(resource.manifestJson));
    else if (context.json) context.printJson(presentable(ResourceSchema, resource));
    else print(context, RESOURCES, [resource]);
  });
}

const RESOURCES: Listing<Resource> = {
  what: "resources",
  columns: [
    { header: "KIND", cell: (one) => one.kind },
    { header: "NAMESPACE", cell: (one) => one.namespace },
    { header: "NAME", cell: (one) => one.name },
    { header: "GENERATION", cell: (one) => String(one.generation), sortBy: (one) => Number(one.generation) },
    {
      ...{ header: "UPDATED", moving: true as const },
      cell: (one, nowMs) => age(one.updateTime, nowMs),
      sortBy: (one) => -(millis(one.updateTime) ?? 0),
    },
    { header: "LABELS", cell: (one) => pairs(one.labels) },
    { header: "CREATED", wide: true, cell: (one) => instant(one.createTime) },
    { header: "SET", wide: true, cell: (one) => one.set || "-" },
    { header: "DIGEST", wide: true, cell: (one) => one.digest.replace(/^(sha256:.{12}).*/, "$1") },
  ],
  name: (one) => `${shortKindOf(one.kind)}/${one.name}`,
  json: (one) => presentable(ResourceSchema, one),
  none: "No resources found.",
};

async function list(context: Context, kindName: string, options: Options): Promise<void> {
  const filter = {
    kind: kindName === "all" ? "" : kindOf(kindName),
    namespace: options.allNamespaces ? "" : (options.namespace ?? "default"),
    labels: { ...options.label },
    full: context.json || context.format === "yaml",
  };
  const read = (limit: number, startToken: string) =>
    allPages(
      async (pageToken, pageSize) => {
        const page = await context.client.manifests.listResources({ ...filter, pageToken, pageSize });
        return { items: page.resources, nextPageToken: page.nextPageToken };
      },
      limit,
      undefined,
      startToken,
    );
  if (context.format === "yaml") {
    if (options.watch === true) throw new UsageError("-o yaml is what there is now", "leave --watch away");
    const { items } = await read(options.limit ?? ITEMS_MAX, options.pageToken ?? "");
    return context.host.out(manifestsYaml(items.map(({ manifestJson }) => manifestJson)));
  }
  const listing = {
    ...RESOURCES,
    none: `No resources found${filter.namespace === "" ? "" : ` in namespace ${filter.namespace}`}.`,
    ...(options.allNamespaces ? {} : { next: `orloj get ${kindName} -A, or orloj apply -f FILE` }),
  };
  await showListing(context, listing, options, read);
}

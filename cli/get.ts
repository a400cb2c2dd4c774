// The verb `orloj get`: lists resources of a kind (or of all), or shows one.
// Called by main.ts.
// JSON: one resource with its manifest, or {"items": […]} with the manifests. YAML: the manifests alone, as apply takes them.

import type { Command } from "commander";
import { type Resource, ResourceSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { age, pairs, table } from "./format.ts";
import { presentable } from "./json_output.ts";
import { kindOf, splitKindName } from "./kinds.ts";
import { allPages } from "./pages.ts";
import { manifestsYaml, manifestYaml } from "./yaml_output.ts";

interface Options {
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("get")
    .description("List resources of a kind (agents, systems, tools, policies, workflows, all), or show one.")
    .argument("<kind[/name]>", "kind, or kind and name")
    .argument("[name]", "name of one resource")
    .option("-n, --namespace <name>", "namespace (default: default)")
    .option("-A, --all-namespaces", "all namespaces")
    .action(async (first: string, second: string | undefined, options: Options) => {
      const { kind, name } = splitKindName(first, second);
      if (name === undefined) return list(context, kind, options);
      const { resource } = await context.client.manifests.getResource({
        kind: kindOf(kind),
        namespace: options.namespace ?? "",
        name,
      });
      if (resource === undefined) return;
      if (context.json) context.printJson(presentable(ResourceSchema, resource));
      else if (context.format === "yaml") context.host.out(manifestYaml(resource.manifestJson));
      else printTable(context, [resource]);
    });
}

async function list(context: Context, kindName: string, options: Options): Promise<void> {
  const filter = {
    kind: kindName === "all" ? "" : kindOf(kindName),
    namespace: options.allNamespaces ? "" : (options.namespace ?? "default"),
    full: context.json || context.format === "yaml",
  };
  const { items, more } = await allPages(async (pageToken, pageSize) => {
    const page = await context.client.manifests.listResources({ ...filter, pageToken, pageSize });
    return { items: page.resources, nextPageToken: page.nextPageToken };
  });
  if (context.json) {
    context.printJson({ items: items.map((item) => presentable(ResourceSchema, item)) });
    return;
  }
  if (context.format === "yaml") {
    if (more)
      context.note(`There are more than these ${items.length} resources: narrow them with a kind or a namespace.`);
    return context.host.out(manifestsYaml(items.map(({ manifestJson }) => manifestJson)));
  }
  if (items.length > 0) return printTable(context, items);
  context.note(`No resources found${filter.namespace === "" ? "" : ` in namespace ${filter.namespace}`}.`);
  if (!options.allNamespaces) context.next(`orloj get ${kindName} -A, or orloj apply -f FILE`);
}

function printTable(context: Context, resources: readonly Resource[]): void {
  const nowMs = context.host.clock.now();
  const rows = resources.map((one) => [
    one.kind,
    one.namespace,
    one.name,
    String(one.generation),
    age(one.updateTime, nowMs),
    pairs(one.labels),
  ]);
  context.print(...table(["KIND", "NAMESPACE", "NAME", "GENERATION", "UPDATED", "LABELS"], rows, context.paint));
}

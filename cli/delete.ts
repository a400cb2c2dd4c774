// The verb `orloj delete`: deletes one resource.
// Called by main.ts.
// The server refuses while another resource refers to it (E-RESOURCE-IN-USE, exit 7) unless forced.

import type { Command } from "commander";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { kindOf, splitKindName } from "./kinds.ts";
import { safeLine } from "./sanitize.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("delete")
    .description("Delete one resource. Runs under way keep the specs that they started with.")
    .argument("<kind[/name]>", "kind, or kind and name")
    .argument("[name]", "name")
    .option("-n, --namespace <name>", "namespace (default: default)")
    .option("--force", "delete although other resources refer to it")
    .action(async (first: string, second: string | undefined, options: { namespace?: string; force?: boolean }) => {
      const { kind: kindName, name } = splitKindName(first, second);
      if (name === undefined) throw new UsageError("name the resource", `orloj delete ${kindName} NAME`);
      const kind = kindOf(kindName);
      const namespace = options.namespace ?? "default";
      await context.client.manifests.deleteResource({ kind, namespace, name, force: options.force ?? false });
      if (context.json) context.printJson({ kind, namespace, name, action: "deleted" });
      else context.print(safeLine(`deleted  ${kind}/${namespace}/${name}`));
    });
}

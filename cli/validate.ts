// The verb `orloj validate`: says what apply would say, and stores nothing.
// Called by main.ts. --offline needs no server: then references are looked for in the files alone.
// Findings go to standard output: they are the result. Exit code 1 when apply would refuse.

import type { Command } from "commander";
import { ValidateResponseSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { diagnosticLine, EXIT } from "./failure.ts";
import { presentable } from "./json_output.ts";
import { readManifestFiles } from "./manifest_files.ts";
import { collect } from "./options.ts";

interface Options {
  readonly filename?: string[];
  readonly namespace?: string;
  readonly strict?: boolean;
  readonly offline?: boolean;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("validate")
    .description("Validate manifests as apply would, against the stored resources; store nothing.")
    .option("-f, --filename <path>", "file, folder (recursive) or - for standard input; repeatable", collect)
    .option("-n, --namespace <name>", "namespace of manifests that name none")
    .option("--strict", "treat warnings as errors")
    .option("--offline", "ask no server: references must be met by the files themselves")
    .action(async (options: Options) => {
      const files = await readManifestFiles(options.filename ?? [], context.host.readInput);
      const how = { defaultNamespace: options.namespace ?? "", strict: options.strict ?? false };
      const response = options.offline
        ? (await import("./offline_validation.ts")).validateOffline(files, how)
        : await context.client.manifests.validate({ files, ...how });
      context.exitCode = response.valid ? EXIT.ok : EXIT.failed;
      if (context.json) {
        context.printJson(presentable(ValidateResponseSchema, response));
        return;
      }
      context.print(...response.diagnostics.map(diagnosticLine));
      if (response.valid) context.print(`${files.length} ${files.length === 1 ? "file" : "files"} valid`);
    });
}

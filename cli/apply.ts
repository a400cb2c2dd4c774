// The verb `orloj apply`: stores manifests, all of them or none. Starts nothing.
// Called by main.ts.
// Warnings go to standard error; invalid manifests end with exit code 1 and a line a finding.

import type { Command } from "commander";
import { ApplyResponseSchema, type ApplyResult } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { diagnosticLine } from "./failure.ts";
import { presentable } from "./json_output.ts";
import { readManifestFiles } from "./manifest_files.ts";
import { collect } from "./options.ts";
import { safeLine } from "./sanitize.ts";

interface Options {
  readonly filename?: string[];
  readonly namespace?: string;
  readonly strict?: boolean;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("apply")
    .description("Validate manifests and store them in one transaction: all or none. Starts nothing.")
    .option("-f, --filename <path>", "file, folder (recursive) or - for standard input; repeatable", collect)
    .option("-n, --namespace <name>", "namespace of manifests that name none")
    .option("--strict", "treat warnings as errors")
    .action(async (options: Options) => {
      const files = await readManifestFiles(options.filename ?? [], context.host.readInput);
      const response = await context.client.manifests.apply({
        files,
        defaultNamespace: options.namespace ?? "",
        strict: options.strict ?? false,
      });
      if (context.json) {
        context.printJson(presentable(ApplyResponseSchema, response));
        return;
      }
      context.note(...response.diagnostics.map(diagnosticLine));
      context.print(...response.results.map((result) => resultLine(result, context)), summary(response.results));
      const workflow = response.results.find((result) => result.kind === "WorkflowTemplate");
      if (workflow !== undefined) {
        context.next(safeLine(`orloj invoke ${workflow.name} -n ${workflow.namespace} -p key=value --watch`));
      }
    });
}

function resultLine(result: ApplyResult, context: Context): string {
  const tone = result.action === "unchanged" ? "dim" : "good";
  const name = safeLine(`${result.kind}/${result.namespace}/${result.name}`);
  return `${context.paint(tone, safeLine(result.action).padEnd(10))}  ${name}  generation ${result.generation}`;
}

function summary(results: readonly ApplyResult[]): string {
  const count = (action: string) => results.filter((result) => result.action === action).length;
  return `${count("created")} created, ${count("configured")} configured, ${count("unchanged")} unchanged`;
}

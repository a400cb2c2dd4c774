// The verb `orloj apply`: stores manifests, all of them or none. Starts nothing.
// Called by main.ts.
// Warnings go to standard error; invalid manifests end with exit code 1 and a line a finding.

import type { Command } from "commander";
import { ApplyResponseSchema, type ApplyResult } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { diagnosticLine, UsageError } from "./failure.ts";
import { presentable } from "./json_output.ts";
import { readModelOption, withModel } from "./live_models.ts";
import { type ManifestFile, readManifestFiles } from "./manifest_files.ts";
import { collect } from "./options.ts";
import { safeLine } from "./sanitize.ts";

interface Options {
  readonly filename?: string[];
  readonly namespace?: string;
  readonly strict?: boolean;
  readonly model?: string;
  readonly modelUrl?: string;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("apply")
    .description("Validate manifests and store them in one transaction: all or none. Starts nothing.")
    .option("-f, --filename <path>", "file, folder (recursive) or - for standard input; repeatable", collect)
    .option("-n, --namespace <name>", "namespace of manifests that name none")
    .option("--strict", "treat warnings as errors")
    .option("--model <provider/name>", "send this model in place of every scripted one, such as openai/gpt-5-mini")
    .option("--model-url <url>", "endpoint of --model openai-compatible/NAME")
    .action(async (options: Options) => {
      const files = swapModels(
        await readManifestFiles(options.filename ?? [], context.host.readInput),
        options,
        context,
      );
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

function swapModels(files: ManifestFile[], options: Options, context: Context): ManifestFile[] {
  const { model, modelUrl } = options;
  if (model === undefined && modelUrl === undefined) return files;
  const swapped = withModel(files, readModelOption(model ?? "", modelUrl));
  if (swapped.agents.length === 0) {
    throw new UsageError("--model: no agent in these files has a scripted model", "leave --model away");
  }
  context.note(safeLine(`${model} in place of the scripted model of ${swapped.agents.join(", ")}`));
  return swapped.files;
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

// The verb `orloj apply`: stores manifests, all of them or none, and prunes the set that they are. Starts nothing.
// Called by main.ts.
// Warnings go to standard error; invalid manifests end with exit code 1 and a line a finding.

import type { Command } from "commander";
import {
  ApplyResponseSchema,
  type ApplyResult,
  type PlanApplyResponse,
  PlanApplyResponseSchema,
} from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { diagnosticLine, EXIT, UsageError } from "./failure.ts";
import { presentable } from "./json_output.ts";
import { readModelOption, withModel } from "./live_models.ts";
import { type ManifestFile, readManifestFiles } from "./manifest_files.ts";
import { collect } from "./options.ts";
import { safeLine } from "./sanitize.ts";
import { type SetOptions, setFields, withSetOptions } from "./set_options.ts";

interface Options extends SetOptions {
  readonly filename?: string[];
  readonly namespace?: string;
  readonly strict?: boolean;
  readonly model?: string;
  readonly modelUrl?: string;
  readonly dryRun?: boolean;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  const command = program
    .command("apply")
    .description("Validate manifests and store them in one transaction: all or none. Starts nothing.")
    .option("-f, --filename <path>", "file, folder (recursive) or - for standard input; repeatable", collect)
    .option("-n, --namespace <name>", "namespace of manifests that name none")
    .option("--strict", "treat warnings as errors")
    .option("--model <provider/name>", "send this model in place of every scripted one, such as openai/gpt-5-mini")
    .option("--model-url <url>", "endpoint of --model openai-compatible/NAME")
    .option("--dry-run", "say what would be stored and deleted; store nothing");
  withSetOptions(command).action((options: Options) => apply(context, options));
}

async function apply(context: Context, options: Options): Promise<void> {
  const sets = setFields(options);
  const files = swapModels(await readManifestFiles(options.filename ?? [], context.host.readInput), options, context);
  const request = { files, defaultNamespace: options.namespace ?? "", strict: options.strict ?? false, ...sets };
  if (options.dryRun) return plan(context, await context.client.manifests.planApply(request));
  const response = await context.client.manifests.apply(request);
  if (context.json) {
    context.printJson(presentable(ApplyResponseSchema, response));
    return;
  }
  context.note(...response.diagnostics.map(diagnosticLine));
  context.print(...response.results.map((result) => resultLine(result, context)), summary(response.results));
  const workflow = response.results.find((result) => result.kind === "WorkflowTemplate" && result.action !== "pruned");
  if (workflow !== undefined) {
    context.next(safeLine(`orloj invoke ${workflow.name} -n ${workflow.namespace} -p key=value --watch`));
  }
}

// Exit code 1 when apply would refuse, as apply has for manifests; what hinders is said on standard error.
function plan(context: Context, response: PlanApplyResponse): void {
  const { valid, changes, diagnostics } = response;
  const refused = changes.filter(({ refusal }) => refusal !== "");
  context.exitCode = valid && refused.length === 0 ? EXIT.ok : EXIT.failed;
  if (context.json) {
    context.printJson(presentable(PlanApplyResponseSchema, response));
    return;
  }
  context.note(...diagnostics.map(diagnosticLine));
  if (!valid) {
    context.next("correct the lines above and try again");
    return;
  }
  context.print(...changes.map((one) => resultLine(one, context)), `dry run: ${summary(changes)}; nothing was stored`);
  context.note(...refused.map((change) => safeLine(`apply would refuse: ${change.refusalReason}: ${change.refusal}`)));
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

type Result = Pick<ApplyResult, "kind" | "namespace" | "name" | "action" | "generation">;

function resultLine(result: Result, context: Context): string {
  const tone = result.action === "unchanged" ? "dim" : result.action === "pruned" ? "warn" : "good";
  const name = safeLine(`${result.kind}/${result.namespace}/${result.name}`);
  return `${context.paint(tone, safeLine(result.action).padEnd(10))}  ${name}  generation ${result.generation}`;
}

function summary(results: readonly Result[]): string {
  const count = (action: string) => results.filter((result) => result.action === action).length;
  const more = ["recorded", "pruned"]
    .filter((action) => count(action) > 0)
    .map((action) => `, ${count(action)} ${action}`);
  return `${count("created")} created, ${count("configured")} configured, ${count("unchanged")} unchanged${more.join("")}`;
}

// The verb `orloj diff`: what apply would change, as a unified diff for each resource. The server validates and compares; nothing is stored.
// Called by main.ts.
// Exit code 0: nothing would change; 1: something would; 6: the manifests are invalid; 7: apply would refuse; others as everywhere.

import type { Command } from "commander";
import { type PlanApplyResponse, PlanApplyResponseSchema, type PlannedChange } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { diagnosticLine, EXIT } from "./failure.ts";
import { presentable } from "./json_output.ts";
import { readManifestFiles } from "./manifest_files.ts";
import { collect } from "./options.ts";
import { safeLine } from "./sanitize.ts";
import { type SetOptions, setFields, withSetOptions } from "./set_options.ts";
import type { Tone } from "./style.ts";
import { unifiedDiff } from "./unified_diff.ts";
import { manifestYaml } from "./yaml_output.ts";

interface Options extends SetOptions {
  readonly filename?: string[];
  readonly namespace?: string;
  readonly strict?: boolean;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  const command = program
    .command("diff")
    .description(
      "Show what apply would change on the server; store nothing. Exit 0: nothing, 1: something, above: an error.",
    )
    .option("-f, --filename <path>", "file, folder (recursive) or - for standard input; repeatable", collect)
    .option("-n, --namespace <name>", "namespace of manifests that name none")
    .option("--strict", "treat warnings as errors");
  withSetOptions(command).action(async (options: Options) => {
    const sets = setFields(options);
    const files = await readManifestFiles(options.filename ?? [], context.host.readInput);
    const plan = await context.client.manifests.planApply({
      ...{ files, defaultNamespace: options.namespace ?? "", strict: options.strict ?? false },
      ...sets,
    });
    context.exitCode = exitCodeOf(plan);
    if (context.json) context.printJson(presentable(PlanApplyResponseSchema, plan));
    else show(context, plan);
  });
}

/** What scripts are told: see the file header. */
function exitCodeOf({ valid, changes }: PlanApplyResponse): number {
  if (!valid) return EXIT.refused;
  if (changes.some(({ refusal }) => refusal !== "")) return EXIT.conflict;
  return changes.some(({ action }) => action !== "unchanged") ? EXIT.failed : EXIT.ok;
}

function show(context: Context, { changes, diagnostics }: PlanApplyResponse): void {
  context.note(...diagnostics.map(diagnosticLine));
  for (const change of changes) context.print(...diffLines(change, context));
  const refused = changes.filter(({ refusal }) => refusal !== "");
  context.note(...refused.map((change) => safeLine(`apply would refuse: ${change.refusalReason}: ${change.refusal}`)));
}

function diffLines(change: PlannedChange, context: Context): string[] {
  const { kind, namespace, name, action, generation, currentJson, plannedJson } = change;
  const { paint } = context;
  const key = safeLine(`${kind}/${namespace}/${name}`);
  if (action === "unchanged") return [];
  if (action === "recorded")
    return [paint("busy", `${key}  would be recorded in another set, and is otherwise unchanged`)];
  const yamlOf = (json: string) => (json === "" ? "" : manifestYaml(json));
  const from = currentJson === "" ? "/dev/null" : `${key}  generation ${generation}`;
  const to = plannedJson === "" ? "/dev/null" : `${key}  ${action}`;
  return [
    paint("bold", `--- ${from}`),
    paint("bold", `+++ ${to}`),
    ...unifiedDiff(yamlOf(currentJson), yamlOf(plannedJson)).map((line) => paint(toneOf(line), line)),
  ];
}

function toneOf(line: string): Tone {
  if (line.startsWith("@@")) return "busy";
  return line.startsWith("+") ? "good" : line.startsWith("-") ? "bad" : "plain";
}

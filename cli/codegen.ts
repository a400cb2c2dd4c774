// The verb `orloj codegen`: writes TypeScript types of workflows, for createClient<Workflows>() of the SDK.
// Called by main.ts. Workflows come from a server, or with -f from manifest files; codegen/ makes the text.
// The file is written only when everything before succeeded and it would change. --check writes nothing: exit code 1 when it would.

import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { type GeneratedTypes, generateTypes, type WorkflowSource } from "./codegen/catalog.ts";
import type { Context } from "./context.ts";
import { EXIT, fileErrorWords, UsageError } from "./failure.ts";
import { collect } from "./options.ts";
import { safeLine } from "./sanitize.ts";
import { workflowsOfFiles, workflowsOfServer } from "./workflow_sources.ts";

interface Options {
  readonly out?: string;
  readonly filename?: string[];
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
  readonly check?: boolean;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("codegen")
    .description("Write TypeScript types of workflows: parameters, tags and outputs, for createClient<Workflows>().")
    .option("--out <file>", "file to write (default: standard output)")
    .option(
      "-f, --filename <path>",
      "workflows of manifests instead of a server's: file, folder or -; repeatable",
      collect,
    )
    .option("-n, --namespace <name>", "namespace (default: default); with -f, of manifests that name none")
    .option("-A, --all-namespaces", "the workflows of all namespaces")
    .option("--check", "write nothing; exit code 1 when the file is not what would be written")
    .action(async (options: Options) => {
      if (options.check && options.out === undefined) throw new UsageError("--check needs a file", "pass --out FILE");
      const workflows = await findWorkflows(context, options);
      const generated = generateTypes(workflows);
      if (options.out === undefined) print(context, generated, workflows.length);
      else if (options.check) check(context, options.out, generated);
      else write(context, options.out, generated, workflows.length);
    });
}

async function findWorkflows(context: Context, options: Options): Promise<WorkflowSource[]> {
  const { filename, namespace = "default", allNamespaces = false } = options;
  if (allNamespaces && (filename !== undefined || options.namespace !== undefined)) {
    const other = filename === undefined ? "--namespace" : "-f, which takes every workflow of its files";
    throw new UsageError(`--all-namespaces does not go with ${other}`, "leave one of them out");
  }
  const workflows =
    filename === undefined
      ? await workflowsOfServer(context.client, allNamespaces ? "" : namespace, (line) => context.note(safeLine(line)))
      : await workflowsOfFiles(filename, namespace, context.host.readInput);
  // A file without workflows would take every name away from the code that uses it.
  if (workflows.length > 0) return workflows;
  if (filename !== undefined) throw new UsageError(`there is no WorkflowTemplate in ${filename.join(", ")}`);
  const where = allNamespaces ? "on this server" : `in namespace ${namespace}`;
  throw new UsageError(`there is no workflow ${where}`, "orloj get workflows -A");
}

function print(context: Context, { text, digest }: GeneratedTypes, workflows: number): void {
  if (context.json) context.printJson({ text, workflows, digest });
  else context.host.out(text);
}

function write(context: Context, out: string, { text, digest }: GeneratedTypes, workflows: number): void {
  const changed = readOut(context, out) !== text;
  if (changed) {
    try {
      writeFileSync(resolve(context.host.directory, out), text);
    } catch (error) {
      throw new UsageError(
        `${out} cannot be written: ${fileErrorWords(error)}`,
        "name a file in a folder that is there",
      );
    }
  }
  if (context.json) context.printJson({ file: out, workflows, digest, changed });
  else
    context.print(
      `${out} ${changed ? "written" : "unchanged"}: ${workflows} ${workflows === 1 ? "workflow" : "workflows"}`,
    );
}

function check(context: Context, out: string, { text, digest }: GeneratedTypes): void {
  const found = readOut(context, out);
  const current = found === text;
  context.exitCode = current ? EXIT.ok : EXIT.failed;
  if (context.json) context.printJson({ file: out, digest, current });
  else if (current) context.print(`${out} is current`);
  else context.print(found === undefined ? `${out} is missing` : difference(out, found, text));
  if (!current) context.next("the same command without --check writes it");
}

function difference(out: string, found: string, text: string): string {
  const lines = found.split("\n");
  const wanted = text.split("\n");
  // The line that names the source differs with every change of a workflow, so it tells least.
  const differs = (index: number) =>
    lines[index] !== wanted[index] && wanted[index]?.startsWith("// Source: ") !== true;
  const all = Array.from({ length: Math.max(lines.length, wanted.length) }, (_, index) => index);
  const first = all.find(differs) ?? all.find((index) => lines[index] !== wanted[index]) ?? 0;
  return `${out}:${first + 1} is not current`;
}

function readOut(context: Context, out: string): string | undefined {
  try {
    // git may have checked it out with the line ends of another system.
    return readFileSync(resolve(context.host.directory, out), "utf8").replaceAll("\r\n", "\n");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new UsageError(`${out} cannot be read: ${fileErrorWords(error)}`);
  }
}

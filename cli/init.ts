// The verb `orloj init`: makes a folder from a blueprint, or lists the blueprints.
// Called by main.ts. Asks no server; writes nothing outside the folder that it makes.
// All or none: what was written is removed again when a file cannot be written.

import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { didYouMean } from "../server/manifests/diagnostics.ts";
import { LABEL, LABEL_RULE } from "../server/manifests/fields.ts";
import { type Blueprint, type BlueprintFile, copyBlueprint, listBlueprints } from "./blueprints.ts";
import type { Context } from "./context.ts";
import { fileErrorWords, UsageError } from "./failure.ts";
import { table } from "./format.ts";
import { safeLine } from "./sanitize.ts";

interface Options {
  readonly blueprint: string;
  readonly namespace?: string;
  readonly list?: boolean;
}

const SUMMARY_COLUMNS_MAX = 100;
/** A path that is written as it is, in YAML and in a shell. */
const PLAIN_PATH = /^(?!-)[\p{L}\p{N}_.+/-]+$/u;

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("init")
    .description("Make a folder of manifests from a blueprint; --list shows the blueprints.")
    .argument("[folder]", "folder to make; its last part becomes the namespace")
    .option("-b, --blueprint <name>", "blueprint to start from", "pipeline")
    .option("-n, --namespace <name>", "namespace of the manifests (default: the name of the folder)")
    .option("--list", "list the blueprints, and make nothing")
    .action((folder: string | undefined, options: Options) => {
      if (options.list) listAll(context);
      else make(context, folder, options);
    });
}

function listAll(context: Context): void {
  const blueprints = listBlueprints();
  if (context.json) {
    context.printJson({ items: blueprints.map(({ name, summary }) => ({ name, summary })) });
    return;
  }
  const rows = blueprints.map(({ name, summary }) => [name, summary]);
  context.print(...table(["BLUEPRINT", "WHAT IT SHOWS"], rows, context.paint, SUMMARY_COLUMNS_MAX));
  context.next("orloj init NAME --blueprint BLUEPRINT");
}

function make(context: Context, path: string | undefined, options: Options): void {
  if (path === undefined || path === "") {
    throw new UsageError("init needs the name of a folder to make", "orloj init NAME, or orloj init --list");
  }
  const folder = resolve(context.host.directory, path);
  const shown = relative(context.host.directory, folder) || ".";
  checkPath(shown, path);
  const namespace = options.namespace ?? basename(folder);
  checkNamespace(namespace, options.namespace !== undefined);
  const blueprint = blueprintNamed(options.blueprint);
  const { files, commands } = copyBlueprint(blueprint, shown, namespace);
  checkEmpty(folder, shown);
  writeAll(folder, shown, files);
  const names = files.map(({ name }) => name);
  if (context.json) {
    context.printJson({ folder, blueprint: blueprint.name, namespace, files: names, next: [...commands] });
    return;
  }
  context.print(
    safeLine(`${shown} made from the blueprint ${blueprint.name}, in the namespace ${namespace}: ${names.join(", ")}`),
  );
  context.note(
    safeLine(`Next, with a server and a worker at work (${join(shown, "README.md")} says more):`),
    ...commands.map((command) => `  ${safeLine(command)}`),
  );
}

// Tools that read files name the folder from where the worker runs, and never leave that place.
function checkPath(shown: string, path: string): void {
  const next = "go to the folder above it first, and pass its name alone";
  if (shown.split("/")[0] === "..") throw new UsageError(`${path} lies outside the current folder`, next);
  if (!PLAIN_PATH.test(shown)) throw new UsageError(`"${shown}" would need quotes in manifests and commands`, next);
}

function checkNamespace(name: string, given: boolean): void {
  if (LABEL.test(name)) return;
  const next = given ? "choose another --namespace" : "choose another name, or name the namespace with --namespace";
  throw new UsageError(`"${name.slice(0, 80)}" is no name of a namespace: ${LABEL_RULE}`, next);
}

function blueprintNamed(name: string): Blueprint {
  const blueprints = listBlueprints();
  const found = blueprints.find((blueprint) => blueprint.name === name);
  if (found !== undefined) return found;
  const names = blueprints.map((blueprint) => blueprint.name);
  const hint = didYouMean(name, names);
  const message = `there is no blueprint "${name.slice(0, 80)}"${hint === "" ? "" : ` (${hint})`}`;
  throw new UsageError(message, "orloj init --list");
}

function checkEmpty(folder: string, path: string): void {
  let entries: string[];
  try {
    entries = readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw new UsageError(`${path} cannot be used: ${fileErrorWords(error)}`, "choose another name");
  }
  if (entries.length > 0) throw new UsageError(`${path} is not empty; init overwrites nothing`, "choose another name");
}

function writeAll(folder: string, path: string, files: readonly BlueprintFile[]): void {
  const made: string[] = [];
  try {
    for (const { name, content } of files) {
      const target = join(folder, name);
      makeFolder(dirname(target), made);
      writeFileSync(target, content, { flag: "wx" });
      made.push(target);
    }
  } catch (error) {
    for (const one of made.reverse()) rmSync(one, { recursive: true, force: true });
    throw new UsageError(`${path} cannot be written: ${fileErrorWords(error)}`, "choose another name");
  }
}

// One folder at a time: so what was there before is known, and mkdir's own recursion never ends where a folder can hold none (/proc).
function makeFolder(folder: string, made: string[]): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder), made);
  mkdirSync(folder);
  made.push(folder);
}

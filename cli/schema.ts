// The verb `orloj schema`: JSON Schemas of the manifests, for editors.
// Called by main.ts. Asks no server: the schemas are those of this version of the command.
// Without --out the schema is printed; with it, files are written, and written over.

import { mkdirSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import type { Command } from "commander";
import type { JsonObject } from "../kit/json.ts";
import { schemaOf, schemaOfAny } from "../server/manifests/shapes/kinds.ts";
import { KINDS, type Kind } from "../server/manifests/specs.ts";
import type { Context } from "./context.ts";
import { fileErrorWords, UsageError } from "./failure.ts";
import { kindOf } from "./kinds.ts";
import { safeLine } from "./sanitize.ts";

/** Name of the file for manifests of any kind. */
const ANY_FILE = "orloj.schema.json";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("schema")
    .description("Print the JSON Schema of a kind, or of manifests of any kind; --out writes files for editors.")
    .argument("[kind]", "agent, system, tool, policy or workflow (default: any)")
    .option("--out <folder>", "write one file for each kind and one for all of them")
    .action((word: string | undefined, { out }: { readonly out?: string }) => {
      const kind = word === undefined ? undefined : (kindOf(word) as Kind);
      if (out === undefined) context.printJson(kind === undefined ? schemaOfAny() : schemaOf(kind));
      else write(context, out, kind);
    });
}

function write(context: Context, out: string, only: Kind | undefined): void {
  const folder = resolve(context.host.directory, out);
  const files: readonly (readonly [string, JsonObject])[] = [
    ...(only === undefined ? [[ANY_FILE, schemaOfAny()] as const] : []),
    ...(only === undefined ? KINDS : [only]).map(
      (kind) => [`${kind.toLowerCase()}.schema.json`, schemaOf(kind)] as const,
    ),
  ];
  try {
    mkdirSync(folder, { recursive: true });
    for (const [name, schema] of files) writeFileSync(join(folder, name), `${JSON.stringify(schema, undefined, 2)}\n`);
  } catch (error) {
    throw new UsageError(`${out} cannot be written: ${fileErrorWords(error)}`, "name another folder with --out");
  }
  const shown = files.map(([name]) => relative(context.host.directory, join(folder, name)));
  if (context.json) {
    context.printJson({ items: shown.map((file) => ({ file })) });
    return;
  }
  context.print(...shown.map((file) => safeLine(`written  ${file}`)));
  context.next(safeLine(`put "# yaml-language-server: $schema=${shown[0]}" on top of a manifest`));
}

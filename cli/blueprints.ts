// The blueprints that come with the package: folders of examples/ whose README begins with "# Blueprint NAME: what it shows".
// Called by init.ts. Reads files only; what it gives is text to write elsewhere.
// A blueprint has one namespace in all of its manifests, and names its own folder only as examples/NAME: so a copy of it
// needs no more than another namespace and another path, in manifests, comments and README alike.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, parseAllDocuments } from "yaml";
import { ownPackage } from "./package_root.ts";

/** A blueprint. */
export interface Blueprint {
  /** Name of its folder. */
  readonly name: string;
  /** What it shows, in one line. */
  readonly summary: string;
  /** Its folder. */
  readonly folder: string;
}

/** A file of a copy. */
export interface BlueprintFile {
  /** Path in the folder of the copy. */
  readonly name: string;
  readonly content: Buffer;
}

/** A blueprint as it is written for somebody. */
export interface BlueprintCopy {
  readonly files: readonly BlueprintFile[];
  /** The commands of the README's first block, a line each, without comments. */
  readonly commands: readonly string[];
}

const README = "README.md";
const HEADING = /^# Blueprint ([a-z0-9-]+): (.+)$/m;
const TEXT_FILE = /\.(md|ya?ml)$/;

/** Every blueprint of the package, by name. */
export function listBlueprints(): Blueprint[] {
  const root = ownPackage()?.root;
  if (root === undefined) return [];
  const examples = fileURLToPath(new URL("examples/", root));
  return readdirSync(examples, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
    .flatMap((name) => readBlueprint(name, join(examples, name)) ?? []);
}

/**
 * A copy of a blueprint.
 *
 * @param path      the folder of the copy as commands and manifests name it; it needs no quotes there.
 * @param namespace the namespace of its manifests.
 */
export function copyBlueprint(blueprint: Blueprint, path: string, namespace: string): BlueprintCopy {
  const originals = readFolder(blueprint.folder);
  const own = namespaceOf(originals);
  const files = originals.map(({ name, content }) => {
    if (!TEXT_FILE.test(name)) return { name, content };
    const text = rewrite(content.toString("utf8"), blueprint.name, { path, from: own, to: namespace });
    return { name, content: Buffer.from(name === README ? text.replace(HEADING, `# ${namespace}: $2`) : text) };
  });
  const readme = files.find(({ name }) => name === README)?.content.toString("utf8") ?? "";
  return { files, commands: firstCommands(readme) };
}

function readBlueprint(name: string, folder: string): Blueprint | undefined {
  let readme: string;
  try {
    readme = readFileSync(join(folder, README), "utf8");
  } catch {
    return undefined;
  }
  const [, named, summary] = HEADING.exec(readme) ?? [];
  return named === name && summary !== undefined ? { name, summary, folder } : undefined;
}

function readFolder(folder: string, prefix = ""): BlueprintFile[] {
  return readdirSync(join(folder, prefix), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const name = join(prefix, entry.name);
      return entry.isDirectory() ? readFolder(folder, name) : [{ name, content: readFileSync(join(folder, name)) }];
    });
}

function namespaceOf(files: readonly BlueprintFile[]): string {
  for (const { name, content } of files) {
    if (!/\.ya?ml$/.test(name)) continue;
    const namespace: unknown = parseAllDocuments(content.toString("utf8"))[0]?.getIn(["metadata", "namespace"]);
    if (typeof namespace === "string") return namespace;
  }
  return "default";
}

interface Places {
  readonly path: string;
  readonly from: string;
  readonly to: string;
}

// Text, not documents: comments, order and the shape of a manifest are what a reader learns from.
function rewrite(text: string, blueprint: string, { path, from, to }: Places): string {
  // A name such as 2030 would be a number in YAML.
  const value = typeof parse(to) === "string" ? to : `"${to}"`;
  return text
    .replace(new RegExp(`(?<![\\w./-])examples/${blueprint}(?![\\w-])`, "g"), () => path)
    .replace(new RegExp(`(\\bnamespace: )${from}(?![\\w-])`, "g"), (_, before: string) => `${before}${value}`)
    .replace(new RegExp(`(%% |(?<!\\S)-n )${from}(?![\\w-])`, "g"), (_, before: string) => `${before}${to}`);
}

function firstCommands(readme: string): string[] {
  const block = /^```sh\n([\s\S]*?)^```/m.exec(readme)?.[1] ?? "";
  return block
    .split("\n")
    .map((line) => line.replace(/\s+#.*$/, ""))
    .filter((line) => line !== "");
}

// Finds the manifest files that -f names: files, folders (recursively) and - for standard input; and policy tests.
// Called by apply, validate, codegen and policy test. Reads files only.
// In folders: *.yaml and *.yml, in name order; *.policytest.yaml are policy tests. Hidden entries and node_modules are passed over.

import { type Dirent, readdirSync, readFileSync, statSync } from "node:fs";
import { join, normalize } from "node:path";
import { fileErrorWords, UsageError } from "./failure.ts";

/** A manifest file as it is sent. */
export interface ManifestFile {
  /** As the person named it, or the folder and the path in it. */
  readonly name: string;
  readonly content: string;
}

/** Reads what -f names, in the order given. @throws UsageError when something is missing or nothing is found. */
export async function readManifestFiles(
  paths: readonly string[],
  readInput: () => Promise<string>,
): Promise<ManifestFile[]> {
  if (paths.length === 0) throw new UsageError("no manifest named", "pass -f FILE, -f FOLDER or -f -");
  const files: ManifestFile[] = [];
  for (const path of new Set(paths)) {
    if (path === "-") files.push({ name: "<stdin>", content: await readInput() });
    else files.push(...namesUnder(path, isManifest).map((name) => ({ name, content: read(name) })));
  }
  const unique = [...new Map(files.map((file) => [normalize(file.name), file])).values()];
  if (unique.length === 0) throw new UsageError(`no *.yaml or *.yml under ${paths.join(", ")}`);
  return unique;
}

/** Reads policy tests: files, or those in folders. @throws UsageError when something is missing or nothing is found. */
export function readPolicyTests(paths: readonly string[]): ManifestFile[] {
  const names = new Set(paths.flatMap((path) => namesUnder(path, isPolicyTest)).map((name) => normalize(name)));
  if (names.size === 0) {
    throw new UsageError(`no *.policytest.yaml under ${paths.join(", ")}`, "docs/governance.md says how to write one");
  }
  return [...names].map((name) => ({ name, content: read(name) }));
}

function namesUnder(path: string, wanted: (name: string) => boolean): string[] {
  if (!isFolder(path)) return [path];
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => !entry.name.startsWith(".") && entry.name !== "node_modules")
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => namesOf(join(path, entry.name), entry, wanted));
}

// Links to folders are not followed: a link upwards would never end.
function namesOf(path: string, entry: Dirent, wanted: (name: string) => boolean): string[] {
  if (entry.isDirectory()) return namesUnder(path, wanted);
  return wanted(entry.name) ? [path] : [];
}

function isPolicyTest(name: string): boolean {
  return /\.policytest\.ya?ml$/.test(name);
}

function isManifest(name: string): boolean {
  return /\.ya?ml$/.test(name) && !isPolicyTest(name);
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${fileErrorWords(error)}`);
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${fileErrorWords(error)}`);
  }
}

// The SDK is packed alone: its import closure is its own folder, proto/gen, and three packages.
import { readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
const IMPORT = /^\s*(?:import|export)\b[^"';]*?from\s*"([^"]+)"|^\s*import\s*"([^"]+)"|\bimport\("([^"]+)"\)/gm;

function closure(entry: string): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (file: string) => {
    if (files.has(file)) return;
    files.add(file);
    for (const match of readFileSync(file, "utf8").matchAll(IMPORT)) {
      const name = (match[1] ?? match[2] ?? match[3]) as string;
      if (name.startsWith(".")) visit(join(dirname(file), name));
      else if (!name.startsWith("node:")) packages.add(name.split("/").slice(0, 2).join("/"));
    }
  };
  visit(entry);
  return { files, packages };
}

test("the SDK imports only its folder, generated types and its three packages", () => {
  const { files, packages } = closure(join(ROOT, "sdk/index.ts"));
  const folders = [...files].map((file) => relative(ROOT, file)).filter((file) => !/^(sdk|proto\/gen)\//.test(file));
  expect(folders).toEqual([]);
  expect([...packages].sort()).toEqual(["@bufbuild/protobuf", "@connectrpc/connect", "@connectrpc/connect-node"]);
  const declared = JSON.parse(readFileSync(join(ROOT, "sdk/package.json"), "utf8")) as { dependencies: object };
  expect(Object.keys(declared.dependencies).sort()).toEqual([...packages].sort());
});

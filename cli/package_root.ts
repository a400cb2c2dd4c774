// Where the package that this command belongs to lies, and its version.
// Called by version.ts and blueprints.ts. Reads package.json files only.
// The nearest package.json named orloj upwards from this file, so that a clone and an installed package are alike.

import { readFileSync } from "node:fs";

interface Package {
  /** Folder of its package.json, with a slash at the end. */
  readonly root: URL;
  readonly version: string;
}

/** The package; undefined if its package.json is gone. */
export function ownPackage(): Package | undefined {
  for (let folder = new URL(".", import.meta.url); ; folder = new URL("..", folder)) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL("package.json", folder), "utf8")) as Record<
        string,
        string
      >;
      if (name === "orloj" && version !== undefined) return { root: folder, version };
    } catch {
      // No package.json here; the one above counts.
    }
    if (folder.pathname === "/" || new URL("..", folder).href === folder.href) return undefined;
  }
}

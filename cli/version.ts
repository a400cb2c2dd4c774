// The verb `orloj version`: prints the version of this command.
// Called by main.ts. Asks no server.
// Reads the package.json nearest above this file, so that the clone and the installed package tell the same.

import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { Context } from "./context.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("version")
    .description("Print the version.")
    .action(() => {
      const version = packageVersion();
      if (context.json) context.printJson({ version, node: process.versions.node });
      else context.print(`orloj ${version} (Node ${process.versions.node})`);
    });
}

/** Version of the package that this file belongs to. */
export function packageVersion(): string {
  for (let folder = new URL(".", import.meta.url); ; folder = new URL("..", folder)) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL("package.json", folder), "utf8")) as Record<
        string,
        string
      >;
      if (name === "orloj" && version !== undefined) return version;
    } catch {
      // No package.json here; the one above counts.
    }
    if (folder.pathname === "/" || new URL("..", folder).href === folder.href) return "unknown";
  }
}

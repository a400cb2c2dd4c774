// The verb `orloj version`: prints the version of this command.
// Called by main.ts. Asks no server.
// The clone and the installed package tell the same.

import type { Command } from "commander";
import type { Context } from "./context.ts";
import { ownPackage } from "./package_root.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("version")
    .description("Print the version.")
    .action(() => {
      const version = ownPackage()?.version ?? "unknown";
      if (context.json) context.printJson({ version, node: process.versions.node });
      else context.print(`orloj ${version} (Node ${process.versions.node})`);
    });
}

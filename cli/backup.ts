// The verb `orloj backup`: writes a backup of the embedded database to a file, while its server runs or not.
// Called by main.ts. Asks no server: it goes to the database itself, as the user who owns its files.
// JSON: {"file", "files", "bytes", "fileBytes", "about"}.

import { resolve } from "node:path";
import type { Command } from "commander";
import { careful, careOptions, type HomeOption, mebibytes } from "./care.ts";
import type { Context } from "./context.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("backup")
    .description("Write a backup of the embedded database to a new file; its server may run on.")
    .argument("<file>", "a new file, such as orloj-monday.tar.gz")
    .option("--home <dir>", "home of the server (ORLOJ_HOME, then the nearest .orloj)")
    .action(async (name: string, options: HomeOption) => {
      const file = resolve(context.host.directory, name);
      const { backUp } = await import("../server/embedded_care.ts");
      const { about, files, bytes, fileBytes } = await careful(() => backUp(careOptions(context, options), file));
      if (context.json) return context.printJson({ file, files, bytes, fileBytes, about });
      context.print(`${file}  ${mebibytes(fileBytes)}, ${files} files, PostgreSQL ${about.postgres}, ${about.time}`);
      context.note("Not in it: audit-key.pem, audit-heads.ndjson, and secrets. Keep those of the home apart.");
      context.next(`orloj restore ${name}, on a machine of the same kind`);
    });
}

// The verb `orloj restore`: puts a backup in the place of the embedded database of a stopped server.
// Called by main.ts. What was there is kept under another name.
// JSON: {"about", "former", "applied"}.

import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { careful, careOptions, type HomeOption } from "./care.ts";
import type { Context } from "./context.ts";

interface Options extends HomeOption {
  readonly replace?: boolean;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("restore")
    .description("Put a backup in the place of the embedded database; its server must be stopped.")
    .argument("<file>", "what orloj backup wrote")
    .option("--home <dir>", "home of the server (ORLOJ_HOME, then the nearest .orloj)")
    .option("--replace", "put a database that is there aside")
    .action(async (name: string, options: Options) => {
      const file = resolve(context.host.directory, name);
      const { restore } = await import("../server/embedded_care.ts");
      const care = careOptions(context, options);
      const { about, former, applied } = await careful(() => restore(care, file, options.replace === true));
      if (context.json) return context.printJson({ about, former: former ?? null, applied: [...applied] });
      context.print(`restored the database of ${about.time}, release ${about.release}`);
      if (applied.length > 0) context.print(`applied ${applied.join(", ")}`);
      if (former !== undefined) context.note(`What was there is in ${former}; to go back, move it to its old name.`);
      const heads = join(care.home, "audit-heads.ndjson");
      if (existsSync(heads)) {
        context.note(`${heads} may be ahead of this backup: then the server signs nothing until it is moved away.`);
      }
      context.next("orloj server, then orloj doctor");
    });
}

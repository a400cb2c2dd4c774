// The verb `orloj upgrade`: brings the embedded database of a stopped server to the Postgres and the schema of this release.
// Called by main.ts. A backup, or the old data as it was, is the way back.
// JSON: {"fromMajor", "toMajor", "applied", "backup", "former", "rows"}.

import { resolve } from "node:path";
import type { Command } from "commander";
import { careful, careOptions, type HomeOption } from "./care.ts";
import type { Context } from "./context.ts";

interface Options extends HomeOption {
  readonly programs?: string;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("upgrade")
    .description("Bring the embedded database to this release; its server must be stopped.")
    .option("--home <dir>", "home of the server (ORLOJ_HOME, then the nearest .orloj)")
    .option(
      "--programs <dir>",
      "programs of the Postgres that made the data, where this release brings another major version",
    )
    .action(async (options: Options) => {
      const programs = options.programs === undefined ? undefined : resolve(context.host.directory, options.programs);
      const { upgrade } = await import("../server/embedded_care.ts");
      const { fromMajor, toMajor, applied, backup, former, rows } = await careful(() =>
        upgrade(careOptions(context, options), programs),
      );
      if (context.json) {
        const ways = { backup: backup ?? null, former: former ?? null, rows: rows ?? null };
        return context.printJson({ fromMajor, toMajor, applied: [...applied], ...ways });
      }
      if (rows !== undefined) context.print(`copied ${rows} rows from PostgreSQL ${fromMajor} to ${toMajor}`);
      context.print(applied.length === 0 ? "the schema is that of this release" : `applied ${applied.join(", ")}`);
      if (backup !== undefined)
        context.note(`The way back: orloj restore ${backup} --replace, with the release before.`);
      if (former !== undefined) context.note(`The way back: move ${former} to its old name, with the release before.`);
      context.next("orloj server, then orloj doctor");
    });
}

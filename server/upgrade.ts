// Brings a database to the schema of this release, over a connection of its own that waits as long as a migration takes.
// Called by main.ts at each start, and by cli/migrate.ts as `orloj migrate`.

import { parseArgs } from "node:util";
import { DomainError, messageOf } from "../kit/errors.ts";
import { type Environment, isPostgresUrl, POSTGRES_URL_RULE } from "./config.ts";
import { openDatabase } from "./storage/database.ts";
import { type MigrateOptions, migrate } from "./storage/migrate.ts";

const HELP = `Usage: orloj migrate [options]

Brings a database to the schema of this release; several at once do it once. A server does the same when it starts, unless it was
started with --migrate=check. The embedded Postgres is brought up by its server alone.

Options:
  --database-url URL   Postgres to bring up (ORLOJ_DATABASE_URL)
  --check              change nothing; exit 1 if something is missing
  -h, --help           this text
`;

/**
 * Applies or checks the migrations of a database.
 *
 * @param which how an error calls the database.
 * @returns the names of the migrations that were applied.
 * @throws DomainError CONFIG_INVALID as migrate does; STORAGE_UNAVAILABLE if the database cannot be used.
 */
export async function bringUp(url: string, which: string, mode: MigrateOptions["mode"]): Promise<string[]> {
  const database = openDatabase({ url, poolMax: 1, patient: true });
  try {
    return await migrate(database.db, { mode });
  } catch (error) {
    if (error instanceof DomainError && error.reason !== "STORAGE_UNAVAILABLE") throw error;
    const message = `${which} cannot be used: ${messageOf(error)}; check that it runs and takes this user`;
    throw new DomainError("STORAGE_UNAVAILABLE", message, {}, error);
  } finally {
    await database.close();
  }
}

/** `orloj migrate`. @returns the exit code: 0 done, 1 something is missing or failed, 2 the command line is wrong */
export async function runMigrate(argv: readonly string[], env: Environment): Promise<number> {
  try {
    const text = { type: "string" } as const;
    const { values } = parseArgs({
      args: [...argv],
      options: { "database-url": text, check: { type: "boolean" }, help: { type: "boolean", short: "h" } },
    });
    if (values.help === true) {
      process.stdout.write(HELP);
      return 0;
    }
    const url = values["database-url"] ?? env["ORLOJ_DATABASE_URL"];
    if (url === undefined) return failed("USAGE", "no database: give --database-url or ORLOJ_DATABASE_URL", 2);
    if (!isPostgresUrl(url)) return failed("USAGE", `--database-url: ${POSTGRES_URL_RULE}`, 2);
    const applied = await bringUp(url, "the database", values.check === true ? "check" : "auto");
    process.stdout.write(applied.length === 0 ? "up to date\n" : applied.map((name) => `applied ${name}\n`).join(""));
    return 0;
  } catch (error) {
    if (error instanceof DomainError) return failed(error.reason.replaceAll("_", "-"), error.message, 1);
    return failed("USAGE", `${messageOf(error)}; see orloj migrate --help`, 2);
  }
}

function failed(code: string, message: string, exitCode: number): number {
  process.stderr.write(`error[E-${code}] ${message}\n`);
  return exitCode;
}

// Brings a database to the schema of this release, over a connection of its own that waits as long as a migration takes.
// Called by main.ts at each start, and by cli/migrate.ts as `orloj migrate`.

import { parseArgs } from "node:util";
import { DomainError, messageOf } from "../kit/errors.ts";
import type { Environment } from "./config.ts";
import { databaseUrlOf, isPostgresUrl, POSTGRES_URL_RULE } from "./database_urls.ts";
import { openDatabase } from "./storage/database.ts";
import { type MigrateOptions, migrate } from "./storage/migrate.ts";
import { grantRights, type Roles } from "./storage/rights.ts";
import { isForbidden } from "./storage/sql_errors.ts";

const HELP = `Usage: orloj migrate [options]

Brings a database to the schema of this release; several at once do it once. A server does the same when it starts, unless it was
started with --migrate=check. The embedded Postgres is brought up by its server alone.

With roles it also gives them exactly the rights that they need, so that no server can change or remove what the audit trail has:
run it so at every upgrade, as the owner of the tables, and start the servers as the first role with --migrate=check.

Options:
  --database-url URL      Postgres to bring up (ORLOJ_DATABASE_URL, or the file that ORLOJ_DATABASE_URL_FILE names)
  --server-role NAME      role of the servers: reads and writes, but only adds to the audit trail
  --maintenance-role NAME role of audit retention: removes old audit records, and nothing else
  --check                 change nothing; exit 1 if something is missing
  -h, --help              this text

Examples:
  orloj migrate --database-url postgres://owner@db.example/orloj
  orloj migrate --database-url postgres://owner@db.example/orloj --check
`;

/**
 * Applies or checks the migrations of a database.
 *
 * @param which how an error calls the database.
 * @param roles get their rights afterwards.
 * @returns the names of the migrations that were applied.
 * @throws DomainError CONFIG_INVALID as migrate does; STORAGE_UNAVAILABLE if the database cannot be used.
 */
export async function bringUp(
  url: string,
  which: string,
  mode: MigrateOptions["mode"],
  roles: Roles = {},
): Promise<string[]> {
  const database = openDatabase({ url, poolMax: 1, patient: true });
  try {
    const applied = await migrate(database.db, { mode });
    if (roles.server !== undefined || roles.maintenance !== undefined) await grantRights(database.db, roles);
    return applied;
  } catch (error) {
    if (isForbidden(error)) throw notTheOwner(which, error);
    if (error instanceof DomainError && error.reason !== "STORAGE_UNAVAILABLE") throw error;
    const message = `${which} cannot be used: ${messageOf(error)}; check that it runs and takes this user`;
    throw new DomainError("STORAGE_UNAVAILABLE", message, {}, error);
  } finally {
    await database.close();
  }
}

function notTheOwner(which: string, cause: unknown): DomainError {
  const message = `this user may not change the schema of ${which}: run orloj migrate as the owner of the tables, and the servers with --migrate=check`;
  return new DomainError("CONFIG_INVALID", message, {}, cause);
}

/** `orloj migrate`. @returns the exit code: 0 done, 1 something is missing or failed, 2 the command line is wrong */
export async function runMigrate(argv: readonly string[], env: Environment): Promise<number> {
  try {
    const text = { type: "string" } as const;
    const { values } = parseArgs({
      args: [...argv],
      options: {
        ...{ "database-url": text, "server-role": text, "maintenance-role": text },
        ...{ check: { type: "boolean" }, help: { type: "boolean", short: "h" } },
      },
    });
    if (values.help === true) {
      process.stdout.write(HELP);
      return 0;
    }
    const url = databaseUrlOf("ORLOJ_DATABASE_URL", values["database-url"], env);
    if (url === undefined)
      return failed("USAGE", "no database: give --database-url, ORLOJ_DATABASE_URL, or ORLOJ_DATABASE_URL_FILE", 2);
    if (!isPostgresUrl(url)) return failed("USAGE", `--database-url: ${POSTGRES_URL_RULE}`, 2);
    const { "server-role": server, "maintenance-role": maintenance, check = false } = values;
    const roles = { ...(server !== undefined && { server }), ...(maintenance !== undefined && { maintenance }) };
    const named = Object.values(roles);
    if (check && named.length > 0) return failed("USAGE", "--check changes nothing: leave the roles out", 2);
    if (named.length === 2 && server === maintenance) return failed("USAGE", "name two different roles", 2);
    const applied = await bringUp(url, "the database", check ? "check" : "auto", roles);
    process.stdout.write(applied.length === 0 ? "up to date\n" : applied.map((name) => `applied ${name}\n`).join(""));
    process.stdout.write(named.map((name) => `granted ${name}\n`).join(""));
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

// Once a test run (vitest globalSetup): one Postgres, one migrated template database; at the end the check that nothing is left.
// Uses ORLOJ_TEST_DATABASE_URL (its user needs CREATEDB) or starts the embedded Postgres in a temporary home, without fsync.
// Gives tests `inject("postgres")`; they use testDatabase() of database.ts. A leak or a failed stop fails the run.

import { randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { systemClock } from "../../kit/clock.ts";
import { openDatabase } from "../../server/storage/database.ts";
import { startEmbedded } from "../../server/storage/embedded/start.ts";
import { migrate } from "../../server/storage/migrate.ts";
import { databaseUrl, withAdmin } from "./database.ts";
import { leftFiles, leftProcesses, RUN_MARK } from "./leaks.ts";

/** What tests get of the run's Postgres. */
export interface ProvidedPostgres {
  /** URL of a database that exists, with the right to create others. */
  readonly adminUrl: string;
  readonly template: string;
  /** Prefix of every database of this run. */
  readonly prefix: string;
}

declare module "vitest" {
  export interface ProvidedContext {
    postgres: ProvidedPostgres;
  }
}

/** Starts; the result stops and checks. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const runFolder = await mkdtemp(join(tmpdir(), "orloj-run-"));
  // Postgres may run as another user, who must be able to pass through.
  await chmod(runFolder, 0o711);
  const temporary = join(runFolder, "t");
  await mkdir(temporary);
  await chmod(temporary, 0o711);
  const stopPostgres = await providePostgres(project, runFolder);
  // From here on, so that the Postgres of the run is not taken for one that a test left.
  const outerTmpdir = process.env["TMPDIR"];
  process.env[RUN_MARK] = runFolder;
  process.env["TMPDIR"] = temporary;
  return async () => {
    delete process.env[RUN_MARK];
    if (outerTmpdir === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = outerTmpdir;
    const leaks = await stopPostgres();
    for (const { pid, command, ports } of leftProcesses(runFolder)) {
      leaks.push(
        `process ${pid} still runs${ports.length > 0 ? ` and listens on ${ports.join(", ")}` : ""}: ${command}`,
      );
      process.kill(pid, "SIGKILL");
    }
    for (const name of leftFiles(temporary)) leaks.push(`temporary folder or file was left: ${name}`);
    await rm(runFolder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    if (leaks.length > 0) throw new Error(`the tests left things behind:\n  ${leaks.join("\n  ")}`);
  };
}

async function providePostgres(project: TestProject, runFolder: string): Promise<() => Promise<string[]>> {
  const given = process.env["ORLOJ_TEST_DATABASE_URL"];
  const embedded =
    given !== undefined
      ? undefined
      : await startEmbedded({
          home: join(runFolder, "home"),
          clock: systemClock(),
          log: () => undefined,
          settings: { fsync: "off", synchronous_commit: "off", full_page_writes: "off", max_connections: "200" },
        });
  const adminUrl = given ?? (embedded?.url as string);
  const prefix = `orloj_test_${randomBytes(4).toString("hex")}`;
  const template = `${prefix}_template`;
  await withAdmin(adminUrl, (client) => client.query(`CREATE DATABASE ${template} TEMPLATE template0 ENCODING 'UTF8'`));
  const open = openDatabase({ url: databaseUrl(adminUrl, template), poolMax: 1 });
  await migrate(open.db, { mode: "auto" });
  await open.close();
  project.provide("postgres", { adminUrl, template, prefix });
  return async () => {
    const left = await withAdmin(adminUrl, async (client) => {
      const found = await client.query("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", [prefix]);
      const names = found.rows.map((row: { datname: string }) => row.datname);
      for (const name of names) await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
      return names.filter((name) => name !== template);
    });
    await embedded?.stop();
    return left.map((name) => `database was left: ${name}`);
  };
}

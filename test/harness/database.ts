// A database of its own for each test file, cloned from the migrated template of the run and dropped after the file.
//
//   const database = await testDatabase();                  // top level of a test file, or beforeAll
//   await database.db.selectFrom("run")…                    // Kysely<Database>; database.pool and database.url for the rest
//   const blank = await testDatabase({ migrated: false });  // without tables
//
// The Postgres is real: the embedded one that global_setup.ts started, or that of ORLOJ_TEST_DATABASE_URL.

import { randomBytes } from "node:crypto";
import pg from "pg";
import { inject } from "vitest";
import { type OpenDatabase, openDatabase } from "../../server/storage/database.ts";
import { atEndOfFile } from "./cleanup.ts";

/** An open database and its URL, which processes under test may use too (ORLOJ_DATABASE_URL). */
export interface TestDatabase extends OpenDatabase {
  readonly url: string;
  readonly name: string;
  /** Errors of connections that broke. */
  readonly connectionErrors: Error[];
}

/** Makes a database. poolMax is 5 by default. */
export async function testDatabase(options: { migrated?: boolean; poolMax?: number } = {}): Promise<TestDatabase> {
  const { adminUrl, template, prefix } = inject("postgres");
  const name = `${prefix}_${randomBytes(5).toString("hex")}`;
  const from = options.migrated === false ? "template0" : template;
  await withAdmin(adminUrl, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE ${from}`));
  const url = databaseUrl(adminUrl, name);
  const connectionErrors: Error[] = [];
  const open = openDatabase({
    url,
    poolMax: options.poolMax ?? 5,
    applicationName: "orloj-test",
    onConnectionError: (error) => connectionErrors.push(error),
  });
  atEndOfFile(async () => {
    await open.close();
    await withAdmin(adminUrl, (client) => client.query(`DROP DATABASE ${name} WITH (FORCE)`));
  });
  return { ...open, url, name, connectionErrors };
}

/** The URL of another database of the same server. */
export function databaseUrl(adminUrl: string, name: string): string {
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs fn with a connection to the administration database. */
export async function withAdmin<Result>(adminUrl: string, fn: (client: pg.Client) => Promise<Result>): Promise<Result> {
  const client = new pg.Client({ connectionString: adminUrl, connectionTimeoutMillis: 10_000 });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await fn(client);
  } finally {
    await client.end();
  }
}

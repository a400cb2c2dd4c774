// `orloj migrate`, as an operator runs it before servers that may not change the schema.

import { expect, test } from "vitest";
import { testDatabase } from "../harness/database.ts";
import { runOrloj, startServer } from "../harness/processes.ts";

test("it says what is missing, applies it, and finds nothing left; a server with --migrate check starts then", async () => {
  const { url } = await testDatabase({ migrated: false });
  const missing = await runOrloj(["migrate", "--database-url", url, "--check"]);
  expect(missing).toMatchObject({ code: 1, stdout: "" });
  expect(missing.stderr).toMatch(/^error\[E-CONFIG-INVALID\] the database lacks migrations 0001_/);
  const applied = await runOrloj(["migrate"], { env: { ORLOJ_DATABASE_URL: url } });
  expect(applied).toMatchObject({ code: 0, stderr: "" });
  expect(applied.stdout).toMatch(/^applied 0001_\w+\n(applied \d{4}_\w+\n)+$/);
  expect(await runOrloj(["migrate", "--database-url", url])).toMatchObject({ code: 0, stdout: "up to date\n" });
  const server = await startServer({ databaseUrl: url, args: ["--migrate", "check"] });
  expect(await server.stop()).toMatchObject({ code: 0 });
});

test.for([
  [[], 2, /^error\[E-USAGE\] no database: give --database-url, ORLOJ_DATABASE_URL, or ORLOJ_DATABASE_URL_FILE\n$/],
  [["--chek"], 2, /^error\[E-USAGE\] .*--chek.*; see orloj migrate --help\n$/],
  [["--database-url", "mysql://db"], 2, /^error\[E-USAGE\] --database-url: must begin with postgres:\/\//],
  [
    ["--database-url", "postgres://127.0.0.1:1/no"],
    1,
    /^error\[E-STORAGE-UNAVAILABLE\] the database cannot be used: .*check that/,
  ],
] as const)("orloj migrate %j ends with %i and says why", async ([args, code, stderr]) => {
  const ended = await runOrloj(["migrate", ...args]);
  expect(ended).toMatchObject({ code, stdout: "" });
  expect(ended.stderr).toMatch(stderr);
});

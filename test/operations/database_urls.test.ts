// URLs of databases in files: what counts, and each mistake with the name of the variable and of the file, never with the URL.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readServerConfig } from "../../server/config.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { runOrloj } from "../harness/processes.ts";

const folder = await temporaryFolder("url");
const URL_IN_FILE = "postgres://orloj:hidden-word@db.example/orloj";

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

test("the file is read without the newline at its end; a flag comes before it", () => {
  const env = {
    ORLOJ_DATABASE_URL_FILE: file("url", `${URL_IN_FILE}\n`),
    ORLOJ_MAINTENANCE_DATABASE_URL_FILE: file("maintenance", "postgresql://m@db.example/orloj"),
  };
  expect(readServerConfig([], env)).toMatchObject({
    databaseUrl: URL_IN_FILE,
    maintenanceDatabaseUrl: "postgresql://m@db.example/orloj",
  });
  expect(readServerConfig(["--database-url", "postgres://x/y"], env).databaseUrl).toBe("postgres://x/y");
  expect(readServerConfig([], {}).databaseUrl).toBeUndefined();
});

test.each([
  [{ ORLOJ_DATABASE_URL: "postgres://a/b", ORLOJ_DATABASE_URL_FILE: "f" }, /are both set; keep one/],
  [{ ORLOJ_DATABASE_URL_FILE: join(folder, "none") }, /ORLOJ_DATABASE_URL_FILE: .*none cannot be read: ENOENT/],
  [{ ORLOJ_DATABASE_URL_FILE: file("empty", " \n") }, /ORLOJ_DATABASE_URL_FILE: .*empty is empty/],
  [
    { ORLOJ_DATABASE_URL_FILE: file("wrong", "mysql://hidden-word@h/d") },
    /what .*wrong holds must begin with postgres:/,
  ],
  [{ ORLOJ_MAINTENANCE_DATABASE_URL_FILE: file("alone", URL_IN_FILE) }, /--maintenance-database-url/],
])("%o is refused", (env, message) => {
  let told = "";
  try {
    readServerConfig([], env);
  } catch (error) {
    told = (error as Error).message;
  }
  expect(told).toMatch(message);
  expect(told).not.toContain("hidden-word");
});

test("orloj migrate reads it too", async () => {
  const none = { env: { ORLOJ_DATABASE_URL_FILE: join(folder, "none") } };
  const failed = await runOrloj(["migrate", "--check"], none);
  expect(failed.code).not.toBe(0);
  expect(failed.stderr).toMatch(/CONFIG-INVALID.*none cannot be read/);
});

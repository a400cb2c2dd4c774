// The drill of docs/backup.md: a dump that is taken while a server runs is restored beside, brought up, verified, and worked on.
// With the real pg_dump and pg_restore, where they are there and not older than the Postgres of the tests.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { command } from "../../scripts/command.ts";
import { testDatabase, withAdmin } from "../harness/database.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { runOrloj, type ServerProcess, startServer, startWorker } from "../harness/processes.ts";
import { HELLO } from "./documents.ts";

const folder = await temporaryFolder("backup");

async function orloj(server: ServerProcess | undefined, words: readonly string[], env: Record<string, string> = {}) {
  const { code, stdout, stderr } = await runOrloj(words, { env, ...(server && { server }) });
  expect(code, `${words.join(" ")}\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

const idsOf = (text: string) => [...new Set(text.match(/run_\w+/g) ?? [])].sort();

async function notRun(): Promise<string | undefined> {
  const { code, stdout } = await command("pg_dump", ["--version"]);
  if (code !== 0) return "there is no pg_dump";
  const { adminUrl } = inject("postgres");
  const major = await withAdmin(adminUrl, async (client) => {
    const { rows } = await client.query("SELECT current_setting('server_version_num')::int / 10000 AS major");
    return (rows as { major: number }[])[0]?.major ?? 0;
  });
  const own = Number(/(\d+)\.\d+/.exec(stdout)?.[1]);
  return own < major ? `pg_dump is of ${own}, the Postgres of ${major}` : undefined;
}

test("a dump is restored, verified, and worked on", async () => {
  const why = await notRun();
  if (why !== undefined) return console.log(`pg_dump: not run, ${why}`);
  const key = join(folder, "audit-key.pem");
  const generated = await command("openssl", ["genpkey", "-algorithm", "ed25519", "-out", key]);
  expect(generated.code, generated.output).toBe(0);
  const file = join(folder, "hello.yaml");
  await writeFile(file, HELLO);

  const first = await startServer({ env: { ORLOJ_AUDIT_KEY: key } });
  const worker = await startWorker(first);
  await orloj(first, ["apply", "-f", file]);
  for (let count = 0; count < 3; count += 1) await orloj(first, ["invoke", "hello", "--watch"]);
  const runs = idsOf(await orloj(first, ["runs"]));
  expect(runs).toHaveLength(3);
  const dump = join(folder, "orloj.dump");
  const dumped = await command("pg_dump", ["--format", "custom", "--file", dump, first.databaseUrl ?? ""]);
  expect(dumped.code, dumped.output).toBe(0);
  // What comes after the dump is what a restore loses.
  await orloj(first, ["invoke", "hello", "--watch"]);
  await worker.stop();
  await first.stop();

  const { url } = await testDatabase({ migrated: false });
  const restored = await command("pg_restore", ["--exit-on-error", "--no-owner", "--dbname", url, dump]);
  expect(restored.code, restored.output).toBe(0);
  expect(await orloj(undefined, ["migrate", "--check"], { ORLOJ_DATABASE_URL: url })).toBe("up to date\n");

  const heads = join(first.home, "audit-heads.ndjson");
  expect(await readFile(heads, "utf8")).toContain('"type":"head"');
  const ahead = await startServer({ databaseUrl: url, home: first.home, env: { ORLOJ_AUDIT_KEY: key } });
  await ahead.waitFor(/audit\.head_lost/, 60_000);
  await ahead.stop();

  const second = await startServer({ databaseUrl: url, env: { ORLOJ_AUDIT_KEY: key } });
  expect(idsOf(await orloj(second, ["runs"]))).toEqual(runs);
  const trail = join(folder, "trail.ndjson");
  const publicKey = join(folder, "audit-key.pub.pem");
  await writeFile(trail, await orloj(second, ["audit", "export"]));
  await writeFile(publicKey, await orloj(second, ["audit", "key"]));
  await orloj(undefined, ["audit", "verify", trail, "--public-key", publicKey]);
  const again = await startWorker(second);
  expect(await orloj(second, ["invoke", "hello", "--watch"])).toContain("SUCCEEDED");
  expect(idsOf(await orloj(second, ["runs"]))).toHaveLength(4);
  await again.stop();
  await second.stop();
}, 400_000);

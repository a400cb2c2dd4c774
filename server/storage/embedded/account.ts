// Decides which user runs Postgres and where its files lie when that user is not us: Postgres refuses to run as root.
// Called by start.ts and software.ts. For an ordinary user there is no account and nothing to do.
// Never opens a parent folder of the home to others; puts the data elsewhere instead and says so.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, lchown, mkdir, readdir, readFile, realpath, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DomainError } from "../../../kit/errors.ts";

/** A user of this machine. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** Who runs Postgres, and the folder that holds its files. */
export interface Place {
  /** undefined: ourselves. */
  readonly account: Account | undefined;
  readonly base: string;
}

// In this order when we are root and there is no data yet.
const CANDIDATES = ["postgres", "nobody"];
const ELSEWHERE = "/var/lib/orloj";

/** Folder that holds the files of a home's Postgres; undefined if there is none yet. Makes nothing. */
export async function existingBase(home: string, spare = ELSEWHERE): Promise<string | undefined> {
  const own = await realpath(home).catch(() => undefined);
  return own === undefined ? undefined : basesOf(own, spare).find((base) => existsSync(join(base, "postgres")));
}

// Beside its home, or where it went because nobody but root may enter that.
function basesOf(own: string, spare: string): string[] {
  return [own, join(spare, createHash("sha256").update(own).digest("hex").slice(0, 12))];
}

/** Decides the place for a home, which is made if it does not exist; spare is where the data goes when nobody but root may pass. */
export async function choosePlace(home: string, log: (line: string) => void, spare = ELSEWHERE): Promise<Place> {
  await mkdir(home, { recursive: true, mode: 0o700 });
  const own = await realpath(home);
  if (process.getuid?.() !== 0) return { account: undefined, base: own };
  const bases = basesOf(own, spare);
  const elsewhere = bases[1] as string;
  const existing = bases.find((base) => existsSync(join(base, "postgres")));
  const owner = existing === undefined ? undefined : await ownerOf(join(existing, "postgres"));
  const account = owner ?? (await firstCandidate());
  if (existing !== undefined) return place(account, existing, log);
  if (await canUse(account, dirname(own))) return place(account, own, log);
  log(
    `user ${account.name}, who runs Postgres for root, cannot enter ${dirname(own)}: its data is kept in ${elsewhere}`,
  );
  return place(account, elsewhere, log);
}

async function place(account: Account, base: string, log: (line: string) => void): Promise<Place> {
  await mkdir(base, { recursive: true, mode: 0o711 });
  const { mode } = await stat(base);
  // Others may pass through, not list: what is secret in a home is closed by the mode of its own file.
  if ((mode & 0o011) !== 0o011) await chmod(base, mode | 0o011);
  log(`running as root: Postgres runs as user ${account.name}, its files are in ${join(base, "postgres")}`);
  return { account, base };
}

/** True if the account can enter every folder above the path, and read (a folder: enter) the path itself. */
export async function canUse(account: Account, path: string): Promise<boolean> {
  for (let current = await realpath(path), last = true; ; current = dirname(current), last = false) {
    const { mode, uid, gid } = await stat(current);
    const shift = uid === account.uid ? 6 : gid === account.gid ? 3 : 0;
    const bits = (mode >> shift) & 0o7;
    const file = last && !(await stat(current)).isDirectory();
    if ((bits & (file ? 0o4 : 0o1)) === 0) return false;
    if (dirname(current) === current) return true;
  }
}

/** Makes the account the owner of a path and all below it; links are not followed. */
export async function giveTo(account: Account, path: string): Promise<void> {
  await lchown(path, account.uid, account.gid);
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => []);
  for (const entry of entries) await lchown(join(entry.parentPath, entry.name), account.uid, account.gid);
}

async function ownerOf(path: string): Promise<Account | undefined> {
  const { uid, gid } = await stat(path);
  if (uid === 0) return undefined;
  const known = (await accounts()).find((account) => account.uid === uid);
  return { name: known?.name ?? String(uid), uid, gid };
}

/** The user that runs Postgres for root. @throws DomainError CONFIG_INVALID if there is none. */
export async function firstCandidate(): Promise<Account> {
  const known = await accounts();
  for (const name of CANDIDATES) {
    const account = known.find((entry) => entry.name === name && entry.uid !== 0);
    if (account !== undefined) return account;
  }
  throw new DomainError(
    "CONFIG_INVALID",
    `Postgres does not run as root, and none of the users ${CANDIDATES.join(", ")} exists here; run the server as an ` +
      "ordinary user, add a user postgres, or set ORLOJ_DATABASE_URL",
  );
}

async function accounts(): Promise<Account[]> {
  const text = await readFile("/etc/passwd", "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => {
    const [name, , uid, gid] = line.split(":");
    return name && uid && gid ? [{ name, uid: Number(uid), gid: Number(gid) }] : [];
  });
}

// Puts a backup in the place of an embedded Postgres that does not run. What was there before stays, under another name.
// Called by server/embedded_care.ts, under the lock of the place. Started and looked at by the caller: until then nothing is proven.

import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { DomainError } from "../../../kit/errors.ts";
import { isJsonObject, type Json } from "../../../kit/json.ts";
import { giveTo, type Place } from "./account.ts";
import { readAbout, unpack } from "./archive.ts";
import { BACKUP_FORMAT, type BackupAbout } from "./backup.ts";
import { livePids } from "./ownership.ts";
import { postmasterPid } from "./postmaster.ts";
import { thisPlatform } from "./software.ts";

/** Reads what a backup is. @param major of the programs that are to run it @throws DomainError CONFIG_INVALID for one that cannot run here */
export async function usableBackup(file: string, major: number): Promise<BackupAbout> {
  const about: Json = await readAbout(file);
  if (!isJsonObject(about) || about["format"] !== BACKUP_FORMAT) {
    throw invalid(
      `${file} was written by another release of orloj (format ${JSON.stringify(isJsonObject(about) ? about["format"] : about)}): restore it with that one`,
    );
  }
  const { postgres, platform } = about;
  if (postgres !== major) {
    throw invalid(
      `${file} is of PostgreSQL ${String(postgres)}, this release brings ${major}: restore it with the release that wrote it, then orloj upgrade`,
    );
  }
  if (platform !== thisPlatform()) {
    throw invalid(
      `${file} was written on ${String(platform)}, this is ${thisPlatform()}: restore it on such a machine, then copy with pg_dump`,
    );
  }
  return about as BackupAbout;
}

/** Refuses a place whose Postgres is in use. @throws DomainError CONFIG_INVALID */
export async function requireStopped(base: string): Promise<void> {
  const users = await livePids(base);
  if (users.length > 0) throw invalid(`server ${users.join(", ")} uses the database in ${base}: stop it first`);
  const pid = await postmasterPid(join(base, "postgres"));
  if (pid !== undefined) {
    throw invalid(
      `its Postgres still runs (process ${pid}, left by a server that was killed): start a server and stop it`,
    );
  }
}

/** A data directory that took the place of another one. */
export interface Replaced {
  /** Where the former one is now; undefined if there was none. */
  readonly former?: string;
  /** Puts the former one back, and removes the new one. */
  undo(): Promise<void>;
}

/** Moves a finished data directory into its place. @param stamp part of the name that the former one gets */
export async function putInPlace(fresh: string, data: string, stamp: string): Promise<Replaced> {
  const former = existsSync(data) ? `${data}.before-${stamp}` : undefined;
  if (former !== undefined) await rename(data, former);
  try {
    await rename(fresh, data);
  } catch (error) {
    if (former !== undefined) await rename(former, data);
    throw error;
  }
  return {
    ...(former !== undefined && { former }),
    async undo() {
      await rm(data, { recursive: true, force: true });
      if (former !== undefined) await rename(former, data);
    },
  };
}

/** Unpacks a backup beside its place, for the account that runs Postgres, and puts it there. @throws DomainError CONFIG_INVALID */
export async function restoreBackup(file: string, place: Place, stamp: string): Promise<Replaced> {
  const data = join(place.base, "postgres");
  const fresh = `${data}.restoring`;
  await rm(fresh, { recursive: true, force: true });
  try {
    await unpack(file, fresh);
    if (place.account !== undefined) await giveTo(place.account, fresh);
    return await putInPlace(fresh, data, stamp);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    throw error;
  }
}

function invalid(message: string): DomainError {
  return new DomainError("CONFIG_INVALID", message);
}

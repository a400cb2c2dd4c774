// A backup of an embedded Postgres while it runs: its files, and the log from the begin of the copy to its end.
// Called by server/embedded_care.ts. The way of PostgreSQL's "Making a Base Backup Using the Low Level API": what changes meanwhile is
// made whole again from the log when the backup is started for the first time.
// Holds nothing of the database up but one connection; never changes a row.

import { readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { DomainError, messageOf } from "../../../kit/errors.ts";
import type { JsonObject } from "../../../kit/json.ts";
import { MINUTE, SECOND } from "../../../kit/units.ts";
import { ArchiveWriter } from "./archive.ts";
import { thisPlatform } from "./software.ts";

/** What an archive of a database says of itself. */
export interface BackupAbout extends JsonObject {
  readonly format: number;
  /** Release of Orloj that wrote it. */
  readonly release: string;
  /** Major version of Postgres, such as 18. */
  readonly postgres: number;
  /** Files of one platform are not those of another. */
  readonly platform: string;
  /** RFC 3339. */
  readonly time: string;
  /** The newest migration. */
  readonly schema: string;
}

/** Version of the layout. */
export const BACKUP_FORMAT = 1;

/** What was written. */
export interface BackupResult {
  readonly about: BackupAbout;
  readonly files: number;
  /** Of the files, before they were compressed. */
  readonly bytes: number;
  /** Of the backup. */
  readonly fileBytes: number;
}

// Made anew at each start, or of this machine alone.
const NOT_COPIED = new Set([
  ...["postmaster.pid", "postmaster.opts", "pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial"],
  ...["pg_snapshots", "pg_stat_tmp", "pg_subtrans", "backup_label", "tablespace_map"],
]);
const EMPTY_FOLDERS = [
  ...["pg_wal", "pg_wal/archive_status", "pg_wal/summaries", "pg_replslot", "pg_dynshmem", "pg_notify"],
  ...["pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"],
];
const SEGMENT = /^[0-9A-F]{24}$/;
/** Files of a running postmaster, and caches that it makes anew. */
const NEVER_COPIED = /^(\.s\.PGSQL\.|pg_internal\.init|pgsql_tmp)/;

/**
 * Writes a backup.
 *
 * @param url of the owner of the running Postgres.
 * @param file the new file; whole or not there.
 * @throws DomainError CONFIG_INVALID if the file is there already or cannot be written; STORAGE_UNAVAILABLE for database trouble
 */
export async function writeBackup(of: {
  readonly url: string;
  readonly data: string;
  readonly file: string;
  readonly release: string;
  readonly time: Date;
}): Promise<BackupResult> {
  const { url, data, file, release, time } = of;
  if ((await stat(file).catch(() => undefined)) !== undefined) {
    throw new DomainError("CONFIG_INVALID", `${file} is there already: name a new file`);
  }
  const partial = `${file}.partial`;
  await rm(partial, { force: true });
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 10 * SECOND,
    query_timeout: 5 * MINUTE,
  });
  client.on("error", () => undefined);
  const archive = new ArchiveWriter(partial);
  try {
    await client.connect();
    const { rows } = await client.query<{ major: number; schema: string }>(
      `select current_setting('server_version_num')::integer / 10000 as major,
        (select coalesce(max(name), '') from orloj_migration) as schema`,
    );
    const { major, schema } = rows[0] as { major: number; schema: string };
    const about: BackupAbout = {
      ...{
        format: BACKUP_FORMAT,
        release,
        postgres: major,
        platform: thisPlatform(),
        time: time.toISOString(),
        schema,
      },
    };
    await archive.about(about);
    await copyRunning(client, data, archive);
    const totals = await archive.finish();
    await rename(partial, file);
    return { about, ...totals, fileBytes: (await stat(file)).size };
  } catch (error) {
    archive.abandon();
    await rm(partial, { force: true });
    if (error instanceof DomainError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const reason = code !== undefined && /^E[A-Z]+$/.test(code) ? "CONFIG_INVALID" : "STORAGE_UNAVAILABLE";
    throw new DomainError(reason, `the backup could not be written: ${messageOf(error)}`, {}, error);
  } finally {
    // Its end also ends a backup that was begun, and takes the slot away.
    await client.end().catch(() => undefined);
  }
}

async function copyRunning(client: pg.Client, data: string, archive: ArchiveWriter): Promise<void> {
  if ((await readdir(join(data, "pg_tblspc"))).length > 0) {
    throw new DomainError(
      "CONFIG_INVALID",
      "the database has tablespaces, which this backup does not copy: use pg_basebackup",
    );
  }
  // The slot keeps every segment of the log from now on, until it is copied.
  await client.query("select pg_create_physical_replication_slot('orloj_backup_' || pg_backend_pid(), true, true)");
  const begun = await client.query<{ segment: string }>(
    "select pg_walfile_name(pg_backup_start('orloj backup', true)) as segment",
  );
  for (const folder of EMPTY_FOLDERS) await archive.folder(folder);
  await copyFolder(archive, data, "");
  const ended = await client.query<{ segment: string; labelfile: string }>(
    "select pg_walfile_name(lsn) as segment, labelfile from pg_backup_stop(wait_for_archive => false)",
  );
  const first = begun.rows[0]?.segment ?? "";
  const { segment: last = "", labelfile = "" } = ended.rows[0] ?? {};
  await archive.text("backup_label", labelfile);
  for (const name of (await readdir(join(data, "pg_wal"))).sort()) {
    const wanted = name.endsWith(".history") || (SEGMENT.test(name) && name >= first && name <= last);
    if (!wanted) continue;
    const there = await archive.file(`pg_wal/${name}`, join(data, "pg_wal", name));
    if (!there) throw new DomainError("STORAGE_UNAVAILABLE", `the log segment ${name} is gone: try again`);
  }
}

// The control file comes last: no older one may meet newer files.
async function copyFolder(archive: ArchiveWriter, data: string, folder: string): Promise<void> {
  const entries = await readdir(join(data, folder), { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const late: string[] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (NOT_COPIED.has(name) || NEVER_COPIED.test(entry.name)) continue;
    if (entry.isDirectory()) {
      await archive.folder(name);
      await copyFolder(archive, data, name);
    } else if (entry.isFile()) {
      if (name === "global/pg_control") late.push(name);
      else await archive.file(name, join(data, name));
    }
  }
  for (const name of late) await archive.file(name, join(data, name));
}

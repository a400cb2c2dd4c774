// The measurement of the audit trail: a long trail is written, sealed, signed, exported, and verified without its server; and what
// sealing costs those who write. Called by bench/main.ts over an embedded Postgres with its durable settings.
// Sealer, signing, and export are the server's own code; the check is `orloj audit verify`, a process of its own.

import { createWriteStream } from "node:fs";
import { mkdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Cleanup } from "../demo/fleet.ts";
import type { Clock } from "../kit/clock.ts";
import { MIB } from "../kit/units.ts";
import { publicPem, type SigningKey } from "../server/audit/checkpoint.ts";
import { headSink, loadAuditKey } from "../server/audit_key.ts";
import type { CommandContext } from "../server/commands/context.ts";
import { exportAudit } from "../server/commands/export_audit.ts";
import { HeadKeeper } from "../server/dispatch/head_keeper.ts";
import { Sealer } from "../server/dispatch/sealer.ts";
import { type OpenDatabase, openDatabase } from "../server/storage/database.ts";
import { migrate } from "../server/storage/migrate.ts";
import { createStore, type Store } from "../server/storage/store.ts";
import { createLogger } from "../server/telemetry/log.ts";
import { measureWriting } from "./audit_writers.ts";
import { type Measured, runMeasured } from "./measured_process.ts";

const CHUNK = 50_000;

/** What a long trail took. */
export interface AuditFigures {
  readonly records: number;
  readonly segments: number;
  readonly heads: number;
  readonly seal_s: number;
  readonly export_s: number;
  readonly export_mib: number;
  readonly verify_s: number;
  /** Processor time of it. */
  readonly verify_cpu_s: number;
  /** Peak resident memory of the verifying process; 0 where the system does not tell. */
  readonly verify_rss_mib: number;
  readonly verified_per_s: number;
  readonly commits_per_s: { readonly without_sealer: number; readonly with_sealer: number };
  readonly sealer_costs_percent: number;
}

interface Setting {
  readonly databaseUrl: string;
  /** A folder for the files. */
  readonly home: string;
  readonly records: number;
  /** Of each window in which writers are measured. */
  readonly windowMs: number;
  readonly clock: Clock;
  readonly progress: (line: string) => void;
  readonly cleanup: Cleanup;
}

/** Measures. @throws Error when the trail does not verify, or has not every record */
export async function measureAudit(setting: Setting): Promise<AuditFigures> {
  const { databaseUrl, home, windowMs, clock, progress } = setting;
  const database = openDatabase({ url: databaseUrl, poolMax: 20, patient: true });
  try {
    await migrate(database.db, { mode: "auto" });
    const store = createStore(database.db);
    const context = { store, log: createLogger({ clock, level: "error" }) } as unknown as CommandContext;
    const writing = await measureWriting(store, new Sealer(context, clock), { windowMs, clock, progress });
    await mkdir(home, { recursive: true });
    const key = loadAuditKey(home, undefined);
    const keeper = new HeadKeeper(
      context,
      clock,
      key,
      headSink(home, undefined, () => undefined),
    );
    const sealMs = await writeTrail(setting, database, new Sealer(context, clock), keeper);
    const exported = await exportTrail(setting, store, key);
    const verified = await verifyTrail(setting, key);
    const result = JSON.parse(verified.stdout) as {
      verified: boolean;
      records: number;
      segments: number;
      heads: number;
    };
    if (verified.code !== 0 || !result.verified) throw new Error(`the trail does not verify: ${verified.stdout}`);
    if (result.records < setting.records)
      throw new Error(`${result.records} records of ${setting.records} were verified`);
    const { records, segments, heads } = result;
    return {
      ...{ records, segments, heads, seal_s: seconds(sealMs), ...exported },
      verify_s: seconds(verified.ms),
      verify_cpu_s: seconds(verified.cpuMs),
      verify_rss_mib: Math.round(verified.peakBytes / MIB),
      verified_per_s: Math.round(records / (verified.ms / 1_000)),
      ...writing,
    };
  } finally {
    await database.close();
  }
}

// Chunk by chunk, each signed, as a server that runs for long does it. Returns the time of sealing alone, in ms.
async function writeTrail(
  setting: Setting,
  { pool }: OpenDatabase,
  sealer: Sealer,
  keeper: HeadKeeper,
): Promise<number> {
  const { records, clock, progress } = setting;
  let sealMs = 0;
  for (let written = 0; written < records; written += CHUNK) {
    await pool.query(RECORDS, [written + 1, Math.min(records, written + CHUNK)]);
    const begin = clock.monotonic();
    while ((await sealer.once()) !== "idle");
    sealMs += clock.monotonic() - begin;
    await keeper.look();
    progress(`audit: ${Math.min(records, written + CHUNK)} of ${records} records written, sealed and signed`);
  }
  return sealMs;
}

// One task of four records, over and over, with the members and the lengths that they really have.
const RECORDS = `
  insert into audit_event (kind, namespace, run_id, task_id, actor, on_behalf_of, trace_id, record)
  select kind, 'support', run, task, actor, 'ana@example.com', md5(run), format(detail, actor, n, kind, run, task)
  from generate_series($1::integer, $2::integer) n
    cross join lateral (select 'run_' || md5((n / 12)::text) as run, 'task_' || md5((n / 4)::text) as task) ids
    cross join lateral (select (array['task.leased', 'turn.recorded', 'tool.granted', 'task.succeeded'])[n % 4 + 1] as kind,
      (array['server', 'worker:w1', 'server', 'worker:w1'])[n % 4 + 1] as actor) what
    cross join lateral (select '{"actor":"%1$s","detail":{"agent":"triage","attempt":1,"decision":{"allowed":true,"checkpoint":'
      || '"agent.run","decidedBy":"","inputDigest":"sha256:' || repeat(md5(n::text), 2) || '","nowMs":1767225600000,'
      || '"policyRevision":"17","reason":"allowed","verdicts":[{"digest":"sha256:' || repeat(md5((n % 5)::text), 2)
      || '","generation":3,"mode":"enforce","policy":"support/engineering-only","reason":"allowed"}]},"delivery":1,'
      || '"iteration":0,"node":"triage","number":%2$s},"kind":"%3$s","namespace":"support","runId":"%4$s","taskId":"%5$s"}'
      as detail) body
  order by n`;

async function exportTrail({ home, clock, progress }: Setting, store: Store, key: SigningKey) {
  progress("audit: exporting");
  const file = join(home, "trail.ndjson");
  const begin = clock.monotonic();
  await pipeline(exportAudit(store, key, {}), createWriteStream(file));
  const ms = clock.monotonic() - begin;
  return { export_s: seconds(ms), export_mib: Math.round((await stat(file)).size / MIB) };
}

async function verifyTrail({ home, clock, progress, cleanup }: Setting, key: SigningKey): Promise<Measured> {
  progress("audit: verifying, in a process of its own");
  await writeFile(join(home, "audit-key.pub.pem"), publicPem(key.publicKey));
  const command = join(import.meta.dirname, "../bin/orloj.ts");
  const files = ["trail.ndjson", "--public-key", "audit-key.pub.pem", "--heads", "audit-heads.ndjson"];
  const args = [command, "audit", "verify", ...files, "-o", "json"];
  return await runMeasured({ args, folder: home }, clock, cleanup);
}

function seconds(ms: number): number {
  return Math.round(ms / 100) / 10;
}

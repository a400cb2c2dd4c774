// The database that is tampered with: one connection as its owner, the product's store over it, and its exports.
// Made by campaign.ts. A whole attack is one transaction that is rolled back, so that every attack meets the same trail.
// The transactions of the product run inside of it: its store gets no begin and commit of its own.

import { generateKeyPairSync } from "node:crypto";
import { type SigningKey, signingKey } from "../../server/audit/checkpoint.ts";
import { exportAudit } from "../../server/commands/export_audit.ts";
import { openDatabase } from "../../server/storage/database.ts";
import { Lastly } from "../../server/storage/lastly.ts";
import { createStore, type Store } from "../../server/storage/store.ts";
import { storeBundle, storeRun } from "../commands/stored_run.ts";

/** A statement with its values. */
export type Statement = readonly [text: string, ...values: unknown[]];

/** The audit tables. */
const TABLES = ["audit_event", "audit_segment", "audit_checkpoint", "audit_removal"] as const;

/** Runs that records are of: for each the database adds on whose behalf and in which trace. */
export const RUNS = ["run_a", "run_b", "run_c"] as const;

/** A key as a server makes one. */
export function newKey(): SigningKey {
  const { privateKey } = generateKeyPairSync("ed25519");
  return signingKey(privateKey.export({ type: "pkcs8", format: "pem" }) as string, "tamper");
}

async function valueIn<T>(given: T | Lastly<T>): Promise<T> {
  if (!(given instanceof Lastly)) return given;
  await Promise.all(given.statements);
  return given.value;
}

export type Ground = Awaited<ReturnType<typeof openGround>>;

/** Opens a database that has every migration, and nothing else. */
export async function openGround(url: string) {
  const database = openDatabase({ url, poolMax: 1, patient: true, applicationName: "orloj-tamper" });
  const committing = createStore(database.db);
  const store: Store = {
    ...committing,
    transaction: (fn) => committing.read(async (tx) => valueIn(await fn(tx))),
  };
  const key = newKey();
  const query = (text: string, values: unknown[] = []) => database.pool.query(text, values);
  const guard = (what: "enable" | "disable") => {
    const ids = `alter table audit_event alter column id set generated ${what === "enable" ? "always" : "by default"}`;
    return query([ids, ...TABLES.map((table) => `alter table ${table} ${what} trigger user`)].join("; "));
  };
  const bundle = await storeBundle(committing);
  for (const [index, id] of RUNS.entries()) {
    await storeRun(committing, bundle, { id, requester_id: `person-${index}`, trace_id: `${index}`.repeat(32) });
  }
  return {
    key,
    /** Its transactions commit. */
    committing,
    /** Its transactions are part of the one that is open. */
    store,
    query,
    /** Empties the audit tables and turns their triggers on. */
    async clear(): Promise<void> {
      await guard("disable");
      await query("truncate audit_event, audit_segment, audit_checkpoint restart identity");
      await query(
        "update audit_removal set number = 0, last_id = 0, last_sequence = 0, head = repeat('0', 64), transaction_id = null",
      );
      await guard("enable");
    },
    /** What only the owner may do. */
    disarm: () => guard("disable"),
    /** Burns ids, as transactions that roll back do. */
    async burn(count: number): Promise<void> {
      await query("select nextval(pg_get_serial_sequence('audit_event', 'id')) from generate_series(1, $1::integer)", [
        count,
      ]);
    },
    /** Runs statements and what follows, and takes all of it back. */
    async attacked<Result>(statements: readonly Statement[], then: () => Promise<Result>): Promise<Result> {
      await query("begin");
      try {
        for (const [text, ...values] of statements) await query(text, values);
        return await then();
      } finally {
        await query("rollback");
      }
    },
    /** The lines of a whole export, without line feeds. */
    async lines(): Promise<string[]> {
      const lines: string[] = [];
      for await (const line of exportAudit(store, key, {})) lines.push(line.slice(0, -1));
      return lines;
    },
    close: () => database.close(),
  };
}

// Opens the connection pool and runs transactions; every query of the server goes through what this file makes.
// Called by main (once) and by commands through the store. Outside of transactions queries leave unnamed, so that they
// are planned each time: plans cached while tables were small cost half the throughput. Inside, see pipelined_client.ts; what comes often
// and needs no transaction gets one by atOnce, for its plan.
// Never lets a lost connection end the process: each client has an error listener, idle or not.

import { DummyDriver, Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { assert, DomainError } from "../../kit/errors.ts";
import { MINUTE, SECOND } from "../../kit/units.ts";
import { onTheirWay } from "./lastly.ts";
import { PipelinedClient } from "./pipelined_client.ts";
import type { Database } from "./schema.ts";
import { isStorageDown, toDomainError } from "./sql_errors.ts";

/** Timeouts of every connection, in ms. A lock is given up before its statement, a statement before the driver stops waiting. */
export const TIMEOUTS = {
  connectMs: 5 * SECOND,
  lockMs: 5 * SECOND,
  statementMs: 15 * SECOND,
  idleInTransactionMs: 15 * SECOND,
  answerMs: 20 * SECOND,
  idleClientMs: 5 * MINUTE,
  keepAliveMs: 10 * SECOND,
} as const;

/** Where and how to connect. */
export interface DatabaseOptions {
  /** A postgres:// URL; ?host=/folder for a Unix socket. */
  readonly url: string;
  /** Connections at most; 10 by default. */
  readonly poolMax?: number;
  /** Shown in pg_stat_activity; "orloj" by default. */
  readonly applicationName?: string;
  /** For migrations: waits for answers without limit. */
  readonly patient?: boolean;
  /** Told of each connection that broke, idle or checked out; the pool replaces it. */
  readonly onConnectionError?: (error: Error) => void;
}

/** An open pool. */
export interface OpenDatabase {
  readonly db: Kysely<Database>;
  readonly pool: pg.Pool;
  /** Waits for checked-out connections, then closes all. Safe to call twice. */
  close(): Promise<void>;
}

const PARSERS: ReadonlyMap<number, (text: string) => unknown> = new Map([[pg.types.builtins.INT8, BigInt]]);

/** Column parsers: int8 is a bigint, timestamptz a Date, numeric a string, json and jsonb parsed. */
export const columnTypes: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text" | "binary") =>
    (format !== "binary" && PARSERS.get(oid)) ||
    pg.types.getTypeParser(oid, format as "text")) as typeof pg.types.getTypeParser,
};

// Set by a statement and not by startup parameters, which connection poolers such as PgBouncer refuse.
const SESSION_SETTINGS = `SET statement_timeout = ${TIMEOUTS.statementMs}; SET lock_timeout = ${TIMEOUTS.lockMs};
SET idle_in_transaction_session_timeout = ${TIMEOUTS.idleInTransactionMs}; SET jit = off; SET random_page_cost = 1.1;
SET TIME ZONE 'UTC'; SET default_transaction_isolation = 'read committed'`;

/** Makes a pool; connects only when first used. */
export function openDatabase(options: DatabaseOptions): OpenDatabase {
  const report = options.onConnectionError ?? (() => undefined);
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolMax ?? 10,
    application_name: options.applicationName ?? "orloj",
    connectionTimeoutMillis: TIMEOUTS.connectMs,
    idleTimeoutMillis: TIMEOUTS.idleClientMs,
    query_timeout: options.patient === true ? 0 : TIMEOUTS.answerMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: TIMEOUTS.keepAliveMs,
    types: columnTypes,
    Client: PipelinedClient as unknown as new () => pg.ClientBase,
    onConnect: ((client: pg.ClientBase) => client.query(SESSION_SETTINGS)) as (client: pg.ClientBase) => void,
  });
  pool.on("error", report);
  // The pool listens on idle clients only; an error of a checked-out one would otherwise end the process.
  pool.on("connect", (client) => {
    client.on("error", report);
  });
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
  let closing: Promise<void> | undefined;
  return {
    db,
    pool,
    close: () => {
      closing ??= db.destroy().then(() => (pool.ended || pool.ending ? undefined : pool.end()));
      return closing;
    },
  };
}

// What a transaction is not to open by itself.
const DIALECT = new PostgresDialect({ pool: () => Promise.reject(new Error("a transaction has one connection")) });

// Kysely runs the queries of a transaction one by one. On a pipelined connection they may be under way together, in order. None may
// follow COMMIT.
async function together<DB>(own: Kysely<DB>, isOver: () => boolean): Promise<Kysely<DB>> {
  const executor = own.getExecutor();
  const connection = await executor.provideConnection((taken) => Promise.resolve(taken));
  const pinned = executor.withConnectionProvider({
    provideConnection: (consumer) => {
      assert(!isOver(), "no statement comes after COMMIT");
      return consumer(connection);
    },
  });
  return new Kysely<DB>({
    config: { dialect: DIALECT },
    dialect: DIALECT,
    driver: new DummyDriver(),
    executor: pinned,
  });
}

/**
 * Runs queries in one transaction that they share with nothing else: in one round trip, with COMMIT, and planned once like those of every
 * transaction.
 *
 * @param fn asks for all of them at once; one that follows an answer is refused. @throws what a query throws
 */
export async function atOnce<DB, Result>(db: Kysely<DB>, fn: (own: Kysely<DB>) => Promise<Result>): Promise<Result> {
  let asked: Promise<Result> | undefined;
  let isOver = false;
  try {
    await db.transaction().execute(async (tx) => {
      asked = fn(await together(tx, () => isOver));
      asked.catch(() => undefined);
      await onTheirWay();
      // COMMIT waits for no answer.
      isOver = true;
    });
  } catch (error) {
    // Why Postgres rolled back is what a query says.
    await asked;
    throw error;
  }
  return await (asked as Promise<Result>);
}

/**
 * Runs fn in one READ COMMITTED transaction and maps what it throws.
 *
 * Await nothing but queries of tx inside fn. Queries that are asked for without waiting are sent together, and run in that order; of
 * those that fail, the first tells why. What fn adds to `last` is on its way already, and COMMIT does not wait for it.
 * @throws DomainError of fn unchanged, else as toDomainError says. STORAGE_UNAVAILABLE carries metadata commit=unknown when the
 * connection was lost while committing: the change may have happened, so read back before repeating it.
 */
export async function transaction<DB, Result>(
  db: Kysely<DB>,
  fn: (tx: Kysely<DB>, last: Promise<unknown>[]) => Promise<Result>,
): Promise<Result> {
  const last: Promise<unknown>[] = [];
  let committing = false;
  try {
    return await db.transaction().execute(async (tx) => {
      const result = await fn(await together(tx, () => committing), last);
      committing = true;
      return result;
    });
  } catch (error) {
    // Postgres rolls back at a COMMIT after a statement that failed: why is told there.
    const failed = (await Promise.allSettled(last)).find((one) => one.status === "rejected");
    const cause: unknown = failed === undefined ? error : failed.reason;
    if (!committing || !isStorageDown(cause)) throw toDomainError(cause);
    const message = "the database was lost while committing; whether the change happened is unknown, read it back";
    throw new DomainError("STORAGE_UNAVAILABLE", message, { commit: "unknown" }, cause);
  }
}

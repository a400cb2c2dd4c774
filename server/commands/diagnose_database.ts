// Looks at the database: its release, the schema, how fast it answers, connections, size, vacuum, and its clock.
// Called by diagnose.ts.

import type { Clock } from "../../kit/clock.ts";
import { DAY, SECOND } from "../../kit/units.ts";
import { healthReads } from "../storage/read_health.ts";
import type { Store } from "../storage/store.ts";
import { bytesText, type Finding, fine, type Look, trouble } from "./findings.ts";

/** The oldest Postgres that this release works with. */
const OLDEST = { number: 150_000, name: "15" };
const ROUND_TRIPS = 5;
const SLOW_MS = 20;
const VERY_SLOW_MS = 200;
/** Part of all connections from which on others may find none. */
const CONNECTIONS_PART = 0.8;
const DEAD_ROWS = 100_000;
const VACUUM_DUE_MS = 1 * DAY;
/** Postgres warns at 2^31 - 40 million, and stops writes 3 million before. */
const TRANSACTION_AGE = { warning: 1_000_000_000, error: 1_900_000_000 };
const CLOCK_MS = { warning: 1 * SECOND, error: 10 * SECOND };

/** The looks. */
export function databaseLooks(store: Store, clock: Clock): Look[] {
  return [
    { name: "database", run: () => database(store) },
    { name: "database.migrations", run: () => migrations(store) },
    { name: "database.latency", run: () => latency(store, clock) },
    { name: "database.vacuum", run: () => vacuum(store, clock) },
  ];
}

/** The server's clock beside that of the database: leases expire by the latter, windows and certificates by the former. */
export function clockLook(store: Store, clock: Clock): Look {
  return {
    name: "clock",
    async run() {
      const beforeMs = clock.now();
      const time = await store.read(({ db }) => healthReads(db).time());
      const afterMs = clock.now();
      // The statement was answered somewhere in between.
      const apartMs = Math.max(0, beforeMs - time.getTime(), time.getTime() - afterMs);
      const message = `the clocks of server and database are ${(apartMs / SECOND).toFixed(1)} s apart`;
      if (apartMs < CLOCK_MS.warning) return [fine("clock.database", message)];
      const severity = apartMs < CLOCK_MS.error ? "warning" : "error";
      const nextStep = "let NTP keep the clocks of both machines: certificates, tokens, and time windows follow them";
      return [trouble(severity, "clock.database", { message, nextStep })];
    },
  };
}

async function database(store: Store): Promise<Finding[]> {
  const facts = await store.read(({ db }) => healthReads(db).database());
  const { version, versionNumber, connections, connectionsMax, bytes, transactionAge } = facts;
  const findings: Finding[] = [];
  if (versionNumber < OLDEST.number) {
    const message = `this is PostgreSQL ${version}; Orloj needs ${OLDEST.name} or newer`;
    findings.push(trouble("error", "database.version", { message, nextStep: "upgrade the database" }));
  } else findings.push(fine("database.version", `PostgreSQL ${version}, ${bytesText(bytes)}`));
  const used = `${connections} of ${connectionsMax} connections are open`;
  if (connections < connectionsMax * CONNECTIONS_PART) findings.push(fine("database.connections", used));
  else {
    const nextStep = "raise max_connections, run fewer replicas, or put a pooler in front";
    findings.push(trouble("warning", "database.connections", { message: used, nextStep }));
  }
  if (transactionAge >= TRANSACTION_AGE.warning) {
    const severity = transactionAge < TRANSACTION_AGE.error ? "warning" : "error";
    const message = `the oldest row is ${Math.round(transactionAge / 1e6)} million transactions old: Postgres stops writes at 2,147`;
    const nextStep = "find what holds vacuum back (long transactions, replication slots), then VACUUM (FREEZE)";
    findings.push(trouble(severity, "database.wraparound", { message, nextStep }));
  }
  return findings;
}

async function migrations(store: Store): Promise<Finding[]> {
  const id = "database.migrations";
  const { missing, newer } = await store.read(({ db }) => healthReads(db).migrations());
  if (missing.length > 0) {
    const message = `the database lacks ${missing.join(", ")}`;
    return [
      trouble("error", id, { message, nextStep: "orloj migrate --database-url URL, as the owner of the tables" }),
    ];
  }
  if (newer.length > 0) {
    const message = `the database was brought to a later release (${newer.join(", ")})`;
    return [trouble("warning", id, { message, nextStep: "bring this server to that release too" })];
  }
  return [fine(id, "the schema is that of this release")];
}

async function latency(store: Store, clock: Clock): Promise<Finding[]> {
  const id = "database.latency";
  const times: number[] = [];
  for (let trip = 0; trip < ROUND_TRIPS; trip += 1) {
    times.push(await store.read(({ db }) => healthReads(db).roundTripMs(() => clock.monotonic())));
  }
  const middle = times.sort((a, b) => a - b)[Math.floor(ROUND_TRIPS / 2)] as number;
  const message = `the database answers in ${middle.toFixed(1)} ms`;
  if (middle < SLOW_MS) return [fine(id, message)];
  const nextStep = "put servers and database near each other; look for a busy CPU, a full pool, or a slow disk";
  return [trouble(middle < VERY_SLOW_MS ? "warning" : "error", id, { message, nextStep })];
}

async function vacuum(store: Store, clock: Clock): Promise<Finding[]> {
  const id = "database.vacuum";
  const { facts, tables } = await store.read(async ({ db }) => {
    const reads = healthReads(db);
    return { facts: await reads.database(), tables: await reads.deadRows(DEAD_ROWS) };
  });
  if (!facts.autovacuum) {
    const message = "autovacuum is off: tables and indexes grow without end";
    return [trouble("error", id, { message, nextStep: "set autovacuum = on and reload the configuration" })];
  }
  const due = tables.filter(
    ({ vacuumTime }) => vacuumTime === null || clock.now() - vacuumTime.getTime() > VACUUM_DUE_MS,
  );
  if (due.length === 0) return [fine(id, "autovacuum keeps up")];
  return due.map(({ table, dead, live, vacuumTime }) =>
    trouble("warning", id, {
      subject: table,
      message: `${dead} dead rows beside ${live} live ones; last vacuum: ${vacuumTime?.toISOString() ?? "never"}`,
      nextStep: `VACUUM ${table}; then look for what holds autovacuum back, such as long transactions`,
    }),
  );
}

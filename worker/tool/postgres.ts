// Runs a statement on a Postgres: a connection of its own, a transaction that is read-only unless the tool may write, and one
// prepared statement, of which the protocol takes no second. Called by database.ts.
// Stopping tells the database: a cancel request ends the statement there, not only here. Only a COMMIT that nobody answered is
// ambiguous. Never runs as a superuser, who could leave the database, and never on a control plane's own.
// Never quotes the address; of an error it quotes the message that the database wrote.

import pg from "pg";
import { canonicalJson, type Json } from "../../kit/json.ts";
import type { Redactor } from "../../kit/redactor.ts";
import { MIB, SECOND } from "../../kit/units.ts";
import { type DatabaseMeans, failedRun, type ToolExecution, type ToolRun } from "./executor.ts";
import { type Network, Refused } from "./network.ts";
import { connectionOptions, type PostgresConnection } from "./postgres_connection.ts";
import { decodeValue, LimitedQuery, readTooMuch } from "./postgres_rows.ts";

/** Bytes on the wire for a result of a given size: text, lengths, and column headers. */
const WIRE_BYTES_MORE = 1 * MIB;
/** How long a cancel request may take to get out. */
const CANCEL_MS = 2 * SECOND;
/** How often it is looked at how much has come in, in ms. */
const WATCH_MS = 50;
const MESSAGE_CHARACTERS_MAX = 300;
/** Tables that together only a control plane's database has. */
const OWN_TABLES = ["audit_checkpoint", "node_state", "tool_call", "worker_session"];
const PREAMBLE = `select set_config('orloj.request_id', $1, true), set_config('statement_timeout', $2, true),
  set_config('lock_timeout', $2, true), set_config('standard_conforming_strings', 'on', true),
  current_setting('is_superuser') = 'on' as superuser,
  (select count(distinct relname) from pg_catalog.pg_class where relname = any($3) and relkind in ('r', 'p')) as own`;

interface Progress {
  /** COMMIT left and is not answered. */
  committing: boolean;
  /** Too much came in. */
  tooLarge: boolean;
}

class Forbidden extends Error {}
class Duplicate extends Error {}

/** Runs one statement. */
export async function runPostgres(execution: ToolExecution<DatabaseMeans>, network: Network): Promise<ToolRun> {
  const { means, timeoutMs, resultBytesMax, signal, redactor } = execution;
  let connection: PostgresConnection;
  try {
    connection = connectionOptions(means.place, means.allowPrivateNetwork, network);
  } catch (error) {
    if (error instanceof Refused) return failedRun("RequestInvalid", error.message, false);
    throw error;
  }
  const client = new pg.Client(connection.options);
  const progress: Progress = { committing: false, tooLarge: false };
  const broken = Promise.withResolvers<never>();
  broken.promise.catch(() => {});
  client.on("error", broken.reject);
  let timedOut = false;
  const stop = () => {
    cancelStatement(client, connection, network);
    broken.reject(new Error("stopped"));
  };
  const cancelTimer = network.clock.after(timeoutMs, () => {
    timedOut = true;
    stop();
  });
  signal.addEventListener("abort", stop, { once: true });
  const cancelWatch = watch(connection, network, resultBytesMax + WIRE_BYTES_MORE, () => {
    progress.tooLarge = true;
    stop();
  });
  try {
    return await Promise.race([converse(client, execution, progress), broken.promise]);
  } catch (error) {
    if (signal.aborted) return failedRun("Cancelled", "the call was stopped", progress.committing);
    if (timedOut) {
      return failedRun("Timeout", `the database did not answer within ${timeoutMs} ms`, progress.committing);
    }
    if (progress.tooLarge) return tooLarge(resultBytesMax);
    return classify(error, progress, redactor);
  } finally {
    cancelTimer();
    cancelWatch();
    signal.removeEventListener("abort", stop);
    client.end().catch(() => {});
    connection.socket()?.destroySoon();
  }
}

async function converse(
  client: pg.Client,
  { means, timeoutMs, resultBytesMax }: ToolExecution<DatabaseMeans>,
  progress: Progress,
): Promise<ToolRun> {
  await client.connect();
  await client.query(means.readOnly ? "begin transaction read only" : "begin");
  const { rows } = await client.query<{ superuser: boolean; own: string }>(PREAMBLE, [
    means.requestId,
    `${timeoutMs}ms`,
    OWN_TABLES,
  ]);
  if (rows[0]?.superuser !== false) {
    throw new Forbidden("the tool's database user is a superuser; give the tool a role that may do only what it needs");
  }
  if (Number(rows[0].own) === OWN_TABLES.length) {
    throw new Forbidden("this is the database of a control plane, which no tool may touch");
  }
  const query = new LimitedQuery(means.statement, means.parameters.map(wireParameter), means.rowsMax);
  const result = await query.run(client);
  const names = result.fields.map((field) => field.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new Duplicate(`two columns have the name "${twice}"; name one with AS`);
  const read = result.rows.map((row) =>
    Object.fromEntries(
      result.fields.map((field, index) => [field.name, decodeValue(field.dataTypeID, row[index] ?? null)]),
    ),
  );
  if (readTooMuch(read, resultBytesMax)) return tooLarge(resultBytesMax);
  if (!means.readOnly) {
    progress.committing = true;
    await client.query("commit");
    progress.committing = false;
  }
  const rowCount = result.fields.length === 0 ? result.rowCount : read.length;
  return { ok: true, result: { rows: read, rowCount, ...(result.truncated && { truncated: true }) } };
}

// Postgres reads every type from its text; lists and objects are JSON.
function wireParameter(value: Json): string | null {
  if (value === null || typeof value === "string") return value;
  return canonicalJson(value);
}

function watch(connection: PostgresConnection, network: Network, bytesMax: number, act: () => void): () => void {
  let cancel = () => {};
  const look = () => {
    if ((connection.socket()?.bytesRead ?? 0) > bytesMax) act();
    else cancel = network.clock.after(WATCH_MS, look);
  };
  cancel = network.clock.after(WATCH_MS, look);
  return () => cancel();
}

// By a connection of its own, as the protocol asks, without TLS or login: the key is what a session told its client. The
// statement's own connection is closed by whoever started it; whoever cannot be reached is left to its statement_timeout.
function cancelStatement(client: pg.Client, connection: PostgresConnection, network: Network): void {
  const { processID, secretKey } = client as unknown as { processID: number | null; secretKey: number | null };
  if (processID === null) return;
  const { options, socket } = connection.again();
  const wire = new pg.Client(options).connection as unknown as CancelConnection;
  wire.on("error", () => {});
  wire.once("connect", () => wire.cancel(processID, secretKey));
  wire.connect(options.port as number, options.host as string);
  network.clock.after(CANCEL_MS, () => socket()?.destroy());
}

/** The part of the driver's connection that its types leave out. */
interface CancelConnection {
  on(event: "error", listener: () => void): void;
  once(event: "connect", listener: () => void): void;
  connect(port: number, host: string): void;
  cancel(processId: number, secretKey: number | null): void;
}

function tooLarge(bytesMax: number): ToolRun {
  return failedRun("ResponseTooLarge", `the rows are larger than ${bytesMax} bytes`, false);
}

function classify(error: unknown, { committing }: Progress, redactor: Redactor): ToolRun {
  if (error instanceof Refused) return failedRun("AddressForbidden", error.message, false);
  if (error instanceof Forbidden) return failedRun("DatabaseForbidden", error.message, false);
  if (error instanceof Duplicate) return failedRun("SqlError", error.message, false);
  const code = String((error as { code?: unknown }).code ?? "");
  if (error instanceof pg.DatabaseError) return sqlFailure(code, redactor.text(error.message));
  if (["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA"].includes(code)) {
    return failedRun("DnsError", "the name of the database's host does not resolve", false);
  }
  if (["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"].includes(code)) {
    return failedRun("ConnectionRefused", `the database cannot be reached (${code})`, false);
  }
  return failedRun("ConnectionReset", `the connection to the database broke (${code || "no code"})`, committing);
}

// SQLSTATE classes: PostgreSQL documentation, appendix A. An error of the statement leaves nothing behind.
function sqlFailure(code: string, message: string): ToolRun {
  if (code === "57014") return failedRun("Timeout", "the database ended the statement at its time limit", false);
  if (code === "53300" || code === "57P03") {
    return failedRun("ConnectionRefused", `the database takes no connection now (${code})`, false);
  }
  if (code === "57P01" || code === "57P02") {
    return failedRun("ConnectionReset", `the database ended the connection (${code})`, false);
  }
  if (/^28|^3D/.test(code))
    return failedRun("DatabaseForbidden", `the database refused the tool's user (${code})`, false);
  const said = message.replace(/[\u0000-\u001f\u007f]+/g, " ").slice(0, MESSAGE_CHARACTERS_MAX);
  const conflict = code === "40001" || code === "40P01" || code === "55P03";
  return failedRun(
    conflict ? "SqlConflict" : "SqlError",
    `the database refused the statement (${code}): ${said}`,
    false,
  );
}

// Turns what Postgres and its driver throw into operating errors; the only file that knows SQLSTATE.
// Called by transaction() of database.ts, by store functions and, through isStorageDown, by the coalescers.
// Never sends a driver's text to a caller: it stays the cause, which is logged only.
// Codes: PostgreSQL documentation, Appendix A "PostgreSQL Error Codes".

import { DomainError } from "../../kit/errors.ts";

// 08 connection, 53 insufficient resources, 57P operator intervention, 58 system error, XX001/XX002 corruption.
const DOWN_CODES = /^(08...|53...|57P..|58...|XX00[12]|57014|25006|25P03|28...|3D000)$/;
// 40001 serialization failure, 40P01 deadlock, 55P03 lock not available (lock_timeout); 0A000, 26000 and 42P05: see statement_names.ts.
const RETRY_CODES: ReadonlySet<string> = new Set(["40001", "40P01", "55P03", "0A000", "26000", "42P05"]);
// 22021 byte that the encoding lacks, 22P05 character that has no equivalent: U+0000 and lone surrogates end here.
const TEXT_CODES: ReadonlySet<string> = new Set(["22021", "22P05"]);
const DOWN_ERRNOS: ReadonlySet<string> = new Set([
  "EACCES",
  "EADDRNOTAVAIL",
  "EAI_AGAIN",
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EHOSTUNREACH",
  "EMFILE",
  "ENETUNREACH",
  "ENOENT",
  "ENOTFOUND",
  "EPIPE",
  "ETIMEDOUT",
]);
// The driver gives these no code.
const DOWN_MESSAGES =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end|driver has already been destroyed)/;

// The pool's own, when none of its connections came free; a database that does not answer gets others.
const BUSY_POOL_MESSAGE = "timeout exceeded when trying to connect";

/** SQLSTATE of an error of the server, else undefined. */
export function sqlState(error: unknown): string | undefined {
  const code = codeOf(error);
  return code !== undefined && /^[0-9A-Z]{5}$/.test(code) && "severity" in (error as object) ? code : undefined;
}

/** Name of the constraint that a write broke (class 23), else undefined. */
export function brokenConstraint(error: unknown): string | undefined {
  if (sqlState(error)?.startsWith("23") !== true) return undefined;
  const { constraint } = error as { constraint?: unknown };
  return typeof constraint === "string" ? constraint : "";
}

/** True when the database, not the statement, is at fault: every item of a batch shares the error, so splitting is useless. */
export function isStorageDown(error: unknown): boolean {
  if (error instanceof DomainError) return error.reason === "STORAGE_UNAVAILABLE";
  const state = sqlState(error);
  if (state !== undefined) return DOWN_CODES.test(state);
  if (DOWN_ERRNOS.has(codeOf(error) ?? "")) return true;
  if (error instanceof AggregateError) return error.errors.some(isStorageDown);
  return error instanceof Error && DOWN_MESSAGES.test(error.message);
}

/** True when the role of the connection lacks a right. */
export function isForbidden(error: unknown): boolean {
  return sqlState(error instanceof DomainError ? error.cause : error) === "42501";
}

/** True when the same transaction may succeed if tried again from its start. */
export function isRetryable(error: unknown): boolean {
  if (error instanceof DomainError) return error.reason === "VERSION_CHANGED" && error.metadata["retry"] === "true";
  return RETRY_CODES.has(sqlState(error) ?? "");
}

/**
 * The operating error of anything thrown by a query; a DomainError passes unchanged.
 *
 * STORAGE_UNAVAILABLE: database away, full or shutting down. VERSION_CHANGED with metadata retry=true: deadlock,
 * serialization failure, lock not had in time. REQUEST_INVALID: text that Postgres cannot store.
 * INVARIANT_BROKEN: everything else, with SQLSTATE and constraint as metadata.
 */
export function toDomainError(error: unknown): DomainError {
  if (error instanceof DomainError) return error;
  const state = sqlState(error);
  const metadata: Record<string, string> = state === undefined ? {} : { sqlstate: state };
  if (isStorageDown(error)) {
    const busy = error instanceof Error && error.message.startsWith(BUSY_POOL_MESSAGE);
    const what = busy ? "every database connection of this server is busy" : "the database is unavailable";
    return new DomainError("STORAGE_UNAVAILABLE", `${what}${hint(state)}; try again`, metadata, error);
  }
  if (isRetryable(error)) {
    const message = "another transaction changed the same rows at the same time; try again";
    return new DomainError("VERSION_CHANGED", message, { ...metadata, retry: "true" }, error);
  }
  if (TEXT_CODES.has(state ?? "")) {
    const message = "a text holds a character that cannot be stored (U+0000 or a lone surrogate); remove it";
    return new DomainError("REQUEST_INVALID", message, metadata, error);
  }
  const constraint = brokenConstraint(error);
  if (constraint !== undefined) metadata["constraint"] = constraint;
  const what = constraint ? `constraint ${constraint}` : state === undefined ? "no SQLSTATE" : `SQLSTATE ${state}`;
  return new DomainError("INVARIANT_BROKEN", `invariant broken: a query failed (${what})`, metadata, error);
}

function hint(state: string | undefined): string {
  if (state?.startsWith("28") || state === "3D000") return " (it refused the login: check ORLOJ_DATABASE_URL)";
  if (state === "53100") return " (its disk is full)";
  if (state === "53300") return " (it has no free connection)";
  if (state === "57014") return " (a statement took too long)";
  if (state === "25006") return " (it is read-only, as a standby is)";
  return "";
}

function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

// The process in which a SQLite statement runs: one question on standard input, one answer on standard output.
// Started by sqlite.ts, once for each call. Opens the file as the question says, read-only unless it may write; never another one.
// Bounds rows and bytes while it reads; its parent bounds time and ends it.

import { readFileSync } from "node:fs";
import { DatabaseSync, type SQLInputValue, type SQLOutputValue } from "node:sqlite";
import { canonicalJson, type Json, type JsonObject } from "../../kit/json.ts";

/** What to run. */
export interface SqliteQuestion {
  /** Real path. */
  readonly file: string;
  readonly statement: string;
  readonly parameters: readonly Json[];
  readonly readOnly: boolean;
  readonly requestId: string;
  readonly rowsMax: number;
  /** Largest sum of the rows as JSON. */
  readonly bytesMax: number;
  /** How long it waits for a file that another connection has locked. */
  readonly busyMs: number;
}

/** What came of it. */
export type SqliteAnswer =
  | { readonly ok: true; readonly rows: readonly Json[]; readonly rowCount: number; readonly truncated: boolean }
  /** `code` is SQLite's own, 0 if there is none. */
  | { readonly ok: false; readonly code: number; readonly message: string; readonly tooLarge?: boolean };

/** Room of a value beyond the result, such as for a column that a statement only measures. */
const LENGTH_BYTES_MORE = 1_000_000;
/** Its parent cuts it once more, when secrets are left out. */
const MESSAGE_CHARACTERS_MAX = 20_000;

function answer(question: SqliteQuestion): SqliteAnswer {
  const { file, readOnly, requestId } = question;
  // A value larger than a result may be is not made, and no other file is attached. Node.js 22 knows no limits: there only the
  // parent's bounds hold.
  const limits = { length: question.bytesMax + LENGTH_BYTES_MORE, attach: 0 };
  const options = { readOnly, allowExtension: false, timeout: question.busyMs, limits };
  const database = new DatabaseSync(file, options);
  try {
    // What a statement sorts or keeps aside is memory of this process, which is bounded, and no file on the worker's disk, which is not.
    database.exec("PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY");
    database.function("orloj_request_id", () => requestId);
    if (readOnly) database.exec("PRAGMA query_only = ON");
    return run(database, question);
  } finally {
    database.close();
  }
}

function run(database: DatabaseSync, question: SqliteQuestion): SqliteAnswer {
  const statement = database.prepare(question.statement);
  statement.setReadBigInts(true);
  const values = Object.fromEntries(question.parameters.map((value, index) => [`$${index + 1}`, inputOf(value)]));
  const names = statement.columns().map((column) => column.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined)
    return { ok: false, code: 0, message: `two columns have the name "${twice}"; name one with AS` };
  if (names.length === 0) {
    const { changes } = statement.run(values);
    return { ok: true, rows: [], rowCount: Number(changes), truncated: false };
  }
  const rows: JsonObject[] = [];
  let bytes = 0;
  for (const row of statement.iterate(values)) {
    if (rows.length === question.rowsMax) return { ok: true, rows, rowCount: rows.length, truncated: true };
    const read = Object.fromEntries(names.map((name) => [name, outputOf(row[name] ?? null)]));
    bytes += Buffer.byteLength(canonicalJson(read));
    if (bytes > question.bytesMax) {
      return { ok: false, code: 0, message: `its rows are larger than ${question.bytesMax} bytes`, tooLarge: true };
    }
    rows.push(read);
  }
  return { ok: true, rows, rowCount: rows.length, truncated: false };
}

// SQLite has no boolean, and JSON functions read objects and lists from text.
function inputOf(value: Json): SQLInputValue {
  if (value === null || typeof value === "string") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : value;
  return canonicalJson(value);
}

// Integers beyond what JSON carries exactly are text, as are bytes (base64).
function outputOf(value: SQLOutputValue): Json {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  return value;
}

function main(): void {
  const question = JSON.parse(readFileSync(0, "utf8")) as SqliteQuestion;
  let said: SqliteAnswer;
  try {
    said = answer(question);
  } catch (error) {
    const { errcode, message } = error as { errcode?: number; message?: string };
    said = { ok: false, code: errcode ?? 0, message: String(message).slice(0, MESSAGE_CHARACTERS_MAX) };
  }
  process.stdout.write(JSON.stringify(said));
}

main();

// Runs a statement on a SQLite file, in a process of its own: the library computes in the thread that calls it, and only a
// process can be stopped in the middle. Called by database.ts. The process has no environment.
// A killed process leaves a transaction that SQLite rolls back, unless it had just committed.

import { fileURLToPath } from "node:url";
import { messageOf } from "../../kit/errors.ts";
import { type Json, parseJson } from "../../kit/json.ts";
import type { Redactor } from "../../kit/redactor.ts";
import { KIB } from "../../kit/units.ts";
import type { DatabaseToolOptions } from "./database.ts";
import { type DatabaseMeans, failedRun, type ToolExecution, type ToolFailureClass, type ToolRun } from "./executor.ts";
import { processFailure, runProcess, stderrBytesKept } from "./process.ts";
import type { SqliteAnswer, SqliteQuestion } from "./sqlite_process.ts";
import { insideWorkDir } from "./work_dir.ts";

/** What an answer needs beside the rows. */
const ENVELOPE_BYTES = 64 * KIB;
/** SQLITE_BUSY and SQLITE_LOCKED: another connection had the file, and nothing happened. */
const CONFLICTS = new Set([5, 6]);
const MESSAGE_CHARACTERS_MAX = 300;
/** SQLITE_TOOBIG: a value that is larger than a result may be. */
const TOO_BIG = 18;

/** Runs one statement. */
export async function runSqlite(
  execution: ToolExecution<DatabaseMeans>,
  options: DatabaseToolOptions,
): Promise<ToolRun> {
  const { means, timeoutMs, resultBytesMax, signal, redactor } = execution;
  const file = insideWorkDir(options.workDir, means.place);
  if (file === undefined) {
    return failedRun("WorkDirForbidden", "the file is missing or outside the worker's ORLOJ_WORK_DIR", false);
  }
  const { statement, parameters, readOnly, rowsMax, requestId } = means;
  const bounds = { rowsMax, bytesMax: resultBytesMax, busyMs: timeoutMs };
  const question: SqliteQuestion = { file, statement, parameters, readOnly, requestId, ...bounds };
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const program = fileURLToPath(new URL(`./sqlite_process.${extension}`, import.meta.url));
  const outputBytesMax = resultBytesMax + ENVELOPE_BYTES;
  const end = await runProcess({
    ...{ file: process.execPath, args: ["--no-warnings", "--max-old-space-size=128", program] },
    ...{ cwd: options.workDir, env: {}, stdin: new TextEncoder().encode(JSON.stringify(question)) },
    ...{ timeoutMs, outputBytesMax, stderrBytesMax: stderrBytesKept(redactor), signal },
    ...{ clock: options.clock, memory: options.memory },
  });
  const ambiguous = !readOnly;
  if (end.kind !== "exited") return processFailure("statement", end, { timeoutMs, outputBytesMax }, ambiguous);
  try {
    return answered(parseJson(end.stdout.toString("utf8")) as unknown as SqliteAnswer, redactor);
  } catch (error) {
    return failedRun("ResponseInvalid", `the database's answer cannot be read: ${messageOf(error)}`, ambiguous);
  }
}

function answered(answer: SqliteAnswer, redactor: Redactor): ToolRun {
  if (answer.ok) {
    const { rows, rowCount, truncated } = answer;
    return { ok: true, result: { rows: rows as Json[], rowCount, ...(truncated && { truncated }) } };
  }
  const primary = answer.code & 0xff;
  const tooLarge = answer.tooLarge === true || primary === TOO_BIG;
  const known: ToolFailureClass = tooLarge ? "ResponseTooLarge" : CONFLICTS.has(primary) ? "SqlConflict" : "SqlError";
  return failedRun(
    known,
    `the database refused the statement: ${redactor.text(answer.message).slice(0, MESSAGE_CHARACTERS_MAX)}`,
    false,
  );
}

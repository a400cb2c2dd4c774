// Executes database tools: one statement with parameters, in a transaction of its own, bounded in rows, bytes, and time.
// Called through the executor registry; postgres.ts and sqlite.ts know the two databases.
// The statement is read once more before a driver gets it: a driver that stops after the first of two would hide the second.

import { sqlProblem } from "../../language/sql_statement.ts";
import { type DatabaseMeans, failedRun, type ToolExecutor } from "./executor.ts";
import type { MemoryWatch } from "./memory_watch.ts";
import type { Network } from "./network.ts";
import { runPostgres } from "./postgres.ts";
import { runSqlite } from "./sqlite.ts";

/** What the executor needs. */
export interface DatabaseToolOptions extends Network {
  /** Directory that SQLite files must lie in. */
  readonly workDir: string;
  /** Bounds the memory of a SQLite statement; absent: nothing does. */
  readonly memory?: MemoryWatch;
}

/** See the file header. */
export function createDatabaseExecutor(options: DatabaseToolOptions): ToolExecutor<DatabaseMeans> {
  return {
    async run(execution) {
      if (execution.signal.aborted) return failedRun("Cancelled", "the call was stopped", false);
      const { driver, statement, readOnly, parameters } = execution.means;
      const problem = sqlProblem(statement, { driver, readOnly, parameters: parameters.length });
      if (problem !== undefined) return failedRun("RequestInvalid", `the statement is not run: ${problem}`, false);
      if (driver === "sqlite") return await runSqlite(execution, options);
      return await runPostgres(execution, options);
    },
  };
}

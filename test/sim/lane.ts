// One lane of the simulator, on a thread of its own: the world in memory, or the SQL layer, for so many histories of one seed.
// Started by main.ts, which adds up what lanes report. A thread has its own Date, whose clock the SQL lane makes wrong.

import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type SearchReport, search } from "./search.ts";
import { searchSql } from "./search_sql.ts";

/** What a lane does. */
export type LaneTask =
  | { readonly layer: "memory"; readonly seed: number; readonly histories: number; readonly path?: string }
  | {
      readonly layer: "sql";
      readonly seed: number;
      readonly histories: number;
      readonly path?: string;
      readonly url: string;
      readonly timeMs: number;
    };

/** Runs a lane on a thread. */
export function runLane(task: LaneTask): Promise<SearchReport> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL(import.meta.url), { workerData: task });
    thread.once("message", resolve);
    thread.once("error", reject);
    thread.once("exit", (code) => reject(new Error(`a lane ended with ${code} and no report`)));
  });
}

if (!isMainThread) {
  const task = workerData as LaneTask;
  parentPort?.postMessage(task.layer === "memory" ? search(task) : await searchSql(task));
}

// The options of a worker as `orloj worker` takes them: from the environment, and from what a server left in ORLOJ_HOME.
// Called by programs that embed a worker with handlers of their own, and by nobody in the library itself.
// Its log goes to standard error, one line an event.

import { systemClock } from "../kit/clock.ts";
import { type Environment, readConfig } from "./config.ts";
import { createLog } from "./log.ts";
import type { WorkerOptions } from "./worker.ts";

/**
 * Options for createWorker: `createWorker({ ...workerOptions(process.env), handlers })`. docs/configuration.md lists the variables.
 *
 * @throws DomainError CONFIG_INVALID that says which variable to change.
 */
export function workerOptions(env: Environment): WorkerOptions {
  const { worker, logLevel, logFormat } = readConfig([], env);
  const write = (line: string) => void process.stderr.write(line);
  return { ...worker, log: createLog({ format: logFormat, level: logLevel, clock: systemClock(), write }) };
}

// The library: a worker inside another Node program.
// Imported as orloj/worker, and by main.ts.
// Never reads the environment (but workerOptions, which is told to), and handles no signals: the program that embeds it does.

import { systemClock } from "../kit/clock.ts";
import { systemRandom } from "../kit/random.ts";
import { assembleWorker, type Worker, type WorkerOptions } from "./worker.ts";

export { DomainError } from "../kit/errors.ts";
export type { Json, JsonObject } from "../kit/json.ts";
export { workerOptions } from "./from_environment.ts";
export type { Handler, HandlerAgent, HandlerContext, Handlers, HandlerTask, OfferedTool } from "./handler/context.ts";
export { AgentError, type AgentErrorOptions, ToolError } from "./handler/errors.ts";
export type { Log, LogFields, LogLevel } from "./log.ts";
export type { ClientTlsFiles } from "./session/client_tls.ts";
export type { Worker, WorkerOptions } from "./worker.ts";

/**
 * A worker that runs agents for a control plane; nothing runs before start().
 *
 * @throws DomainError CONFIG_INVALID for options that cannot work.
 */
export function createWorker(options: WorkerOptions): Worker {
  return assembleWorker(options, systemClock(), systemRandom());
}

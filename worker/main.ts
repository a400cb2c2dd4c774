// The worker process: reads the configuration, runs a worker until a signal, and says how it ended by its exit code.
// Called by bin/orloj.ts. The ready line goes to stdout, so that scripts can wait for it; everything else to stderr.
// First SIGTERM or SIGINT: finish politely. Second: end at once.

import { systemClock } from "../kit/clock.ts";
import { DomainError, messageOf } from "../kit/errors.ts";
import { escapeControls } from "../kit/log_text.ts";
import { onStopSignals, outliveClosedOutput } from "../kit/stop_signals.ts";
import { type Environment, readConfig, WORKER_HELP, type WorkerConfig } from "./config.ts";
import { createWorker } from "./index.ts";
import { createLog } from "./log.ts";
import type { Worker } from "./worker.ts";

/** Ended politely. */
const EXIT_OK = 0;
/** Refused by the server, or ended by a second signal. */
const EXIT_FAILED = 1;
/** Flags or environment are wrong. */
const EXIT_USAGE = 2;

/** Runs a worker; resolves with the exit code. */
export async function runWorker(argv: readonly string[], env: Environment): Promise<number> {
  outliveClosedOutput();
  let config: WorkerConfig;
  let worker: Worker;
  try {
    config = readConfig(argv, env);
    if (config.help) {
      process.stdout.write(WORKER_HELP);
      return EXIT_OK;
    }
    worker = build(config);
  } catch (error) {
    tellError(error);
    return EXIT_USAGE;
  }
  return await runUntilSignal(worker);
}

function build({ worker, logLevel, logFormat }: WorkerConfig): Worker {
  const log = createLog({
    format: logFormat,
    level: logLevel,
    clock: systemClock(),
    write: (line) => void process.stderr.write(line),
  });
  return createWorker({
    ...worker,
    log,
    onReady: (sessionId) => {
      process.stdout.write(`worker ${worker.name} ready (session ${sessionId}, ${worker.slots} slots)\n`);
    },
  });
}

async function runUntilSignal(worker: Worker): Promise<number> {
  let aborted = false;
  const stopListening = onStopSignals(
    systemClock(),
    () => void worker.stop(),
    () => {
      aborted = true;
      worker.abort();
    },
  );
  try {
    await worker.start();
    await worker.ended;
    return aborted ? EXIT_FAILED : EXIT_OK;
  } catch (error) {
    tellError(error);
    return error instanceof DomainError && error.reason === "CONFIG_INVALID" ? EXIT_USAGE : EXIT_FAILED;
  } finally {
    stopListening();
  }
}

// What the server says of a refusal comes from outside.
function tellError(error: unknown): void {
  process.stderr.write(`error[${codeOf(error)}]: ${escapeControls(messageOf(error))}\n`);
}

function codeOf(error: unknown): string {
  return error instanceof DomainError ? `E-${error.reason.replaceAll("_", "-")}` : "E-INTERNAL";
}

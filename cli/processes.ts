// Starts a process, waits for the line in which it says that it is ready, and stops it.
// Called by dev_fleet.ts and by demo/fleet.ts, for the server and the workers.
// Never leaves a process behind: a stop that is not heeded ends with SIGKILL.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Clock } from "../kit/clock.ts";
import { SECOND } from "../kit/units.ts";

const READY_MS = 60 * SECOND;
const STOP_MS = 15 * SECOND;
/** Lines that are kept to explain a start that failed. */
const TAIL_LINES_MAX = 30;

/** How to start a process. */
export interface Launch {
  /** For messages, such as "server". */
  readonly name: string;
  /** Arguments of this Node. */
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** What the ready line looks like. */
  readonly ready: RegExp;
  /** In a process group of its own: Ctrl-C in the terminal does not reach it, so whoever started it says in which order things end. */
  readonly detached?: boolean;
  /** Called with each line that it writes. */
  readonly onLine?: (line: string) => void;
}

/** A running process. */
export interface Running {
  readonly pid: number;
  /** The match of the ready line. */
  readonly match: RegExpExecArray;
  /** The last lines that it wrote besides its ready line, oldest first. */
  readonly tail: readonly string[];
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
}

/**
 * Starts a process and waits until it is ready; rejects with its last lines when it ends or says nothing.
 *
 * @param onStart gets the way to stop it at once, so that an interrupt during the start finds it too.
 */
export async function launch(
  options: Launch,
  clock: Clock,
  onStart: (stop: () => Promise<void>) => void,
): Promise<Running> {
  const child = spawn(process.execPath, options.args, {
    ...{ env: options.env, stdio: ["ignore", "pipe", "pipe"] },
    detached: options.detached === true,
  });
  const exited = new Promise<void>((done) => {
    child.once("exit", () => done());
    child.once("error", () => done());
  });
  const stop = () => stopChild(child, exited, clock);
  onStart(stop);
  const tail: string[] = [];
  const deadline = new AbortController();
  try {
    const match = await new Promise<RegExpExecArray>((ready, failed) => {
      const onLine = (line: string) => {
        options.onLine?.(line);
        const found = options.ready.exec(line);
        if (found !== null) ready(found);
        else if (tail.push(line) > TAIL_LINES_MAX) tail.shift();
      };
      for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on("line", onLine);
      const why = (text: string) => new Error(`the ${options.name} ${text}\n${tail.join("\n")}`);
      child.once("error", (error) => failed(why(`could not be started: ${error.message}`)));
      child.once("close", (code, signal) => failed(why(`ended before it was ready (${signal ?? code})`)));
      const cancel = clock.after(READY_MS, () => failed(why(`was not ready within ${READY_MS / SECOND} s`)));
      deadline.signal.addEventListener("abort", cancel, { once: true });
    });
    return { pid: child.pid as number, match, tail, ended: exited };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    deadline.abort();
  }
}

async function stopChild(child: ChildProcess, exited: Promise<void>, clock: Clock): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGTERM");
  const patience = new AbortController();
  await Promise.race([exited, clock.sleep(STOP_MS, patience.signal)]);
  patience.abort();
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  await exited;
}

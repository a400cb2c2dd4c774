// Runs one process for a call: without a shell, in a group of its own, with exactly the environment that it is given.
// The whole group is ended when the call ends, whatever the reason: a grandchild does not outlive its call.
// Called by command.ts and sqlite.ts. Bounded in time and output; stopped by SIGTERM, then SIGKILL. Never logs.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import type { Clock } from "../../kit/clock.ts";
import type { Redactor } from "../../kit/redactor.ts";
import { KIB, SECOND } from "../../kit/units.ts";
import { failedRun, type ToolRun } from "./executor.ts";
import type { MemoryWatch } from "./memory_watch.ts";

/** Between SIGTERM and SIGKILL of a group that is to end. */
export const KILL_GRACE_MS = 2 * SECOND;
const STDERR_CHARACTERS_TOLD = 1 * KIB;
/** Longest form of a secret that is still known as one where the output was cut; UTF-8 takes at most three bytes a character. */
const SECRET_CHARACTERS_CUT = 16 * KIB;

/** A process to run. */
export interface ProcessRun {
  /** Absolute path. */
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Absent: standard input is empty. */
  readonly stdin?: Uint8Array;
  readonly timeoutMs: number;
  /** Largest standard output. */
  readonly outputBytesMax: number;
  /** How much of the end of standard error is kept. */
  readonly stderrBytesMax: number;
  /** Takes what comes on standard error; absent: nobody reads it before the end. */
  readonly onStderr?: (chunk: Buffer) => void;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** Bounds the memory of the group; absent: nothing does. */
  readonly memory?: MemoryWatch | undefined;
}

/** How a process ended. */
export type ProcessEnd =
  | { readonly kind: "exited"; readonly code: number; readonly stdout: Buffer; readonly stderr: Buffer }
  | { readonly kind: "signalled"; readonly signal: string }
  | { readonly kind: "stopped"; readonly reason: "Timeout" | "Cancelled" | "OutputTooLarge" | "MemoryExceeded" }
  | { readonly kind: "unstartable" };

/** Runs a process to its end; never rejects. */
export function runProcess(run: ProcessRun): Promise<ProcessEnd> {
  let child: ChildProcessWithoutNullStreams;
  try {
    child = spawn(run.file, run.args, {
      cwd: run.cwd,
      env: { ...run.env },
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
  } catch {
    return Promise.resolve({ kind: "unstartable" });
  }
  return new Promise((settle) => {
    const stdout: Buffer[] = [];
    let stdoutBytes = 0;
    let stderr: Buffer = Buffer.alloc(0);
    let reason: Extract<ProcessEnd, { kind: "stopped" }>["reason"] | undefined;
    let cancelKill = () => {};
    let cancelDetach = () => {};
    const end = (why: NonNullable<typeof reason>) => {
      if (reason !== undefined) return;
      reason = why;
      cancelKill = endGroup(child.pid, run.clock);
    };
    const cancelTimeout = run.clock.after(run.timeoutMs, () => end("Timeout"));
    const cancelMemory = run.memory?.watch(child.pid, () => end("MemoryExceeded")) ?? (() => {});
    const stop = () => end("Cancelled");
    if (run.signal.aborted) stop();
    run.signal.addEventListener("abort", stop, { once: true });
    const finish = (how: ProcessEnd) => {
      cancelTimeout();
      cancelMemory();
      cancelKill();
      cancelDetach();
      run.signal.removeEventListener("abort", stop);
      settle(how);
    };
    child.stdout.on("data", (chunk: Buffer) => {
      stdoutBytes += chunk.length;
      if (stdoutBytes > run.outputBytesMax) end("OutputTooLarge");
      else if (reason === undefined) stdout.push(chunk);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      run.onStderr?.(chunk);
      stderr = Buffer.concat([stderr, chunk]).subarray(-run.stderrBytesMax);
    });
    // A process may end without reading its input.
    child.stdin.on("error", () => {});
    child.stdin.end(run.stdin);
    child.on("error", () => finish({ kind: "unstartable" }));
    // What the leader left behind in its group holds the pipes open: it ends with the call.
    child.on("exit", () => {
      signalGroup(child.pid, "SIGKILL");
      // One that left the group keeps them open still; the call does not wait for it.
      cancelDetach = run.clock.after(KILL_GRACE_MS, () => {
        child.stdout.destroy();
        child.stderr.destroy();
      });
    });
    child.on("close", (code, signal) => {
      if (reason !== undefined) finish({ kind: "stopped", reason });
      else if (signal !== null) finish({ kind: "signalled", signal });
      else finish({ kind: "exited", code: code ?? 1, stdout: Buffer.concat(stdout), stderr });
    });
  });
}

/** Ends a group: SIGTERM, and SIGKILL after KILL_GRACE_MS unless that is cancelled by what it returns. */
export function endGroup(pid: number | undefined, clock: Clock): () => void {
  signalGroup(pid, "SIGTERM");
  return clock.after(KILL_GRACE_MS, () => signalGroup(pid, "SIGKILL"));
}

/** Signals a process group; silent when it is gone. */
export function signalGroup(pid: number | undefined, name: "SIGTERM" | "SIGKILL"): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch {
    // The group is gone already.
  }
}

/** How much of standard error is kept: more than is told, for what is cut in the middle is not known as a secret any more. */
export function stderrBytesKept(redactor: Redactor): number {
  return 3 * (STDERR_CHARACTERS_TOLD + Math.min(redactor.longest, SECRET_CHARACTERS_CUT));
}

/** The end of what a process printed, for a message: secrets are left out before the text is cut. */
export function printed(stderr: Buffer, redactor: Redactor): string {
  const clean = redactor.text(stderr.toString("utf8")).slice(-STDERR_CHARACTERS_TOLD);
  return clean.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").trim();
}

/** The failure that the end of a process is which did not exit by itself. `what` names it, such as "command". */
export function processFailure(
  what: string,
  end: Exclude<ProcessEnd, { kind: "exited" }>,
  bounds: Pick<ProcessRun, "timeoutMs" | "outputBytesMax">,
  ambiguous = true,
): ToolRun {
  if (end.kind === "unstartable") return failedRun("CommandNotFound", `the ${what} could not be started`, false);
  if (end.kind === "signalled") return failedRun("Signal", `the ${what} was ended by ${end.signal}`, ambiguous);
  if (end.reason === "Timeout") {
    return failedRun("Timeout", `the ${what} did not end within ${bounds.timeoutMs} ms`, ambiguous);
  }
  if (end.reason === "MemoryExceeded") {
    return failedRun("MemoryExceeded", `the ${what} held more memory than this worker allows it`, ambiguous);
  }
  if (end.reason === "Cancelled") return failedRun("Cancelled", "the call was stopped", ambiguous);
  return failedRun("OutputTooLarge", `the ${what} wrote more than ${bounds.outputBytesMax} bytes`, ambiguous);
}

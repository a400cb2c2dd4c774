// Executes command tools: an argv without a shell, in a process group of its own, with an environment of its own.
// The whole group is ended when the call ends, whatever the reason: a grandchild does not outlive its call.
// Called through the executor registry. Never passes the worker's environment on; never quotes argv, stdin or env in a message.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { isAbsolute, join, relative, resolve } from "node:path";
import type { Clock } from "../../kit/clock.ts";
import { type Json, parseJson } from "../../kit/json.ts";
import type { Redactor } from "../../kit/redactor.ts";
import { KIB, SECOND } from "../../kit/units.ts";
import { type CommandMeans, failedRun, type ToolExecution, type ToolExecutor, type ToolRun } from "./executor.ts";

/** Between SIGTERM and SIGKILL of a group that is to end. */
export const KILL_GRACE_MS = 2 * SECOND;
const STDERR_CHARACTERS_TOLD = 1 * KIB;
/** Longest form of a secret that is still known as one where the output was cut; UTF-8 takes at most three bytes a character. */
const SECRET_CHARACTERS_CUT = 16 * KIB;

/** What the executor needs. */
export interface CommandToolOptions {
  readonly clock: Clock;
  /** Directories searched for argv[0], separated by ":"; also the PATH of the command. */
  readonly commandPath: string;
  /** Directory that work directories must lie in. */
  readonly workDir: string;
}

/** See the file header. */
export function createCommandExecutor(options: CommandToolOptions): ToolExecutor<CommandMeans> {
  return {
    async run(execution) {
      const { means, signal } = execution;
      if (signal.aborted) return failedRun("Cancelled", "the call was stopped", false);
      const file = findCommand(means.argv[0] ?? "", options.commandPath);
      if (file === undefined) {
        return failedRun(
          "CommandNotFound",
          "the command is neither an absolute path to an executable file nor found in the worker's ORLOJ_COMMAND_PATH",
          false,
        );
      }
      const cwd = findWorkDir(means.workDir, options.workDir);
      if (cwd === undefined) {
        return failedRun(
          "WorkDirForbidden",
          "the work directory is missing or outside the worker's ORLOJ_WORK_DIR",
          false,
        );
      }
      return await runCommand(file, cwd, execution, options);
    },
  };
}

function findCommand(name: string, commandPath: string): string | undefined {
  if (isAbsolute(name)) return isExecutable(name) ? name : undefined;
  if (name === "" || name.includes("/")) return undefined;
  for (const directory of commandPath.split(":")) {
    if (isAbsolute(directory) && isExecutable(join(directory, name))) return join(directory, name);
  }
  return undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

// Real paths are compared, so that a symlink inside the directory cannot lead out of it.
function findWorkDir(wanted: string, base: string): string | undefined {
  try {
    const root = realpathSync(base);
    const real = realpathSync(resolve(root, wanted === "" ? "." : wanted));
    const path = relative(root, real);
    if (path === ".." || path.startsWith("../") || isAbsolute(path)) return undefined;
    return statSync(real).isDirectory() ? real : undefined;
  } catch {
    return undefined;
  }
}

type Ending = "Timeout" | "Cancelled" | "OutputTooLarge";

function runCommand(
  file: string,
  cwd: string,
  execution: ToolExecution<CommandMeans>,
  options: CommandToolOptions,
): Promise<ToolRun> {
  const { means, timeoutMs, resultBytesMax, signal } = execution;
  // More than is told: what is cut in the middle would not be known as a secret any more.
  const stderrBytesKept = 3 * (STDERR_CHARACTERS_TOLD + Math.min(execution.redactor.longest, SECRET_CHARACTERS_CUT));
  let child: ChildProcessWithoutNullStreams;
  try {
    child = spawn(file, means.argv.slice(1), {
      cwd,
      env: { PATH: options.commandPath, ...means.env },
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
  } catch {
    return Promise.resolve(failedRun("CommandNotFound", "the command could not be started", false));
  }
  return new Promise((settle) => {
    const stdout: Buffer[] = [];
    let stdoutBytes = 0;
    let stderr = Buffer.alloc(0);
    let ending: Ending | undefined;
    let cancelKill = () => {};
    const end = (reason: Ending) => {
      if (ending !== undefined) return;
      ending = reason;
      signalGroup(child.pid, "SIGTERM");
      cancelKill = options.clock.after(KILL_GRACE_MS, () => signalGroup(child.pid, "SIGKILL"));
    };
    const cancelTimeout = options.clock.after(timeoutMs, () => end("Timeout"));
    const stop = () => end("Cancelled");
    signal.addEventListener("abort", stop, { once: true });
    let cancelDetach = () => {};
    const finish = (run: ToolRun) => {
      cancelTimeout();
      cancelKill();
      cancelDetach();
      signal.removeEventListener("abort", stop);
      settle(run);
    };
    child.stdout.on("data", (chunk: Buffer) => {
      stdoutBytes += chunk.length;
      if (stdoutBytes > resultBytesMax) end("OutputTooLarge");
      else if (ending === undefined) stdout.push(chunk);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr = Buffer.concat([stderr, chunk]).subarray(-stderrBytesKept);
    });
    // A command may end without reading its input.
    child.stdin.on("error", () => {});
    child.stdin.end(means.stdin);
    child.on("error", () => finish(failedRun("CommandNotFound", "the command could not be started", false)));
    // What the leader left behind in its group holds the pipes open: it ends with the call.
    child.on("exit", () => {
      signalGroup(child.pid, "SIGKILL");
      // One that left the group keeps them open still; the call does not wait for it.
      cancelDetach = options.clock.after(KILL_GRACE_MS, () => {
        child.stdout.destroy();
        child.stderr.destroy();
      });
    });
    child.on("close", (code, exitSignal) => {
      if (ending !== undefined) finish(endedRun(ending, execution));
      else if (exitSignal !== null) finish(failedRun("Signal", `the command was ended by ${exitSignal}`, true));
      else if (code !== 0) finish(failedRun("ExitStatus", exitMessage(code, stderr, execution.redactor), false));
      else finish({ ok: true, result: commandResult(Buffer.concat(stdout).toString("utf8")) });
    });
  });
}

function endedRun(ending: Ending, execution: ToolExecution<CommandMeans>): ToolRun {
  if (ending === "Timeout") {
    return failedRun("Timeout", `the command did not end within ${execution.timeoutMs} ms`, true);
  }
  if (ending === "Cancelled") return failedRun("Cancelled", "the call was stopped", true);
  return failedRun("OutputTooLarge", `the command wrote more than ${execution.resultBytesMax} bytes`, true);
}

function commandResult(stdout: string): Json {
  const trimmed = stdout.trim();
  if (trimmed.startsWith("{") || trimmed.startsWith("[")) {
    try {
      return parseJson(trimmed);
    } catch {
      // Text that only looks like JSON is handed on as text.
    }
  }
  return { stdout, exitCode: 0 };
}

// A command may print the secrets that it was given: they are left out before the text is cut.
function exitMessage(code: number | null, stderr: Buffer, redactor: Redactor): string {
  const clean = redactor.text(stderr.toString("utf8")).slice(-STDERR_CHARACTERS_TOLD);
  const text = clean.replace(/[\u0000-\u001f\u007f-\u009f]+/g, " ").trim();
  return text === "" ? `the command exited with ${code}` : `the command exited with ${code}: ${text}`;
}

function signalGroup(pid: number | undefined, name: "SIGTERM" | "SIGKILL"): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch {
    // The group is gone already.
  }
}

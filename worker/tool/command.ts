// Executes command tools, and runs agents that are programs: an argv without a shell, in a process group of its own, with an
// environment of its own. Called through the executor registry, and by agent_calls.ts. Never passes the worker's environment on; never quotes argv, stdin or env in a message.

import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import type { Clock } from "../../kit/clock.ts";
import { type Json, parseJson } from "../../kit/json.ts";
import type { Redactor } from "../../kit/redactor.ts";
import { type CommandMeans, failedRun, type ToolExecution, type ToolExecutor, type ToolRun } from "./executor.ts";
import type { MemoryWatch } from "./memory_watch.ts";
import { printed, processFailure, runProcess, stderrBytesKept } from "./process.ts";
import { StderrLines } from "./stderr_lines.ts";
import { insideWorkDir } from "./work_dir.ts";

/** What the executor needs. */
export interface CommandToolOptions {
  readonly clock: Clock;
  /** Directories searched for argv[0], separated by ":"; also the PATH of the command. */
  readonly commandPath: string;
  /** Directory that work directories must lie in. */
  readonly workDir: string;
  /** Bounds the memory of a command; absent: nothing does. */
  readonly memory?: MemoryWatch;
}

/** See the file header. */
export function createCommandExecutor(options: CommandToolOptions): ToolExecutor<CommandMeans> {
  return {
    async run(execution) {
      const run = await runForText(execution, options);
      return run.ok ? { ok: true, result: commandResult(String(run.result)) } : run;
    },
  };
}

/** Runs a command; the result of a run is what it wrote to standard output. Never rejects. */
export async function runForText(
  execution: ToolExecution<CommandMeans>,
  options: CommandToolOptions,
): Promise<ToolRun> {
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
  const cwd = insideWorkDir(options.workDir, means.workDir);
  if (cwd === undefined || !statSync(cwd).isDirectory()) {
    return failedRun("WorkDirForbidden", "the work directory is missing or outside the worker's ORLOJ_WORK_DIR", false);
  }
  return await runCommand(file, cwd, execution, options);
}

async function runCommand(
  file: string,
  cwd: string,
  { means, timeoutMs, resultBytesMax, signal, redactor, output }: ToolExecution<CommandMeans>,
  options: CommandToolOptions,
): Promise<ToolRun> {
  const lines = output && new StderrLines(redactor, output);
  const end = await runProcess({
    ...{ file, args: means.argv.slice(1), cwd, env: { PATH: options.commandPath, ...means.env } },
    ...(means.stdin === undefined ? {} : { stdin: means.stdin }),
    ...{ timeoutMs, outputBytesMax: resultBytesMax, stderrBytesMax: stderrBytesKept(redactor) },
    ...(lines && { onStderr: (chunk: Buffer) => lines.take(chunk) }),
    ...{ signal, clock: options.clock, memory: options.memory },
  });
  lines?.end();
  if (end.kind !== "exited") return processFailure("command", end, { timeoutMs, outputBytesMax: resultBytesMax });
  if (end.code !== 0) return failedRun("ExitStatus", exitMessage(end.code, end.stderr, redactor), false);
  return { ok: true, result: end.stdout.toString("utf8") };
}

/** The executable file of a name or an absolute path; undefined if there is none. */
export function findCommand(name: string, commandPath: string): string | undefined {
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

function exitMessage(code: number, stderr: Buffer, redactor: Redactor): string {
  const text = printed(stderr, redactor);
  return text === "" ? `the command exited with ${code}` : `the command exited with ${code}: ${text}`;
}

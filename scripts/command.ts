// Runs one program of the toolchain and keeps what it says.
// Used by the other scripts. node_modules/.bin comes first on the path, so the pinned tools and Node are taken.

import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";

/** Root of the repository. */
export const ROOT = join(import.meta.dirname, "..");

/** What a program said and how it ended. */
export interface Finished {
  /** Exit code; 127 if it could not be started, 128 if a signal ended it. */
  readonly code: number;
  /** stdout and stderr as they came. */
  readonly output: string;
  readonly stdout: string;
}

/** Runs a program in the root of the repository; show passes its output on as it comes, stop interrupts it. */
export function command(
  file: string,
  args: readonly string[],
  options: { show?: boolean; cwd?: string; stop?: AbortSignal; env?: Readonly<Record<string, string>> } = {},
): Promise<Finished> {
  const path = [join(ROOT, "node_modules/.bin"), process.env["PATH"] ?? ""].join(delimiter);
  const child = spawn(file, args, {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...options.env, PATH: path },
    stdio: options.show === true ? "inherit" : ["ignore", "pipe", "pipe"],
  });
  const interrupt = () => void child.kill("SIGINT");
  options.stop?.addEventListener("abort", interrupt);
  child.once("close", () => options.stop?.removeEventListener("abort", interrupt));
  let output = "";
  let stdout = "";
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
    stdout += chunk;
  });
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
  });
  return new Promise((resolve) => {
    child.once("error", (error) => resolve({ code: 127, output: error.message, stdout: "" }));
    child.once("close", (code) => resolve({ code: code ?? 128, output, stdout }));
  });
}

/** Runs a program and returns its stdout. @throws Error with its output when it fails. */
export async function mustRun(file: string, args: readonly string[], options: { cwd?: string } = {}): Promise<string> {
  const { code, output, stdout } = await command(file, args, options);
  if (code !== 0) throw new Error(`${file} ${args.join(" ")} ended with ${code}\n${output}`);
  return stdout;
}

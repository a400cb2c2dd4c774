// Runs the `orloj` command as a process of its own, in a folder of its own; or a client verb in the process of the test, which is quick.
// Called by the tests of the CLI. Never reads the real environment's ORLOJ_* variables.
// Resolves when the process has ended.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { runCli } from "../../cli/main.ts";
import { type Clock, systemClock } from "../../kit/clock.ts";

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

const BIN = resolve(import.meta.dirname, "../../bin/orloj.ts");

/** A folder that is removed at the end of `using`. */
export function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "orloj-cli-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Runs a client verb in this process: no terminal, no signals, relative paths from the directory. */
export async function runVerb(
  words: readonly string[],
  options: {
    readonly endpoint?: string;
    readonly directory?: string;
    readonly input?: string;
    readonly env?: Readonly<Record<string, string>>;
    readonly clock?: Clock;
  } = {},
): Promise<Ended> {
  const { endpoint, directory = tmpdir(), input = "", env = {}, clock = systemClock() } = options;
  const written = { out: "", err: "" };
  const code = await runCli(words, {
    env: { ...(endpoint === undefined ? {} : { ORLOJ_SERVER: endpoint }), ...env },
    directory,
    clock,
    out: (text) => {
      written.out += text;
    },
    written: () => Promise.resolve(),
    err: (text) => {
      written.err += text;
    },
    readInput: () => Promise.resolve(input),
    terminal: () => undefined,
    onInterrupt: () => () => undefined,
  });
  return { code, ...written };
}

/** Runs `orloj` with arguments; nodeArguments stand before the command's file. */
export async function runOrloj(
  words: readonly string[],
  options: {
    readonly endpoint?: string;
    readonly directory?: string;
    readonly env?: Record<string, string>;
    readonly input?: string;
    readonly nodeArguments?: readonly string[];
    /** Called with everything printed so far. */
    readonly onOutput?: (out: string, interrupt: () => void) => void;
  } = {},
): Promise<Ended> {
  const { PATH = "" } = process.env;
  const server = options.endpoint === undefined ? {} : { ORLOJ_SERVER: options.endpoint };
  const child = spawn(process.execPath, [...(options.nodeArguments ?? []), BIN, ...words], {
    cwd: options.directory ?? tmpdir(),
    env: { PATH, ...server, ...options.env },
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    options.onOutput?.(out, () => child.kill("SIGINT"));
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  child.stdin.end(options.input ?? "");
  const code = await new Promise<number | null>((done) => child.on("close", done));
  return { code, out, err };
}

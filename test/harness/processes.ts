// Real processes for end-to-end tests: `orloj server`, `orloj worker` and client verbs, as a user starts them.
//
//   const server = await startServer();                      // own home, own database, free ports; waits until it is ready
//   const worker = await startWorker(server, { env: { ORLOJ_WORKER_SLOTS: "2" } });
//   const { code, stdout } = await runOrloj(["apply", "-f", folder], { server });
//   worker.signal("SIGKILL"); await worker.ended;
//
// Every process is killed by pid at the end of the test file at the latest. A server or worker says that it is ready with one line
// on stdout holding the word ready and name=value pairs, such as `orloj server ready api=http://127.0.0.1:1 worker=… ops=…`.

import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { atEndOfFile } from "./cleanup.ts";
import { testDatabase } from "./database.ts";
import { temporaryFolder } from "./folders.ts";

const ROOT = join(import.meta.dirname, "../..");
const COMMAND = join(ROOT, "bin/orloj.ts");
const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 15_000;

/** How a process ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process of ours. */
export interface RunningProcess {
  readonly pid: number;
  /** Everything written so far. */
  readonly output: { stdout: string; stderr: string };
  /** Resolves when it has ended and its output is complete. */
  readonly ended: Promise<Ended>;
  /** Resolves with the match once stdout or stderr has it, also if it was written before; rejects when the process ends without. */
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** Sends a signal if the process still runs. */
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL if it does not end in time, which is an error. */
  stop(): Promise<Ended>;
}

/** Options of any process. */
export interface SpawnOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdin?: string;
  /** Runs it as another user; only root may. */
  readonly account?: { readonly uid: number; readonly gid: number } | undefined;
  /** In a process group of its own: signals reach all of it, as those of a terminal do. npx passes none on by itself. */
  readonly group?: boolean;
}

/** Starts a program with the environment of the tests, without any ORLOJ_ variable but those given. */
export function startProcess(file: string, args: readonly string[], options: SpawnOptions = {}): RunningProcess {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(ORLOJ_|VITEST|NODE_OPTIONS|NODE_ENV)/.test(name),
  );
  const child = spawn(file, args, {
    cwd: options.cwd ?? ROOT,
    env: { ...Object.fromEntries(inherited), ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
    detached: options.group === true,
    ...(options.account ? { uid: options.account.uid, gid: options.account.gid } : {}),
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.stdin ?? "");
  const running = watch(child, [file, ...args].join(" "), options.group === true);
  atEndOfFile(async () => {
    running.signal("SIGKILL");
    await running.ended;
  });
  return running;
}

function watch(child: ChildProcess, title: string, group: boolean): RunningProcess {
  const output = { stdout: "", stderr: "" };
  const listeners = new Set<() => void>();
  const tell = () => {
    for (const listener of [...listeners]) listener();
  };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (chunk: string) => {
      output[name] += chunk;
      tell();
    });
  }
  let over: Ended | undefined;
  const ended = new Promise<Ended>((resolve) => {
    const finish = (code: number | null, signal: NodeJS.Signals | null) => {
      over ??= { code, signal };
      resolve(over);
      tell();
    };
    child.once("close", finish);
    child.once("error", (error) => {
      output.stderr += `\n${error.message}`;
      finish(null, null);
    });
  });
  const describe = () => `${title}\n--- stdout\n${output.stdout}\n--- stderr\n${output.stderr}`;
  const waitFor = (pattern: RegExp, timeoutMs = READY_TIMEOUT_MS) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const settle = (error?: Error, match?: RegExpExecArray) => {
        clearTimeout(timer);
        listeners.delete(look);
        if (match) resolve(match);
        else reject(error);
      };
      const look = () => {
        const match = pattern.exec(output.stdout) ?? pattern.exec(output.stderr);
        if (match) settle(undefined, match);
        else if (over) settle(new Error(`ended (${over.code ?? over.signal}) without ${pattern}: ${describe()}`));
      };
      const timer = setTimeout(
        () => settle(new Error(`no ${pattern} within ${timeoutMs} ms: ${describe()}`)),
        timeoutMs,
      );
      listeners.add(look);
      look();
    });
  const signal = (name: NodeJS.Signals) => {
    if (over !== undefined || child.pid === undefined) return;
    if (!group) return void child.kill(name);
    try {
      process.kill(-child.pid, name);
    } catch (error) {
      // The last of the group may have ended a moment ago.
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  };
  const stop = async () => {
    signal("SIGTERM");
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      signal("SIGKILL");
    }, STOP_TIMEOUT_MS);
    const result = await ended;
    clearTimeout(timer);
    if (late) throw new Error(`did not end within ${STOP_TIMEOUT_MS} ms of SIGTERM: ${describe()}`);
    return result;
  };
  return { pid: child.pid ?? -1, output, ended, waitFor, signal, stop };
}

/** `orloj server` that is ready. */
export interface ServerProcess extends RunningProcess {
  readonly home: string;
  readonly databaseUrl: string | undefined;
  /** The name=value pairs of its ready line. */
  readonly ready: Readonly<Record<string, string>>;
  /** http://127.0.0.1:PORT of the API, worker and ops listeners. */
  readonly api: string;
  readonly worker: string;
  readonly ops: string;
}

/** Options of startServer. */
export interface ServerOptions extends SpawnOptions {
  readonly args?: readonly string[];
  /** A temporary folder by default; give another server's to be its replica or successor. */
  readonly home?: string;
  /** A fresh database by default; "embedded" leaves ORLOJ_DATABASE_URL unset. */
  readonly databaseUrl?: string;
}

// The listeners take free ports; a test that needs a fixed one overrides them.
const FREE_PORTS = { ORLOJ_API_PORT: "0", ORLOJ_WORKER_PORT: "0", ORLOJ_OPS_PORT: "0" };

/** Starts a server and waits until it is ready. */
export async function startServer(options: ServerOptions = {}): Promise<ServerProcess> {
  const home = options.home ?? (await temporaryFolder("h"));
  const url = options.databaseUrl ?? (await testDatabase()).url;
  const databaseUrl = url === "embedded" ? undefined : url;
  const env = {
    ...FREE_PORTS,
    ORLOJ_HOME: home,
    ...(databaseUrl ? { ORLOJ_DATABASE_URL: databaseUrl } : {}),
    ...options.env,
  };
  const running = startOrloj(["server", ...(options.args ?? [])], { ...options, env });
  const ready = pairs(await running.waitFor(/^.*\bready\b.*=.*$/m));
  return Object.assign(running, {
    home,
    databaseUrl,
    ready,
    api: ready["api"] ?? "",
    worker: ready["worker"] ?? "",
    ops: ready["ops"] ?? "",
  });
}

/** Starts a worker of the server, in the server's home so that it finds the join token, and waits until it is ready. */
export async function startWorker(
  server: Pick<ServerProcess, "home" | "worker">,
  options: SpawnOptions & { readonly args?: readonly string[] } = {},
): Promise<RunningProcess> {
  const endpoint = server.worker.replace(/^https?:\/\//, "");
  const env = { ORLOJ_HOME: server.home, ORLOJ_WORKER_ENDPOINTS: endpoint, ...options.env };
  const running = startOrloj(["worker", ...(options.args ?? [])], { ...options, env });
  await running.waitFor(/^.*\bready\b.*$/m);
  return running;
}

/** Starts any `orloj` command. */
export function startOrloj(args: readonly string[], options: SpawnOptions = {}): RunningProcess {
  return startProcess(process.execPath, [COMMAND, ...args], options);
}

/** Runs an `orloj` client verb to its end; the code is not checked. */
export async function runOrloj(
  args: readonly string[],
  options: SpawnOptions & { readonly server?: Pick<ServerProcess, "home" | "api"> } = {},
): Promise<Ended & { readonly stdout: string; readonly stderr: string }> {
  const { server } = options;
  const env = { ...(server ? { ORLOJ_HOME: server.home, ORLOJ_SERVER: server.api } : {}), ...options.env };
  const running = startOrloj(args, { ...options, env });
  const ended = await running.ended;
  return { ...ended, ...running.output };
}

function pairs(match: RegExpExecArray): Record<string, string> {
  return Object.fromEntries(
    [...match[0].matchAll(/(\w+)=(\S+)/g)].map((pair) => [pair[1] as string, pair[2] as string]),
  );
}

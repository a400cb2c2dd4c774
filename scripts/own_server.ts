// A server of a script's own: an empty home, free ports, an embedded Postgres; and other commands beside it.
// Used by the scripts that run lines of the documentation. What it starts it ends, and what it wrote it removes.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./command.ts";

/** What a script knows of its server. */
export interface OwnServer {
  readonly home: string;
  /** Host and port of the API. */
  readonly address: string;
  /** The development token. */
  readonly token: string;
  /** Starts another `orloj` command in this home, such as a worker; it is ended with the server. */
  start(args: readonly string[]): Promise<void>;
}

const API = /\bready\b.*\bapi=(?:https?:\/\/)?(\S+)/;
const READY = /\bready\b/;

/** Starts a server, lets the script use it, and ends it. Further arguments are the server's. */
export async function withServer<T>(use: (server: OwnServer) => Promise<T>, args: readonly string[] = []): Promise<T> {
  const home = await mkdtemp(join(tmpdir(), "orloj-own-"));
  const running: Running[] = [];
  const start = async (words: readonly string[], ready: RegExp) => {
    const next = startOrloj(words, home);
    running.unshift(next);
    return waitFor(next.child, ready);
  };
  try {
    const [, address = ""] = await start(["server", ...args], API);
    const { token } = JSON.parse(await readFile(join(home, "config.json"), "utf8")) as { token: string };
    return await use({ home, address, token, start: async (words) => void (await start(words, READY)) });
  } finally {
    for (const { child, ended } of running) {
      child.kill("SIGTERM");
      await ended;
    }
    await rm(home, { recursive: true, force: true });
  }
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;
}

function startOrloj(words: readonly string[], home: string): Running {
  const env = { ...process.env, ORLOJ_HOME: home, ORLOJ_API_PORT: "0", ORLOJ_WORKER_PORT: "0", ORLOJ_OPS_PORT: "0" };
  const child = spawn(process.execPath, [join(ROOT, "bin/orloj.ts"), ...words], {
    ...{ cwd: ROOT, env, stdio: ["ignore", "pipe", "inherit"] },
  });
  return { child, ended: new Promise((resolve) => child.once("close", resolve)) };
}

function waitFor(child: ChildProcess, ready: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      const match = ready.exec(text);
      if (match !== null) resolve(match);
    });
    child.once("close", () => reject(new Error(`it ended before it was ready:\n${text}`)));
  });
}

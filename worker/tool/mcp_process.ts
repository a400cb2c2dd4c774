// An MCP server as a process of one call: messages as lines on its standard input and output, in a group of its own, with
// exactly the environment that it is given. Called by mcp.ts, which hands it to the MCP client library as a transport.
// Source: Model Context Protocol, "Transports", stdio. The whole group is ended with the call: politely, then not.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { ReadBuffer, serializeMessage } from "@modelcontextprotocol/sdk/shared/stdio.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js";
import type { Clock } from "../../kit/clock.ts";
import type { MemoryWatch } from "./memory_watch.ts";
import { endGroup, KILL_GRACE_MS, signalGroup } from "./process.ts";

/** Between the end of a server's input and SIGTERM. */
const CLOSE_GRACE_MS = 500;

/** A server to start. */
export interface McpProcessOptions {
  /** Absolute path. */
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Largest output in bytes. */
  readonly outputBytesMax: number;
  /** How much of the end of standard error is kept. */
  readonly stderrBytesMax: number;
  /** Takes what comes on standard error; absent: nobody reads it before the end. */
  readonly onStderr?: (chunk: Buffer) => void;
  readonly clock: Clock;
  readonly memory?: MemoryWatch | undefined;
}

/** See the file header. */
export class McpProcess implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: Transport["onmessage"];
  /** The server wrote more than it may. */
  tooLarge = false;
  /** The server held more memory than it may. */
  outOfMemory = false;
  readonly #options: McpProcessOptions;
  readonly #lines: ReadBuffer;
  #child: ChildProcessWithoutNullStreams | undefined;
  #stderr: Buffer = Buffer.alloc(0);
  #bytes = 0;

  constructor(options: McpProcessOptions) {
    this.#options = options;
    this.#lines = new ReadBuffer({ maxBufferSize: options.outputBytesMax });
  }

  /** The end of what it wrote to standard error. */
  get stderr(): Buffer {
    return this.#stderr;
  }

  start(): Promise<void> {
    const { file, args, cwd, env } = this.#options;
    const child = spawn(file, args, { cwd, env: { ...env }, detached: true, stdio: ["pipe", "pipe", "pipe"] });
    this.#child = child;
    child.stdin.on("error", (error) => this.onerror?.(error));
    child.stdout.on("data", (chunk: Buffer) => this.#read(chunk));
    child.stderr.on("data", (chunk: Buffer) => {
      this.#options.onStderr?.(chunk);
      this.#stderr = Buffer.concat([this.#stderr, chunk]).subarray(-this.#options.stderrBytesMax);
    });
    child.on("exit", () => {
      signalGroup(child.pid, "SIGKILL");
      // What left the group may hold the pipes open; nobody waits for it.
      const cancel = this.#options.clock.after(KILL_GRACE_MS, () => child.stdout.destroy());
      child.once("close", cancel);
    });
    const cancelMemory = this.#options.memory?.watch(child.pid, () => {
      this.outOfMemory = true;
      this.kill();
    });
    child.on("close", () => {
      cancelMemory?.();
      this.onclose?.();
    });
    return new Promise((resolve, reject) => {
      child.once("spawn", resolve);
      child.on("error", reject);
    });
  }

  send(message: JSONRPCMessage): Promise<void> {
    const stdin = this.#child?.stdin;
    if (stdin === undefined || !stdin.writable) return Promise.reject(new Error("the server takes no input any more"));
    stdin.write(serializeMessage(message));
    return Promise.resolve();
  }

  // Resolves at once: a call does not wait for its server to end.
  close(): Promise<void> {
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      child.stdin.end();
      const cancels = [
        this.#options.clock.after(CLOSE_GRACE_MS, () => cancels.push(endGroup(child.pid, this.#options.clock))),
      ];
      child.once("exit", () => {
        for (const cancel of cancels) cancel();
      });
    }
    return Promise.resolve();
  }

  /** Ends the group now: SIGTERM, then SIGKILL. */
  kill(): void {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.once("exit", endGroup(child.pid, this.#options.clock));
  }

  #read(chunk: Buffer): void {
    if (this.tooLarge) return;
    this.#bytes += chunk.length;
    if (this.#bytes > this.#options.outputBytesMax) {
      this.tooLarge = true;
      this.kill();
      this.onclose?.();
      return;
    }
    this.#lines.append(chunk);
    for (;;) {
      try {
        const message = this.#lines.readMessage();
        if (message === null) return;
        this.onmessage?.(message);
      } catch (error) {
        // A line that is no message, such as a greeting, is passed over.
        this.onerror?.(error as Error);
      }
    }
  }
}

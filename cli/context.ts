// What a verb works with: the process around it, the client, and the ways to print.
// Made by main.ts once a command line; every verb gets one.
// Text from the server is made safe by format.ts, json_output.ts or safeText before it comes here.

import type { Clock } from "../kit/clock.ts";
import type { Json } from "../kit/json.ts";
import { createClient, type OrlojClient } from "../sdk/index.ts";
import { type ConnectionFlags, resolveConnection, resolveEndpoint } from "./connection.ts";
import { jsonText } from "./json_output.ts";
import { type Paint, palette } from "./style.ts";

/** The process that the command runs in. */
export interface CliHost {
  readonly env: NodeJS.ProcessEnv;
  readonly directory: string;
  readonly clock: Clock;
  /** Writes to standard output. */
  out(text: string): void;
  /** Resolves once standard output has room for more. */
  written(): Promise<void>;
  /** Writes to standard error. */
  err(text: string): void;
  /** All of standard input. */
  readInput(): Promise<string>;
  /** Size of the terminal at standard output; undefined when it is none. */
  terminal(): { readonly columns: number; readonly rows: number } | undefined;
  /** Calls back at the first interrupt; the result stops listening. */
  onInterrupt(callback: () => void): () => void;
}

/** Options that every client verb takes. */
export interface GlobalOptions extends ConnectionFlags {
  readonly output?: string;
  /** False with --no-color. */
  readonly color?: boolean;
}

/** See the file header. */
export class Context {
  readonly host: CliHost;
  /** What the process will exit with. */
  exitCode = 0;
  #options: () => GlobalOptions;
  #client: OrlojClient | undefined;

  constructor(host: CliHost, options: () => GlobalOptions) {
    this.host = host;
    this.#options = options;
  }

  /** Flags that name a server, as they were given. */
  get connectionFlags(): ConnectionFlags {
    return this.#options();
  }

  /** What `-o` says. */
  get format(): string | undefined {
    return this.#options().output;
  }

  /** True for `-o json`. */
  get json(): boolean {
    return this.format === "json";
  }

  /** True when standard output is a terminal that shows colours. */
  get colour(): boolean {
    if (this.#options().color === false || this.host.env["NO_COLOR"] || this.host.env["TERM"] === "dumb") return false;
    return this.host.terminal() !== undefined;
  }

  /** Paints for standard output. */
  get paint(): Paint {
    return palette(this.colour);
  }

  /** Where the server is. @throws UsageError */
  get endpoint(): string {
    return resolveEndpoint(this.#options(), this.host.env, this.host.directory);
  }

  /** The client; connects with its first call. @throws UsageError */
  get client(): OrlojClient {
    if (this.#client === undefined) {
      const { endpoint, token, tls } = resolveConnection(this.#options(), this.host.env, this.host.directory);
      const secured = tls === undefined ? {} : { tls };
      this.#client = createClient({ endpoint, ...(token === undefined ? {} : { token }), ...secured });
    }
    return this.#client;
  }

  /** Prints lines to standard output. */
  print(...lines: readonly string[]): void {
    if (lines.length > 0) this.host.out(`${lines.join("\n")}\n`);
  }

  /** Prints one JSON document to standard output. */
  printJson(value: Json): void {
    this.host.out(`${jsonText(value)}\n`);
  }

  /** Prints one line of an NDJSON stream. */
  printJsonLine(value: Json): void {
    this.host.out(`${jsonText(value, true)}\n`);
  }

  /** Prints what is not the result (warnings, next steps) to standard error. */
  note(...lines: readonly string[]): void {
    if (lines.length > 0) this.host.err(`${lines.join("\n")}\n`);
  }

  /** A next step for people; scripts that read JSON are spared it. */
  next(step: string): void {
    if (!this.json) this.note(`Next: ${step}`);
  }

  /** Runs long work with a signal that the first interrupt aborts; a second interrupt ends the process as usual. */
  async interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const interrupt = new AbortController();
    const stopListening = this.host.onInterrupt(() => interrupt.abort());
    try {
      return await work(interrupt.signal);
    } finally {
      stopListening();
    }
  }
}

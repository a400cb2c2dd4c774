// Runs the manifest pipeline in one worker thread: started at the first use, terminated when it takes too long, started
// again at the next use. Called by the apply and validate commands; made and stopped by main.
// Nothing that a manifest holds can block the event loop of this thread or end the process: a crash is an answer.
// The thread keeps the process alive only while a request is in flight.

import { Worker } from "node:worker_threads";
import type { Clock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import { SECOND } from "../../kit/units.ts";
import type { ParsedFile, SourceFile } from "./parse.ts";
import type { ThreadAnswers, ThreadReply, ThreadRequest } from "./parse_thread.ts";
import type { ResourceKey } from "./references.ts";
import type { Kind, Manifest } from "./specs.ts";
import type { Validation } from "./validate.ts";

/** Limits of the pool. */
export interface ManifestPoolOptions {
  /** Time of the thread to parse and read one file, in ms. */
  readonly fileTimeoutMs: number;
  /** Time of the thread to check all documents of an apply together, in ms. */
  readonly checkTimeoutMs: number;
  /** Time to start the thread, in ms. */
  readonly startTimeoutMs: number;
  /** Heap of the thread, in MiB. */
  readonly heapMib: number;
}

/** Limits unless the caller says otherwise. */
export const MANIFEST_POOL_DEFAULTS: ManifestPoolOptions = {
  fileTimeoutMs: 2 * SECOND,
  checkTimeoutMs: 10 * SECOND,
  startTimeoutMs: 20 * SECOND,
  heapMib: 256,
};

/** By the clock a request may take so many times its limit: on a busy machine the thread waits for its turn, and has not worked all the while. */
const WAIT_FACTOR = 5;
/** Time in ms between two looks at how long a thread has worked. */
const LOOK_MS = 50;

/** How a validation is done in the pool. */
export interface PoolValidateOptions {
  readonly strict?: boolean;
  readonly defaultNamespace?: string;
  readonly storedNames?: Readonly<Partial<Record<Kind, readonly string[]>>>;
}

/** Loads stored manifests by key; keys that do not exist are left out. Namespace "*" asks for that name in any namespace. */
export type LoadStored = (keys: readonly ResourceKey[]) => Promise<readonly Manifest[]>;

interface InFlight {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: DomainError) => void;
  readonly cancelTimer: () => void;
  cancelLook: () => void;
}

/** See the file header. */
export class ManifestPool {
  readonly #clock: Clock;
  readonly #options: ManifestPoolOptions;
  #worker: Worker | undefined;
  #inFlight: InFlight | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(clock: Clock, options: Partial<ManifestPoolOptions> = {}) {
    this.#clock = clock;
    this.#options = { ...MANIFEST_POOL_DEFAULTS, ...options };
  }

  /** Allows requests; the thread itself starts with the first one. */
  start(): void {
    this.#stopped = false;
  }

  /** Ends the thread; requests in flight and waiting are refused with SHUTTING_DOWN. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#end(new DomainError("SHUTTING_DOWN", "the server is shutting down; try again elsewhere"));
  }

  /** Parses files; findings are in the result. @throws MANIFEST_TOO_SLOW, MANIFEST_INVALID if the thread crashed */
  parse(files: readonly SourceFile[]): Promise<ParsedFile[]> {
    return this.#inTurn(async () => {
      const parsed: ParsedFile[] = [];
      for (const source of files)
        parsed.push(await this.#ask({ type: "parse", source }, this.#options.fileTimeoutMs, source.file));
      return parsed;
    });
  }

  /**
   * Parses, reads and checks the files of one apply.
   *
   * @param load called at most once, for what the files refer to; its time does not count.
   * @throws MANIFEST_TOO_SLOW, MANIFEST_INVALID if the thread crashed, SHUTTING_DOWN; whatever `load` throws.
   */
  validate(files: readonly SourceFile[], load: LoadStored, options: PoolValidateOptions = {}): Promise<Validation> {
    return this.#inTurn(async () => {
      const { fileTimeoutMs, checkTimeoutMs } = this.#options;
      await this.#ask({ type: "begin", defaultNamespace: options.defaultNamespace }, checkTimeoutMs);
      for (const source of files) await this.#ask({ type: "file", source }, fileTimeoutMs, source.file);
      const needed = await this.#ask({ type: "needs" }, checkTimeoutMs);
      const stored = needed.length === 0 ? [] : await load(needed);
      const { strict = false, storedNames = {} } = options;
      return this.#ask({ type: "check", stored, storedNames, strict }, checkTimeoutMs);
    });
  }

  // One validation at a time: its parts share the thread's state.
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #ask<R extends ThreadRequest>(request: R, timeoutMs: number, file = ""): Promise<ThreadAnswers[R["type"]]> {
    if (this.#stopped) throw new DomainError("SHUTTING_DOWN", "the server is shutting down; try again elsewhere");
    const worker = this.#worker ?? (await this.#launch());
    const tooSlow = new DomainError(
      "MANIFEST_TOO_SLOW",
      `${file === "" ? "the manifests" : `the manifest ${file}`} could not be read within ${timeoutMs} ms; make it smaller or split it`,
      file === "" ? {} : { file },
    );
    const reply = this.#await(worker, WAIT_FACTOR * timeoutMs, tooSlow);
    this.#watch(worker, timeoutMs, tooSlow);
    worker.postMessage(request);
    return (await reply) as ThreadAnswers[R["type"]];
  }

  async #launch(): Promise<Worker> {
    // Unbuilt this file is .ts, built it is .js; the thread's file is its neighbour of the same kind.
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const worker = new Worker(new URL(`./parse_thread.${extension}`, import.meta.url), {
      name: "manifests",
      execArgv: [],
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: this.#options.heapMib },
    });
    worker.unref();
    this.#worker = worker;
    worker.on("message", (reply: ThreadReply) => this.#settle(worker, reply));
    worker.on("error", (error) => this.#lost(worker, error));
    worker.on("exit", () => this.#lost(worker, undefined));
    const slowStart = new DomainError(
      "MANIFEST_TOO_SLOW",
      `the manifest thread did not start within ${this.#options.startTimeoutMs} ms; try again`,
    );
    await this.#await(worker, this.#options.startTimeoutMs, slowStart);
    return worker;
  }

  #await(worker: Worker, timeoutMs: number, tooSlow: DomainError): Promise<unknown> {
    worker.ref();
    return new Promise((resolve, reject) => {
      const cancelTimer = this.#clock.after(timeoutMs, () => void this.#end(tooSlow));
      this.#inFlight = { resolve, reject, cancelTimer, cancelLook: () => {} };
    });
  }

  // Ends the request in flight once the thread itself has worked for its whole limit.
  #watch(worker: Worker, limitMs: number, tooSlow: DomainError): void {
    const inFlight = this.#inFlight;
    const begin = cpuMs(worker);
    const look = async () => {
      const workedMs = (await cpuMs(worker)) - (await begin);
      if (this.#inFlight !== inFlight) return;
      if (workedMs >= limitMs) void this.#end(tooSlow);
      else lookAfter(Math.max(limitMs - workedMs, LOOK_MS));
    };
    const lookAfter = (delayMs: number) => {
      const cancel = this.#clock.after(delayMs, () => void look());
      if (inFlight) inFlight.cancelLook = cancel;
    };
    lookAfter(limitMs);
  }

  #settle(worker: Worker, reply: ThreadReply): void {
    const inFlight = worker === this.#worker ? this.#take() : undefined;
    worker.unref();
    if (reply.ok) inFlight?.resolve(reply.value);
    else inFlight?.reject(new DomainError("MANIFEST_INVALID", `the manifest could not be read: ${reply.error}`));
  }

  #lost(worker: Worker, cause: unknown): void {
    if (worker !== this.#worker) return;
    this.#worker = undefined;
    const message = "the manifest could not be read: the parser stopped; make it smaller or simpler";
    this.#take()?.reject(new DomainError("MANIFEST_INVALID", message, {}, cause));
  }

  async #end(reason: DomainError): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    this.#take()?.reject(reason);
    await worker?.terminate();
  }

  #take(): InFlight | undefined {
    const inFlight = this.#inFlight;
    this.#inFlight = undefined;
    inFlight?.cancelTimer();
    inFlight?.cancelLook();
    return inFlight;
  }
}

// NaN, which is never over a limit, for a thread that is gone, and on a Node that cannot tell (before 24.6).
async function cpuMs(worker: Worker): Promise<number> {
  try {
    const { user, system } = await worker.cpuUsage();
    return (user + system) / 1_000;
  } catch {
    return Number.NaN;
  }
}

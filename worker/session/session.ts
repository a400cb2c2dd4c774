// This worker's session with the control plane, across streams: connects, says Hello, hands frames on, reconnects, ends politely.
// Started and stopped by worker.ts. What frames mean is decided by the task table, the facts, the fetches and the lease keeper.
// One stream at a time, two while a drained replica is left, or while the worker goes back to its own endpoint: the next one takes over
// first. A stream that ends is replaced after a jittered wait. Facts without an answer are sent again on the new stream.
// States: connecting → greeting (Hello sent) → attached (Welcome came) → connecting … → ended.

import { create } from "@bufbuild/protobuf";
import { type Backoff, backoffDelay } from "../../kit/backoff.ts";
import type { Clock } from "../../kit/clock.ts";
import { DomainError, messageOf } from "../../kit/errors.ts";
import type { Random } from "../../kit/random.ts";
import { KIB, SECOND } from "../../kit/units.ts";
import {
  type Drain,
  DrainSchema,
  GoodbyeSchema,
  HelloSchema,
  type Welcome,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { Runtimes } from "../agent/runtimes.ts";
import type { Log } from "../log.ts";
import { TaskLogs } from "../telemetry/task_logs.ts";
import type { WorkerTelemetry } from "../telemetry/worker_telemetry.ts";
import { Endpoints } from "./endpoints.ts";
import { Facts } from "./facts.ts";
import { JournalFetches, Views } from "./fetches.ts";
import { type Receivers, takeFrame } from "./incoming.ts";
import { LeaseKeeper } from "./lease_keeper.ts";
import { Outbox, sendLogs } from "./outbox.ts";
import type { Connected, FrameStream, OpenStream } from "./stream.ts";
import { createTaskPort } from "./task_port.ts";
import { TaskTable } from "./task_table.ts";
import { durationMs, durationOf } from "./translate.ts";

/** Version of the protocol that this worker speaks. */
export const PROTOCOL_VERSION = 1;
/**
 * Waits between connections; never longer than a worker waits between renewals, which it would miss. With the time that a connection
 * may take, a link that heals is in use again within 5 s.
 */
const RECONNECT_BACKOFF = { initialMs: 100, maxMs: 2 * SECOND, factor: 2, jitter: "full" } as const;
/** Time after which a stream that ends was of use: failures count from the start again. */
const STABLE_MS = 5 * SECOND;
/** Waits between tries to find another replica while a drained one still serves. */
const MOVE_BACKOFF = { initialMs: 50, maxMs: 500, factor: 2, jitter: "full" } as const;
/** Longest wait for acknowledgements at the end of a drain, and for the server to close after Goodbye. */
const SETTLE_MS_MAX = 5 * SECOND;
const CLOSE_MS_MAX = 1 * SECOND;
const FRAME_BYTES_DEFAULT = 512 * KIB;

/** Who this worker is and what it can do. */
export interface SessionOptions {
  /** host:port, tried in turn, in an order by chance. */
  readonly endpoints: readonly string[];
  readonly openStream: OpenStream;
  /** Longest wait for Welcome, in ms, connecting included. */
  readonly welcomeMs: number;
  readonly instanceId: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly runtimes: Runtimes;
  /** Names of registered handlers, for runtime handler. */
  readonly handlers: readonly string[];
  readonly version: string;
  /** Called after the first Welcome. */
  readonly onReady: (sessionId: string) => void;
  /** Called at each Welcome with where the control plane listens, and the endpoint that was dialled. */
  readonly onControlPlane?: (told: readonly string[], endpoint: string) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly telemetry: WorkerTelemetry;
}

/** See the file header. */
export class WorkerSession {
  readonly #options: SessionOptions;
  readonly #outbox = new Outbox();
  readonly #facts = new Facts(this.#outbox);
  readonly #views = new Views(this.#outbox);
  readonly #journals = new JournalFetches(this.#outbox);
  readonly #keeper: LeaseKeeper;
  readonly #logs: TaskLogs;
  /** The server takes lines of tasks; what one that does not would be sent is left out. */
  #takesLogs = true;
  readonly #tasks: TaskTable;
  readonly #stopping = new AbortController();
  /** The stream that the server answered with Welcome last: everything is sent there. */
  #stream: FrameStream | undefined;
  /** Every stream that has not ended. */
  readonly #opened = new Set<FrameStream>();
  /** The stream that is to follow the one of now, while both are there. */
  #next: Promise<Connected> | undefined;
  /** The stream whose server asked to be left. */
  #drained: FrameStream | undefined;
  readonly #endpoints: Endpoints;
  readonly #receivers: Receivers;
  #cancelReturn = () => {};
  #sessionId = "";
  #frameBytesMax = FRAME_BYTES_DEFAULT;
  #reconnect: Backoff = RECONNECT_BACKOFF;
  #callId = 0n;
  /** Told to every stream once known: this worker takes nothing more, by its own stop or by an operator. */
  #drain: { readonly windowMs: number; readonly reason: string } | undefined;
  /** Goodbye was said: the end of this stream is the end of the session. */
  #ending = false;
  #running: Promise<void> = Promise.resolve();

  constructor(options: SessionOptions) {
    this.#options = options;
    const { clock, slots, runtimes, log, telemetry } = options;
    this.#endpoints = new Endpoints(options.endpoints, options.random);
    this.#logs = new TaskLogs(clock, (lines) => !this.#takesLogs || sendLogs(this.#outbox, lines));
    this.#keeper = new LeaseKeeper(clock, (sequence) => this.#sendRenewal(sequence));
    const port = {
      facts: this.#facts,
      keeper: this.#keeper,
      nextCallId: () => {
        this.#callId += 1n;
        return this.#callId;
      },
      frameBytesMax: () => this.#frameBytesMax,
    };
    const shared = { facts: this.#facts, views: this.#views, journals: this.#journals, log };
    this.#tasks = new TaskTable({
      ...shared,
      slots,
      outbox: this.#outbox,
      port: (taskId, token) => createTaskPort(taskId, token, port),
      runtimes,
      ...{ logs: this.#logs, telemetry },
    });
    this.#receivers = { ...shared, tasks: this.#tasks, keeper: this.#keeper };
  }

  /**
   * Connects and stays connected until drain or abort.
   *
   * @returns resolves when the session has ended.
   * @throws DomainError CREDENTIALS_INVALID when the server refuses this worker before the first Welcome.
   */
  run(): Promise<void> {
    this.#running = this.#runUntilIdle();
    return this.#running;
  }

  /**
   * Takes nothing more, lets tasks finish within the window, gives the rest back, says Goodbye.
   *
   * @returns resolves when the stream is closed; never rejects.
   */
  async drain(windowMs: number): Promise<void> {
    const { log } = this.#options;
    log("info", "draining", { tasks: this.#tasks.held().length, windowMs });
    this.#tasks.drain();
    this.#drain = { windowMs, reason: "the worker stops" };
    if (this.#stream !== undefined) this.#tellDrain(this.#stream);
    await this.#within(windowMs, this.#tasks.idle());
    this.#tasks.interrupt();
    // Tools get their chance to end; what does not is left to the server's view of the lease.
    await this.#within(SETTLE_MS_MAX, this.#tasks.idle());
    if (this.#sessionId !== "") await this.#within(SETTLE_MS_MAX, this.#facts.settled());
    this.#outbox.flush();
    if (this.#opened.size > 0) {
      this.#outbox.detach();
      this.#ending = true;
      // Also where only Hello was said: a session that is made there would live on for a ttl.
      for (const stream of this.#opened) {
        stream.write({ case: "goodbye", value: create(GoodbyeSchema, { reason: "draining" }) });
        stream.end();
      }
      await this.#within(
        CLOSE_MS_MAX,
        this.#running.catch(() => {}),
      );
    }
    this.abort();
    await this.#running.catch(() => {});
  }

  /** Takes the session over to a new connection, which proves itself by what the worker's files hold now; then leaves this one. */
  moveOn(): void {
    const current = this.#stream;
    if (current === undefined || this.#next !== undefined || this.#ending || this.#stopping.signal.aborted) return;
    this.#next = this.#dialBeside(current, this.#reconnect);
  }

  /** Ends at once: the server finds out by itself. */
  abort(): void {
    this.#stopping.abort();
    this.#tasks.interrupt();
    this.#logs.close();
    for (const stream of this.#opened) stream.cancel();
  }

  // Commands that were told to stop are killed when they do not: the process must not end before.
  async #runUntilIdle(): Promise<void> {
    await this.#connectUntilStopped();
    await this.#within(SETTLE_MS_MAX, this.#tasks.idle(), new AbortController().signal);
  }

  async #connectUntilStopped(): Promise<void> {
    const { clock, random, log } = this.#options;
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      const attachedBefore = this.#sessionId !== "";
      const { end, attached, endpoint, startMs } = await this.#takeNext();
      if (this.#ending) await this.#next;
      if (this.#stopping.signal.aborted || this.#ending) return;
      // A stream that took over from a drained one is the next one to wait for.
      if (this.#next !== undefined) continue;
      if (end.refused && !attachedBefore && !attached) {
        throw new DomainError("CREDENTIALS_INVALID", `the server at ${endpoint} refused this worker: ${end.message}`);
      }
      this.#endpoints.next();
      // A server that takes the worker in and drops it at once counts as failing.
      const stable = attached && clock.monotonic() - startMs >= STABLE_MS;
      failures = stable ? 1 : failures + 1;
      log(end.polite ? "info" : "warn", "not connected, trying again", { endpoint, reason: end.message });
      // After a polite end the next replica is dialled at once, if there is one and this one was of use.
      const { size } = this.#endpoints;
      if (end.polite && attached && size > 1 && failures <= size) continue;
      await clock.sleep(backoffDelay(this.#reconnect, failures, random), this.#stopping.signal);
    }
  }

  #takeNext(): Promise<Connected> {
    const next = this.#next ?? this.#connection(this.#endpoints.current);
    this.#next = undefined;
    return next;
  }

  // One stream from Hello to its end.
  #connection(endpoint: string): Promise<Connected> {
    const { clock, openStream, welcomeMs, log } = this.#options;
    return new Promise((resolve) => {
      let attached = false;
      let polite: string | undefined;
      const startMs = clock.monotonic();
      const stream = openStream(endpoint, {
        onFrame: (frame) => {
          try {
            if (frame.case === "welcome") {
              cancelWelcome();
              attached = true;
              if (this.#ending) return;
              this.#options.onControlPlane?.(frame.value.controlPlane, endpoint);
              this.#endpoints.reached(endpoint);
              this.#attach(stream, frame.value, startMs);
            } else if (frame.case === "goodbye") {
              polite = `the server said goodbye: ${frame.value.reason}`;
              stream.cancel();
              // What a stream says that another one took over from is answered there again.
            } else if (this.#stream !== stream) return;
            else if (frame.case === "drain") this.#leave(frame.value, stream);
            else takeFrame(frame, this.#receivers);
          } catch (error) {
            log("error", "a frame could not be handled, reconnecting", { error: messageOf(error) });
            stream.cancel();
          }
        },
        onWritable: () => {
          if (this.#stream === stream) this.#outbox.writable();
        },
        onEnd: (end) => {
          cancelWelcome();
          this.#opened.delete(stream);
          if (this.#stream === stream) this.#detach();
          const message = polite ?? end.message;
          resolve({ end: { ...end, message, polite: polite !== undefined }, attached, endpoint, startMs });
        },
      });
      const cancelWelcome = clock.after(welcomeMs, () => {
        stream.cancel(`no Welcome within ${welcomeMs / SECOND} s, still waiting for ${stream.awaited}`);
      });
      this.#opened.add(stream);
      stream.write({ case: "hello", value: this.#hello() });
    });
  }

  // A replica that shuts down is left only when another one has taken the session over: leases are renewed all along. A drain that is
  // for this worker is a word: the server assigns nothing more, and every server that follows is told.
  #leave({ move, reason, window }: Drain, drained: FrameStream): void {
    this.#options.log("info", move ? "asked to move on" : "drained by an operator", { reason });
    if (move) this.#drained = drained;
    else this.#drain ??= { windowMs: durationMs(window) ?? 0, reason };
    if (move && this.#next === undefined) this.#next = this.#dialBeside(drained, MOVE_BACKOFF);
  }

  // Behind one address a balancer may lead to the same replica again, which refuses: then once more, as long as the old one serves.
  async #dialBeside(from: FrameStream, backoff: Backoff): Promise<Connected> {
    const { clock, random, log } = this.#options;
    for (let failures = 1; ; failures += 1) {
      const elsewhere = failures > 1 || this.#drained === from;
      const ended = await this.#connectionBeside(from, elsewhere ? this.#endpoints.next() : this.#endpoints.current);
      if (ended.attached || this.#stream !== from || this.#ending || this.#stopping.signal.aborted) return ended;
      log("info", "could not move to another connection, trying again", { reason: ended.end.message });
      await clock.sleep(backoffDelay(backoff, failures, random), this.#stopping.signal);
    }
  }

  // A worker that lost its own endpoint goes back to it some time later, if it is there again.
  #returnLater(from: FrameStream): void {
    const { clock, log } = this.#options;
    const waitMs = this.#endpoints.returnMs();
    if (waitMs === undefined) return;
    this.#cancelReturn = clock.after(waitMs, () => {
      const taken = this.#stream !== from || this.#next !== undefined || this.#drain !== undefined;
      if (taken || this.#ending || this.#stopping.signal.aborted) return;
      log("debug", "trying its own endpoint again", { endpoint: this.#endpoints.own });
      this.#next = this.#return(from);
    });
  }

  // The Hello of the new stream names what is held now: what an old one that is not drained assigns from here on is given back.
  async #connectionBeside(from: FrameStream, endpoint: string): Promise<Connected> {
    if (this.#drained !== from) this.#tasks.pause();
    const ended = await this.#connection(endpoint);
    if (!ended.attached) this.#tasks.resume();
    return ended;
  }

  async #return(from: FrameStream): Promise<Connected> {
    const ended = await this.#connectionBeside(from, this.#endpoints.own);
    if (ended.attached || this.#stream !== from || this.#ending || this.#stopping.signal.aborted) return ended;
    this.#endpoints.returnFailed();
    if (this.#drained === from) return await this.#dialBeside(from, MOVE_BACKOFF);
    this.#next = undefined;
    this.#returnLater(from);
    return ended;
  }

  #hello() {
    const { instanceId, name, labels, slots, runtimes, handlers, version } = this.#options;
    return create(HelloSchema, {
      protocolVersion: PROTOCOL_VERSION,
      instanceId,
      resumeSessionId: this.#sessionId,
      workerName: name,
      labels: { ...labels },
      slots,
      runtimes: [...runtimes.keys()],
      handlers: [...handlers],
      version,
      held: this.#tasks.held(),
    });
  }

  #attach(stream: FrameStream, welcome: Welcome, helloSentMs: number): void {
    const first = this.#sessionId === "";
    if (!first && this.#sessionId !== welcome.sessionId) this.#tasks.newSession();
    this.#sessionId = welcome.sessionId;
    this.#takesLogs = welcome.takesTaskLogs;
    if (welcome.frameBytesMax > 0) this.#frameBytesMax = welcome.frameBytesMax;
    const ttlMs = durationMs(welcome.leaseTtl) ?? 30 * SECOND;
    const renewMs = durationMs(welcome.renewInterval) ?? ttlMs / 3;
    this.#reconnect = { ...RECONNECT_BACKOFF, maxMs: Math.min(RECONNECT_BACKOFF.maxMs, renewMs) };
    const left = this.#stream;
    this.#stream = stream;
    this.#outbox.attach(stream);
    left?.cancel();
    this.#cancelReturn();
    this.#returnLater(stream);
    if (this.#drain !== undefined) this.#tellDrain(stream);
    this.#keeper.connected({ ttlMs, renewMs }, helloSentMs);
    for (const { token, keep } of welcome.held) if (!keep) this.#tasks.lost(token);
    this.#tasks.resume();
    this.#tasks.resend();
    this.#facts.resend();
    this.#views.resend();
    this.#journals.resend();
    this.#options.log(first ? "debug" : "info", "connected", { session: welcome.sessionId });
    if (first) this.#options.onReady(welcome.sessionId);
  }

  #tellDrain(stream: FrameStream): void {
    const { windowMs, reason } = this.#drain as { windowMs: number; reason: string };
    stream.write({ case: "drain", value: create(DrainSchema, { window: durationOf(windowMs), reason }) });
  }

  #detach(): void {
    this.#stream = undefined;
    this.#cancelReturn();
    this.#outbox.detach();
    this.#keeper.disconnected();
  }

  #sendRenewal(sequence: bigint): void {
    const tokens = this.#tasks.held().map(({ token }) => token);
    this.#outbox.add({ kind: "renew", tokens, sequence, lastAssign: this.#tasks.lastAssign });
  }

  async #within(ms: number, promise: Promise<void>, signal = this.#stopping.signal): Promise<void> {
    const waited = new AbortController();
    await Promise.race([promise, this.#options.clock.sleep(ms, AbortSignal.any([waited.signal, signal]))]);
    waited.abort();
  }
}

// This worker's session with the control plane, across streams: connects, says Hello, hands frames on, reconnects, ends politely.
// Started and stopped by worker.ts. What frames mean is decided by the task table, the facts, the fetches and the lease keeper.
// One stream at a time. A stream that ends is replaced after a jittered wait; facts without an answer are then sent again.
// States: connecting → greeting (Hello sent) → attached (Welcome came) → connecting … → ended.

import { create } from "@bufbuild/protobuf";
import { backoffDelay } from "../../kit/backoff.ts";
import type { Clock } from "../../kit/clock.ts";
import { DomainError, messageOf } from "../../kit/errors.ts";
import type { Random } from "../../kit/random.ts";
import { KIB, SECOND } from "../../kit/units.ts";
import { type Drain, GoodbyeSchema, HelloSchema, type Welcome } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { AgentView } from "../agent/view.ts";
import type { Log } from "../log.ts";
import { Facts } from "./facts.ts";
import { JournalFetches, Views } from "./fetches.ts";
import { LeaseKeeper } from "./lease_keeper.ts";
import { Outbox } from "./outbox.ts";
import type { FrameStream, OpenStream, ResponseFrame, StreamEnd } from "./stream.ts";
import { createTaskPort } from "./task_port.ts";
import { type RunTask, TaskTable } from "./task_table.ts";
import { durationMs } from "./translate.ts";

/** Version of the protocol that this worker speaks. */
export const PROTOCOL_VERSION = 1;
/** Waits between connections. */
export const RECONNECT_BACKOFF = { initialMs: 100, maxMs: 5 * SECOND, factor: 2, jitter: "full" } as const;
/** Longest wait for Welcome. */
const WELCOME_MS_MAX = 10 * SECOND;
/** Longest wait for acknowledgements at the end of a drain, and for the server to close after Goodbye. */
const SETTLE_MS_MAX = 5 * SECOND;
const CLOSE_MS_MAX = 1 * SECOND;
const FRAME_BYTES_DEFAULT = 512 * KIB;

/** Who this worker is and what it can do. */
export interface SessionOptions {
  /** host:port, tried in turn. */
  readonly endpoints: readonly string[];
  readonly openStream: OpenStream;
  readonly instanceId: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly runtimes: readonly string[];
  readonly version: string;
  readonly runTask: RunTask;
  readonly supports: (agent: AgentView) => boolean;
  /** Called after the first Welcome. */
  readonly onReady: (sessionId: string) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

type EndOfStream = StreamEnd & { readonly polite: boolean };

/** See the file header. */
export class WorkerSession {
  readonly #options: SessionOptions;
  readonly #outbox = new Outbox();
  readonly #facts = new Facts(this.#outbox);
  readonly #views = new Views(this.#outbox);
  readonly #journals = new JournalFetches(this.#outbox);
  readonly #keeper: LeaseKeeper;
  readonly #tasks: TaskTable;
  readonly #stopping = new AbortController();
  #stream: FrameStream | undefined;
  #sessionId = "";
  #frameBytesMax = FRAME_BYTES_DEFAULT;
  #callId = 0n;
  /** Goodbye was said: the end of this stream is the end of the session. */
  #ending = false;
  #endpoint = 0;
  #running: Promise<void> = Promise.resolve();

  constructor(options: SessionOptions) {
    this.#options = options;
    const { clock, slots, runTask, supports, log } = options;
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
    this.#tasks = new TaskTable({
      slots,
      outbox: this.#outbox,
      facts: this.#facts,
      views: this.#views,
      journals: this.#journals,
      port: (taskId, token) => createTaskPort(taskId, token, port),
      runTask,
      supports,
      log,
    });
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
    await this.#within(windowMs, this.#tasks.idle());
    this.#tasks.interrupt();
    // Tools get their chance to end; what does not is left to the server's view of the lease.
    await this.#within(SETTLE_MS_MAX, this.#tasks.idle());
    if (this.#sessionId !== "") await this.#within(SETTLE_MS_MAX, this.#facts.settled());
    this.#outbox.flush();
    const stream = this.#stream;
    if (stream !== undefined) {
      this.#outbox.detach();
      stream.write({ case: "goodbye", value: create(GoodbyeSchema, { reason: "draining" }) });
      stream.end();
      this.#ending = true;
      await this.#within(
        CLOSE_MS_MAX,
        this.#running.catch(() => {}),
      );
    }
    this.abort();
    await this.#running.catch(() => {});
  }

  /** Ends at once: the server finds out by itself. */
  abort(): void {
    this.#stopping.abort();
    this.#tasks.interrupt();
    this.#stream?.cancel();
  }

  // Commands that were told to stop are killed when they do not: the process must not end before.
  async #runUntilIdle(): Promise<void> {
    await this.#connectUntilStopped();
    await this.#within(SETTLE_MS_MAX, this.#tasks.idle(), new AbortController().signal);
  }

  async #connectUntilStopped(): Promise<void> {
    const { clock, random, endpoints, log } = this.#options;
    let failures = 0;
    while (!this.#stopping.signal.aborted) {
      const endpoint = endpoints[this.#endpoint % endpoints.length] as string;
      const attachedBefore = this.#sessionId !== "";
      const startMs = clock.monotonic();
      const { end, attached } = await this.#connection(endpoint);
      if (this.#stopping.signal.aborted || this.#ending) return;
      if (end.refused && !attachedBefore && !attached) {
        throw new DomainError("CREDENTIALS_INVALID", `the server at ${endpoint} refused this worker: ${end.message}`);
      }
      this.#endpoint += 1;
      // A server that takes the worker in and drops it at once counts as failing.
      const stable = attached && clock.monotonic() - startMs >= RECONNECT_BACKOFF.maxMs;
      failures = stable ? 1 : failures + 1;
      log(end.polite ? "info" : "warn", "not connected, trying again", { endpoint, reason: end.message });
      // After a polite end the next replica is dialled at once, if there is one and this one was of use.
      if (end.polite && attached && endpoints.length > 1 && failures <= endpoints.length) continue;
      await clock.sleep(backoffDelay(RECONNECT_BACKOFF, failures, random), this.#stopping.signal);
    }
  }

  // One stream from Hello to its end.
  #connection(endpoint: string): Promise<{ end: EndOfStream; attached: boolean }> {
    const { clock, openStream, log } = this.#options;
    return new Promise((resolve) => {
      let attached = false;
      let polite: string | undefined;
      const helloSentMs = clock.monotonic();
      const stream = openStream(endpoint, {
        onFrame: (frame) => {
          try {
            if (frame.case === "welcome") {
              cancelWelcome();
              attached = true;
              this.#attach(stream, frame.value, helloSentMs);
            } else if (frame.case === "goodbye") {
              polite = `the server said goodbye: ${frame.value.reason}`;
              stream.cancel();
            } else if (frame.case === "drain") {
              polite = this.#moveOn(frame.value, stream);
            } else if (attached) this.#take(frame);
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
          this.#detach();
          resolve({ end: { ...end, message: polite ?? end.message, polite: polite !== undefined }, attached });
        },
      });
      const cancelWelcome = clock.after(WELCOME_MS_MAX, () => stream.cancel());
      this.#stream = stream;
      stream.write({ case: "hello", value: this.#hello() });
    });
  }

  // With another endpoint at hand the drained one is left at once; facts and leases go along by resume.
  #moveOn(drain: Drain, stream: FrameStream): string | undefined {
    this.#options.log("info", "the server is draining", { reason: drain.reason });
    if (this.#options.endpoints.length < 2) return undefined;
    stream.cancel();
    return `the server is draining: ${drain.reason}`;
  }

  #hello() {
    const { instanceId, name, labels, slots, runtimes, version } = this.#options;
    return create(HelloSchema, {
      protocolVersion: PROTOCOL_VERSION,
      instanceId,
      resumeSessionId: this.#sessionId,
      workerName: name,
      labels: { ...labels },
      slots,
      runtimes: [...runtimes],
      version,
      held: this.#tasks.held(),
    });
  }

  #attach(stream: FrameStream, welcome: Welcome, helloSentMs: number): void {
    const first = this.#sessionId === "";
    if (!first && this.#sessionId !== welcome.sessionId) this.#tasks.newSession();
    this.#sessionId = welcome.sessionId;
    if (welcome.frameBytesMax > 0) this.#frameBytesMax = welcome.frameBytesMax;
    const ttlMs = durationMs(welcome.leaseTtl) ?? 30 * SECOND;
    const renewMs = durationMs(welcome.renewInterval) ?? ttlMs / 3;
    this.#outbox.attach(stream);
    this.#keeper.connected({ ttlMs, renewMs }, helloSentMs);
    this.#tasks.keepOnly(new Set(welcome.held.filter(({ keep }) => !keep).map(({ taskId }) => taskId)));
    this.#tasks.resend();
    this.#facts.resend();
    this.#views.resend();
    this.#journals.resend();
    this.#options.log(first ? "debug" : "info", "connected", { session: welcome.sessionId });
    if (first) this.#options.onReady(welcome.sessionId);
  }

  #detach(): void {
    this.#stream = undefined;
    this.#outbox.detach();
    this.#keeper.disconnected();
  }

  #take(frame: ResponseFrame): void {
    switch (frame.case) {
      case "assign":
        this.#tasks.assign(frame.value.assignments);
        break;
      case "renewAck":
        this.#keeper.acknowledged(frame.value.sequence);
        for (const token of frame.value.lostTokens) this.#tasks.lost(token);
        this.#tasks.cancel(frame.value.cancels);
        break;
      case "turnAcks":
        for (const { token, sequence, verdict, error } of frame.value.acks) {
          this.#facts.turnAcknowledged(token, sequence, verdict, error);
        }
        break;
      case "toolDecisions":
        for (const decision of frame.value.decisions) this.#facts.decided(decision);
        break;
      case "toolResultAcks":
        for (const ack of frame.value.acks) this.#facts.resultAcknowledged(ack.callId, ack.verdict, ack.error);
        break;
      case "outcomeAcks":
        for (const ack of frame.value.acks) this.#facts.outcomeAcknowledged(ack.token, ack.verdict, ack.error);
        break;
      case "cancel":
        this.#tasks.cancel(frame.value.tasks);
        break;
      case "views":
        this.#views.deliver(frame.value);
        break;
      case "journalPages":
        this.#journals.deliver(frame.value);
        break;
      default:
        this.#options.log("debug", "unknown frame ignored", { frame: String(frame.case) });
    }
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

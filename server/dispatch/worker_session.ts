// One worker stream: takes frames in phase order, keeps credit and held tokens, and sends bounded frames back.
// Made by session_registry.ts for each stream; rpc/worker_service.ts pumps it. Facts go to worker_facts.ts.
// Phases: greeting (Hello only) → open → ended. Only Goodbye is a polite end. A worker that does not read is closed.

import { BoundedQueue } from "../../kit/bounded_queue.ts";
import { DomainError, messageOf } from "../../kit/errors.ts";
import { SECOND } from "../../kit/units.ts";
import type {
  Hello,
  Outcome,
  RenewLeases,
  SessionRequest,
  SessionResponse,
  TaskLog,
  YieldLeases,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { CancelOrder } from "../commands/context.ts";
import type { Assigned } from "../commands/lease_tasks.ts";
import type { Principal } from "../commands/views.ts";
import { Rests } from "../queue/rests.ts";
import type { WorkerCapabilities } from "../queue/route.ts";
import { assignmentBytes, assignmentFrame } from "./assignment.ts";
import type { ConnectedWorker } from "./connected_worker.ts";
import { fetchJournal, fetchViews } from "./fetches.ts";
import { checkHello } from "./hello.ts";
import { redactedFrame } from "./redacted_frame.ts";
import type { SessionHost } from "./session_host.ts";
import { FRAME_BYTES_MAX } from "./timing.ts";
import { durationMs, durationOf, frameOf, inFrames } from "./wire.ts";
import { decideToolCalls, recordResultFacts, recordTurnFacts, settleOutcomeFacts } from "./worker_facts.ts";

/** Frames that may wait for a worker that reads slowly. */
const OUTGOING_MAX = 1_000;
/** Highest assignment sequence that a worker may tell. */
const SEQUENCE_MAX = 1n << 52n;
/** Time that a worker has to take its session to another connection, in ms, as it is told. */
const MOVE_WINDOW_MS = 30 * SECOND;
/** Tokens that a session held before, as far back as it is remembered. */
const FORMER_MAX = 4_096;
/** Facts of one session that may wait for their commit; beyond it the next frame is not read. */
const FACT_FRAMES_MAX = 64;

/** A task that the session holds. */
export interface HeldAssignment {
  readonly taskId: string;
  readonly token: string;
  /** Empty when an earlier stream took it. */
  readonly route: string;
  accepted: boolean;
  /** The worker acknowledged a cancel. */
  stopping: boolean;
  /** Of its lease; absent when an earlier stream took it. */
  readonly attempt?: number;
  readonly delivery?: number;
}

/** A renewal that waits for the flush. */
export interface PendingRenewal {
  readonly sequence: bigint;
  readonly tokens: readonly string[];
}

/** Reasons of a failure that is the worker's. */
const VIOLATIONS: ReadonlySet<string> = new Set(["PROTOCOL_VIOLATION", "PAYLOAD_TOO_LARGE"]);

/** See the file header. */
export class WorkerSession implements ConnectedWorker {
  readonly principal: Principal;
  readonly peer: string;
  /** Set by Hello. */
  id = "";
  epoch = 0n;
  name = "";
  capabilities: WorkerCapabilities = { runtimes: [], handlers: [], labels: {} };
  draining = false;
  /** Seen since the last renewal of its row. */
  seen = false;
  renewals: PendingRenewal[] = [];
  /** Accepted leases that the last renewal did not name. */
  unnamed: ReadonlySet<string> = new Set();
  /** The store has no accepted lease of it, as far as it was looked for since the last assignment. */
  hasNothing = false;
  acceptsToFlush: HeldAssignment[] = [];
  readonly held = new Map<string, HeldAssignment>();
  readonly #rests = new Rests();
  /** What it held and does not any more, by token, newest last: a late word about one of them is no lie. */
  readonly #former = new Map<string, HeldAssignment>();
  readonly #host: SessionHost;
  readonly #outgoing = new BoundedQueue<SessionResponse>(OUTGOING_MAX);
  readonly #factFrames = new Set<Promise<void>>();
  #phase: "greeting" | "opening" | "open" | "ended" = "greeting";
  #failure: unknown;
  #polite = false;
  #credit = 0;
  /** Of it, what is kept for tasks whose leases are on their way to the database. */
  #reserved = 0;
  #lastSeenSequence = 0n;
  #sequence = 0n;

  constructor(host: SessionHost, principal: Principal, peer: string) {
    this.#host = host;
    this.principal = principal;
    this.peer = peer;
  }

  get isOpen(): boolean {
    return this.#phase === "open";
  }

  /** Free slots: the credit less what was assigned after the worker counted it, and what is kept. */
  get free(): number {
    if (!this.isOpen || this.draining) return 0;
    return Math.max(0, this.#credit - this.#reserved - Number(this.#sequence - this.#lastSeenSequence));
  }

  /** Keeps free slots for tasks that are being leased; negative: no more. */
  reserve(slots: number): void {
    this.#reserved += slots;
  }

  /** False while tasks of the route are not offered because they came back. */
  takes(route: string): boolean {
    return !this.#rests.isResting(route, this.#host.clock.monotonic());
  }

  async receive(request: SessionRequest): Promise<void> {
    const frame = redactedFrame(this.#host.context.redactor, request.frame);
    this.seen = true;
    // A fact may bring a lease back that was lost.
    if (frame.case !== "renew" && frame.case !== "credit") this.hasNothing = false;
    if (this.#phase === "greeting") {
      if (frame.case !== "hello") throw violation("the first frame of a session must be Hello");
      return await this.#greet(frame.value);
    }
    if (this.#phase === "ended") return;
    const { services } = this.#host;
    const sender = { sessionId: this.id, worker: this.name };
    switch (frame.case) {
      case "credit":
        this.#credit = bounded(frame.value.freeSlots, 0, 1_000, "free_slots");
        this.#lastSeenSequence = this.#bySequence(frame.value.lastAssignSequence);
        return this.#host.creditChanged();
      case "accept":
        await this.#refuseStrange("accept", frame.value.tokens);
        return this.#accept(frame.value.tokens);
      case "yield":
        await this.#refuseStrange("yield", tokensOf(frame.value.leases));
        return this.#yield(frame.value);
      case "renew":
        await this.#refuseStrange("renewal", frame.value.tokens);
        this.#keepLogs(frame.value.logs);
        return this.#renew(frame.value);
      case "taskLogs":
        await this.#refuseStrange("task_log", tokensOf(frame.value.logs));
        return this.#keepLogs(frame.value.logs);
      case "turns":
        return await this.#fact(recordTurnFacts(services, sender, frame.value.turns));
      case "toolCalls":
        return await this.#fact(decideToolCalls(services, sender, frame.value.calls));
      case "toolResults":
        return await this.#fact(recordResultFacts(services, sender, frame.value.results));
      case "outcomes":
        return await this.#fact(this.#settleOutcomes(frame.value.outcomes));
      case "cancelAck":
        await this.#refuseStrange("cancel_ack", frame.value.tokens);
        for (const token of frame.value.tokens) this.#markStopping(token);
        return;
      case "drain":
        this.draining = true;
        return await this.#host.setDraining(this, durationMs(frame.value.window));
      case "fetchViews":
        return await this.#fact(fetchViews(this.#host.context, frame.value.digests));
      case "fetchJournal":
        await this.#refuseStrange("journal", [frame.value.token]);
        return await this.#fact(fetchJournal(this.#host.context, this.id, frame.value));
      case "goodbye":
        this.#polite = true;
        return this.#end();
      default:
        throw violation(`frame ${frame.case ?? "(none)"} is not expected here`);
    }
  }

  async *outgoing(signal: AbortSignal): AsyncIterable<SessionResponse> {
    yield* this.#outgoing.items(signal);
    if (this.#failure !== undefined) throw this.#failure;
  }

  closed(violation?: string): void {
    this.#end(undefined, violation);
  }

  /** Ends the stream with an error. */
  fail(error: unknown): void {
    this.#failure ??= error;
    this.#end();
  }

  send(frame: SessionResponse): boolean {
    if (this.#phase === "ended") return false;
    if (this.#outgoing.push(frame)) return true;
    this.fail(new DomainError("TOO_MANY", "the worker does not read its stream"));
    return false;
  }

  /** Sends leased tasks; false if the stream is gone, and the leases are to be given back. */
  assign(tasks: readonly Assigned[]): boolean {
    if (!this.isOpen) return false;
    this.hasNothing = false;
    const assignments = tasks.map((assigned) => {
      this.#sequence += 1n;
      this.held.set(assigned.token, {
        taskId: assigned.task.id,
        token: assigned.token,
        route: assigned.task.route,
        accepted: false,
        stopping: false,
        attempt: assigned.task.attempt,
        delivery: assigned.task.deliveries,
      });
      return assignmentFrame(assigned, this.#sequence);
    });
    // Inputs and journals are large: a frame ends before it grows beyond what a worker takes.
    const frames = inFrames(assignments, assignmentBytes, FRAME_BYTES_MAX / 2);
    return frames.every((part) => this.send(frameOf({ case: "assign", value: { assignments: part } })));
  }

  /** Tells the worker to stop tasks, unless it acknowledged that already. */
  cancel(orders: readonly CancelOrder[]): void {
    const tasks = orders
      .filter((order) => this.held.get(order.token)?.stopping !== true)
      .map(({ taskId, token, reason, graceMs }) => ({ taskId, token, reason, grace: durationOf(graceMs) }));
    if (tasks.length > 0) this.send(frameOf({ case: "cancel", value: { tasks } }));
  }

  /** Asks the worker to finish what it holds; move: to take its session to another replica. It is assigned nothing more here. */
  askToDrain(windowMs: number, reason: string, move = false): void {
    this.draining = true;
    this.send(frameOf({ case: "drain", value: { window: durationOf(windowMs), reason, move } }));
  }

  moveOn(): void {
    if (this.isOpen && !this.draining) this.askToDrain(MOVE_WINDOW_MS, "the connection is old", true);
  }

  /** Says the polite end and closes. */
  goodbye(reason: string): void {
    this.#end(frameOf({ case: "goodbye", value: { reason } }));
  }

  async #greet(hello: Hello): Promise<void> {
    this.#phase = "opening";
    const checked = checkHello(hello, this.principal);
    if (hello.resumeSessionId !== "") this.#host.context.secrets.learnAll();
    this.name = checked.name;
    this.capabilities = checked.capabilities;
    const welcome = await this.#host.open(this, hello);
    if ((this.#phase as string) === "ended") return;
    this.#phase = "open";
    this.#outgoing.push(frameOf({ case: "welcome", value: welcome }));
    this.#host.opened(this);
  }

  /** Holds a lease no more; remembers that it did. */
  release(token: string): void {
    const held = this.held.get(token);
    if (held === undefined) return;
    this.held.delete(token);
    this.#former.set(token, held);
    for (const oldest of this.#former.keys()) {
      if (this.#former.size <= FORMER_MAX) break;
      this.#former.delete(oldest);
    }
  }

  // Tokens that the session was never given change nothing, and are recorded.
  async #refuseStrange(fact: string, tokens: readonly string[]): Promise<void> {
    const strange = tokens.filter((token) => !this.held.has(token) && !this.#former.has(token));
    if (strange.length > 0) await this.#bounded(this.#host.refuse(this, fact, strange));
  }

  #keepLogs(logs: readonly TaskLog[]): void {
    for (const log of logs) {
      this.#host.taskLogs.take(this.name, log, this.held.get(log.token) ?? this.#former.get(log.token));
    }
  }

  #accept(tokens: readonly string[]): void {
    for (const token of tokens) {
      const held = this.held.get(token);
      if (held === undefined || held.accepted) continue;
      held.accepted = true;
      this.acceptsToFlush.push(held);
    }
    this.#host.renewalsPending(this);
  }

  #yield(frame: YieldLeases): void {
    for (const { token, reason } of frame.leases) {
      const held = this.held.get(token);
      if (held === undefined) continue;
      this.#rests.returned(held.route, this.#host.clock.monotonic());
      this.#host.giveBack(this, [held], "yielded", reason.slice(0, 200));
    }
  }

  #renew(frame: RenewLeases): void {
    const seen = this.#bySequence(frame.lastAssignSequence);
    if (seen > this.#lastSeenSequence) this.#lastSeenSequence = seen;
    this.renewals.push({ sequence: frame.sequence, tokens: frame.tokens });
    this.#host.renewalsPending(this);
  }

  // A resumed session goes on counting where its worker stands. After that no worker has seen what was not sent: claims never
  // exceed its credit, whatever it says.
  #bySequence(claimed: bigint): bigint {
    if (claimed < 0n || claimed > SEQUENCE_MAX) throw violation("last_assign_sequence is out of range");
    if (this.#sequence === 0n) this.#sequence = claimed;
    return claimed < this.#sequence ? claimed : this.#sequence;
  }

  // Held until the outcome is settled: a renewal that overtakes it must not be told that the lease is lost.
  async #settleOutcomes(outcomes: readonly Outcome[]): Promise<SessionResponse> {
    const answer = await settleOutcomeFacts(this.#host.services, { sessionId: this.id, worker: this.name }, outcomes);
    for (const { taskId, token, outcome } of outcomes) {
      if (this.held.get(token)?.taskId === taskId) this.#settled(token, outcome.case === "interrupted");
    }
    return answer;
  }

  #settled(token: string, cameBack: boolean): void {
    const route = this.held.get(token)?.route;
    this.release(token);
    if (route === undefined) return;
    if (cameBack) this.#rests.returned(route, this.#host.clock.monotonic());
    else this.#rests.ended(route);
  }

  #markStopping(token: string): void {
    const held = this.held.get(token);
    if (held !== undefined) held.stopping = true;
  }

  // Facts are committed while the next frame is read, up to a bound; an error that is not the worker's ends the session.
  async #fact(answer: Promise<SessionResponse>): Promise<void> {
    const done = answer.then(
      (frame) => this.#answer(frame),
      (error: unknown) => this.fail(error),
    );
    await this.#bounded(done);
  }

  async #bounded(done: Promise<void>): Promise<void> {
    const tracked = done.finally(() => this.#factFrames.delete(tracked));
    this.#factFrames.add(tracked);
    if (this.#factFrames.size >= FACT_FRAMES_MAX) await Promise.race(this.#factFrames);
  }

  // Also after the worker half-closed: what is committed is acknowledged as long as the stream can carry it.
  #answer(frame: SessionResponse): void {
    if (this.#phase === "ended") this.#outgoing.push(frame);
    else this.send(frame);
  }

  #end(last?: SessionResponse, broken?: string): void {
    if (this.#phase === "ended") return;
    const wasOpen = this.#phase === "open";
    this.#phase = "ended";
    void Promise.allSettled(this.#factFrames).then(() => {
      if (last !== undefined) this.#outgoing.push(last);
      this.#outgoing.close();
    });
    this.#host.ended(this, {
      polite: this.#polite,
      wasOpen,
      reason: broken ?? (this.#failure === undefined ? "" : messageOf(this.#failure)),
      violation: broken !== undefined || (this.#failure instanceof DomainError && VIOLATIONS.has(this.#failure.reason)),
    });
  }
}

function tokensOf(leases: readonly { readonly token: string }[]): string[] {
  return leases.map(({ token }) => token);
}

function bounded(value: number, min: number, max: number, field: string): number {
  if (value < min || value > max) throw violation(`${field} must be between ${min} and ${max}`);
  return value;
}

function violation(message: string): DomainError {
  return new DomainError("PROTOCOL_VIOLATION", message);
}

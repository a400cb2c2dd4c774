// The worker streams of this replica: opens and resumes sessions, gives leases back, pushes cancels.
// Called by rpc (connect), by worker_session.ts (through SessionHost), by claimer, renewer and tick.
// A stream that ends without Goodbye keeps its leases until the session expires: the worker may be back within the ttl.

import { create } from "@bufbuild/protobuf";
import type { Clock } from "../../kit/clock.ts";
import { DomainError, messageOf } from "../../kit/errors.ts";
import { type Hello, type Welcome, WelcomeSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { workerActor } from "../audit/events.ts";
import { auditRecord } from "../audit/record.ts";
import type { CancelOrder, CommandContext } from "../commands/context.ts";
import type { Assigned } from "../commands/lease_tasks.ts";
import type { CommandServices } from "../commands/services.ts";
import type { Principal } from "../commands/views.ts";
import type { LossReason } from "../queue/loss.ts";
import type { SessionEnd, SessionHost } from "./session_host.ts";
import { refusedResume, refusedTokens, SESSION_METHOD } from "./session_refusals.ts";
import { TaskLogIntake } from "./task_logs.ts";
import { FRAME_BYTES_MAX, INLINE_PAYLOAD_BYTES_MAX, type Timing } from "./timing.ts";
import { durationOf } from "./wire.ts";
import { type HeldAssignment, WorkerSession } from "./worker_session.ts";

/** What the registry is made of. */
export interface RegistryOptions {
  readonly context: CommandContext;
  readonly services: CommandServices;
  readonly timing: Timing;
  readonly clock: Clock;
  readonly replicaId: string;
  /** host:port of the control plane, for workers; none by default. */
  readonly ownEndpoints?: readonly string[];
  readonly onCredit: () => void;
  readonly onRenewal: (session: WorkerSession) => void;
}

/** See the file header. */
export class SessionRegistry implements SessionHost {
  readonly clock: Clock;
  readonly context: CommandContext;
  readonly services: CommandServices;
  readonly taskLogs: TaskLogIntake;
  readonly #options: RegistryOptions;
  readonly #sessions = new Map<string, WorkerSession>();
  readonly #connecting = new Set<WorkerSession>();
  readonly #background = new Set<Promise<void>>();
  #closing = false;
  #onEmpty: () => void = () => undefined;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.context = options.context;
    this.services = options.services;
    this.taskLogs = new TaskLogIntake(options.services, options.context.log);
  }

  /** A new stream. @throws SHUTTING_DOWN while draining */
  connect(principal: Principal, peer: string): WorkerSession {
    if (this.#closing) throw new DomainError("SHUTTING_DOWN", "the server is shutting down; connect to another one");
    const session = new WorkerSession(this, principal, peer);
    this.#connecting.add(session);
    return session;
  }

  sessions(): WorkerSession[] {
    return [...this.#sessions.values()];
  }

  /** Streams of this replica, their free slots, and what they hold. */
  load(): { readonly open: number; readonly credit: number; readonly held: number } {
    const sessions = this.sessions();
    const sum = (of: (session: WorkerSession) => number) => sessions.reduce((total, each) => total + of(each), 0);
    return { open: sessions.length, credit: sum(({ free }) => free), held: sum(({ held }) => held.size) };
  }

  session(id: string): WorkerSession | undefined {
    return this.#sessions.get(id);
  }

  async open(session: WorkerSession, hello: Hello): Promise<Welcome> {
    const { timing, replicaId } = this.#options;
    const row = {
      id: this.context.ids.next("ses"),
      instance_id: hello.instanceId,
      name: session.name,
      identity: session.principal.id,
      labels: hello.labels,
      slots: hello.slots,
      runtimes: hello.runtimes,
      handlers: hello.handlers,
      version: hello.version.slice(0, 64),
      replica_id: replicaId,
    };
    const opened = await this.context.store.transaction(async (tx) => {
      const made = await tx.sessions.open(row, hello.resumeSessionId, timing.leaseTtlMs);
      const presented = hello.held.map(({ taskId, token }) => ({ task_id: taskId, token, session_id: made.id }));
      const held = made.resumed ? await tx.leases.stillHeld(presented) : [];
      const lost = presented
        .filter(({ token }) => !held.some((lease) => lease.token === token))
        .map(({ token }) => token);
      const identity = {
        sessionId: made.id,
        worker: session.name,
        identity: row.identity,
        instanceId: row.instance_id,
      };
      const { slots, runtimes, handlers, labels, version } = row;
      const abilities = { slots, runtimes, ...(handlers.length > 0 && { handlers }), labels, version };
      const detail = { ...identity, ...abilities, resumed: made.resumed };
      const by = { id: made.id, name: session.name };
      await tx.audit.insert([
        auditRecord({ kind: "worker.connected", actor: workerActor(session.name), detail }),
        ...(hello.resumeSessionId !== "" && !made.resumed ? [refusedResume(by, hello.resumeSessionId)] : []),
        ...(lost.length > 0 ? [refusedTokens(by, "held", lost)] : []),
      ]);
      return { ...made, held: new Set(held.map((lease) => lease.token)) };
    });
    session.id = opened.id;
    session.epoch = opened.epoch;
    session.draining = opened.state === "draining";
    for (const { taskId, token } of hello.held) {
      // An Accept of the older stream may not have reached the store; the worker sends it again.
      if (opened.held.has(token))
        session.held.set(token, { taskId, token, route: "", accepted: false, stopping: false });
    }
    return create(WelcomeSchema, {
      sessionId: opened.id,
      epoch: opened.epoch,
      leaseTtl: durationOf(timing.leaseTtlMs),
      renewInterval: durationOf(timing.renewMs),
      acceptDeadline: durationOf(timing.acceptMs),
      frameBytesMax: FRAME_BYTES_MAX,
      inlinePayloadBytesMax: INLINE_PAYLOAD_BYTES_MAX,
      held: hello.held.map(({ taskId, token }) => ({ taskId, token, keep: opened.held.has(token) })),
      controlPlane: [...(this.#options.ownEndpoints ?? [])],
      takesTaskLogs: true,
    });
  }

  opened(session: WorkerSession): void {
    this.#connecting.delete(session);
    // The newer stream of a session fences the older one.
    this.#sessions
      .get(session.id)
      ?.fail(new DomainError("VERSION_CHANGED", "the worker opened a newer stream of this session"));
    this.#sessions.set(session.id, session);
    const { name, id, peer } = session;
    this.context.log.info("worker.connected", { worker: name, session: id, peer });
  }

  ended(session: WorkerSession, how: SessionEnd): void {
    this.#connecting.delete(session);
    if (how.violation) this.#recordViolation(session, how.reason);
    if (this.#sessions.get(session.id) === session) this.#sessions.delete(session.id);
    if (this.#sessions.size === 0) this.#onEmpty();
    if (!how.wasOpen) return;
    this.#recordAccepts(session);
    const { name, id } = session;
    this.context.log.info("worker.disconnected", { worker: name, session: id, polite: how.polite, reason: how.reason });
    if (!how.polite) return;
    this.giveBack(session, [...session.held.values()], "yielded", "the worker said goodbye");
    const detail = { sessionId: id, worker: name, polite: true, reason: how.reason };
    void this.#inBackground("closing a session", async () => {
      await this.context.store.transaction(async (tx) => {
        await tx.sessions.setState(id, "closed");
        await tx.audit.insert([auditRecord({ kind: "worker.disconnected", actor: workerActor(name), detail })]);
      });
    });
  }

  // A worker that its task kills at once has accepted it all the same: else the loss would never count.
  #recordAccepts(session: WorkerSession): void {
    const accepts = session.acceptsToFlush.splice(0).map(({ taskId, token }) => ({ task_id: taskId, token }));
    if (accepts.length === 0) return;
    void this.#inBackground("recording accepts", () =>
      this.context.store.read((queries) => queries.leases.accept(accepts)),
    );
  }

  /** A worker says that it takes nothing more; one record, however often it says so. */
  async setDraining(session: WorkerSession, windowMs: number): Promise<void> {
    const { id, name } = session;
    await this.context.store.transaction(async (tx) => {
      if (!(await tx.sessions.startDraining(id))) return;
      const detail = { sessionId: id, worker: name, windowMs };
      await tx.audit.insert([auditRecord({ kind: "worker.drained", actor: workerActor(name), detail })]);
    });
  }

  refuse(session: WorkerSession, fact: string, tokens: readonly string[]): Promise<void> {
    const record = refusedTokens(session, fact, tokens);
    return this.#inBackground("recording a refused fact", () =>
      this.context.store.read((queries) => queries.audit.insert([record])),
    );
  }

  // A frame that breaks the protocol is a security event: a worker of this release sends none.
  #recordViolation({ name, principal, peer }: WorkerSession, reason: string): void {
    const refused = { listener: "worker", method: SESSION_METHOD, reason: `PROTOCOL_VIOLATION: ${reason}`, peer };
    const detail = { ...refused, principal: principal.id, count: 1 };
    const actor = name === "" ? principal.id : workerActor(name);
    void this.#inBackground("recording a violation", () =>
      this.context.store.read((queries) =>
        queries.audit.insert([auditRecord({ kind: "security.refused", actor, detail })]),
      ),
    );
  }

  creditChanged(): void {
    this.#options.onCredit();
  }

  renewalsPending(session: WorkerSession): void {
    this.#options.onRenewal(session);
  }

  /** Sends leased tasks; what cannot be sent, because the stream is gone, is given back. */
  assign(session: WorkerSession, tasks: readonly Assigned[]): void {
    if (session.assign(tasks)) return;
    const held = tasks.map(({ task, token }) => ({
      ...{ taskId: task.id, token, route: task.route },
      ...{ accepted: false, stopping: false },
    }));
    this.giveBack(session, held, "unsent", "the stream was gone before the assignment was sent");
  }

  giveBack(session: WorkerSession, held: readonly HeldAssignment[], reason: LossReason, note: string): void {
    for (const { taskId, token } of held) {
      session.release(token);
      const item = { type: "lost", taskId, token, reason, actor: workerActor(session.name), note } as const;
      void this.#inBackground("giving a lease back", async () => {
        await this.services.settle.add(item);
      });
    }
  }

  /** Pushes cancels to the streams of this replica; other replicas find theirs by the tick. */
  cancel(orders: readonly CancelOrder[]): void {
    for (const [sessionId, own] of Map.groupBy(orders, (order) => order.sessionId))
      this.#sessions.get(sessionId)?.cancel(own);
  }

  /**
   * Asks every worker to move to another replica while this one still answers: no new streams, no assignments. Resolves when all
   * have left, or when their time is over.
   */
  async drain(windowMs: number, clock: Clock): Promise<void> {
    this.#closing = true;
    for (const session of this.sessions()) session.askToDrain(windowMs, "the server is shutting down", true);
    const over = new AbortController();
    this.#onEmpty = () => over.abort();
    if (this.#sessions.size > 0) await clock.sleep(windowMs, over.signal);
    this.#onEmpty = () => undefined;
  }

  /** Politely ends every stream: no new ones, workers are told to go elsewhere. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const session of this.sessions()) session.goodbye("the server is shutting down");
    for (const session of this.#connecting)
      session.fail(new DomainError("SHUTTING_DOWN", "the server is shutting down"));
    await Promise.allSettled(this.#background);
  }

  #inBackground(what: string, fn: () => Promise<void>): Promise<void> {
    const running = fn()
      .catch((error: unknown) => this.context.log.warn("dispatch.background_failed", { what, error: messageOf(error) }))
      .finally(() => this.#background.delete(running));
    this.#background.add(running);
    return running;
  }
}

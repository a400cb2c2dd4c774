// Flushes what keeps leases alive: accepts and renewals of all sessions of this replica, at most every flush interval, and less often while
// only sessions that hold nothing renew. Woken by worker_session.ts; one statement a kind for all sessions. Answers each renewal with lost tokens and cancels.
// A session whose row another stream took over is ended here. A lease that a worker accepted and no longer names is given back.

import type { Clock } from "../../kit/clock.ts";
import { DomainError, messageOf } from "../../kit/errors.ts";
import type { CancelReason, CommandContext } from "../commands/context.ts";
import type { SessionRegistry } from "./session_registry.ts";
import type { Timing } from "./timing.ts";
import { durationOf, frameOf } from "./wire.ts";
import type { PendingRenewal, WorkerSession } from "./worker_session.ts";

/** Reason that a worker is told for a cause of a stopping run. */
export function cancelReasonOf(cause: string | null): CancelReason {
  if (cause === "timed_out") return "timeout";
  return cause === "cancelled" ? "user" : "sibling";
}

interface HeldState {
  readonly run_state: string;
  readonly cause: string | null;
  readonly due_time: Date | null;
  readonly now: Date;
  readonly task_id: string;
}

/** See the file header. */
export class Renewer {
  readonly #context: CommandContext;
  readonly #registry: () => SessionRegistry;
  readonly #clock: Clock;
  readonly #timing: Timing;
  #cancelTimer: (() => void) | undefined;
  /** The timer is for sessions that hold nothing: whoever holds a task does not wait for it. */
  #isIdle = false;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(context: CommandContext, registry: () => SessionRegistry, clock: Clock, timing: Timing) {
    this.#context = context;
    this.#registry = registry;
    this.#clock = clock;
    this.#timing = timing;
  }

  /** Something of a session waits to be flushed. */
  pending({ held }: Pick<WorkerSession, "held">): void {
    const isIdle = held.size === 0;
    if (this.#stopped || (this.#cancelTimer !== undefined && (isIdle || !this.#isIdle))) return;
    this.#cancelTimer?.();
    this.#isIdle = isIdle;
    this.#cancelTimer = this.#clock.after(isIdle ? this.#timing.idleFlushMs : this.#timing.flushMs, () => {
      this.#cancelTimer = undefined;
      this.#running = this.flush();
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTimer?.();
    await this.#running;
  }

  /** Writes accepts and renewals now. Never rejects: a database that is away is met again by the next renewal. */
  async flush(): Promise<void> {
    const sessions = this.#registry().sessions();
    const accepting = sessions.map((session) => ({ session, accepts: session.acceptsToFlush.splice(0) }));
    const renewing = sessions
      .map((session) => ({ session, renewals: session.renewals.splice(0) }))
      .filter(({ renewals }) => renewals.length > 0);
    try {
      const accepts = accepting.flatMap(({ accepts }) => accepts);
      await this.#context.store.read((queries) =>
        queries.leases.accept(accepts.map(({ taskId, token }) => ({ task_id: taskId, token }))),
      );
      await this.#renewRows(sessions.filter((session) => session.seen));
      await this.#answer(renewing);
      await this.#giveBackUnnamed(renewing);
    } catch (error) {
      // Workers accept only once; they renew again by themselves.
      for (const { session, accepts } of accepting) session.acceptsToFlush.unshift(...accepts);
      this.#context.log.warn("renewal.failed", { error: messageOf(error) });
    }
  }

  async #renewRows(seen: readonly WorkerSession[]): Promise<void> {
    for (const session of seen) session.seen = false;
    const rows = seen.map(({ id, epoch }) => ({ id, epoch: epoch.toString() }));
    const alive = new Set(
      await this.#context.store.read((queries) => queries.sessions.renew(rows, this.#timing.leaseTtlMs)),
    );
    for (const session of seen) {
      if (session.isOpen && !alive.has(session.id)) {
        session.fail(new DomainError("VERSION_CHANGED", "the session expired or was taken over; connect again"));
      }
    }
  }

  async #answer(renewing: readonly { session: WorkerSession; renewals: readonly PendingRenewal[] }[]): Promise<void> {
    const presented = renewing.flatMap(({ session, renewals }) =>
      renewals.flatMap(({ tokens }) =>
        tokens.flatMap((token) => {
          const held = session.held.get(token);
          return held === undefined ? [] : [{ task_id: held.taskId, token, session_id: session.id }];
        }),
      ),
    );
    const rows = await this.#context.store.read((queries) => queries.leases.stillHeld(presented));
    const still = new Map(rows.map((row) => [`${row.session_id} ${row.token}`, row as HeldState]));
    for (const { session, renewals } of renewing)
      for (const renewal of renewals) this.#acknowledge(session, renewal, still);
  }

  // A renewal names every lease that its worker has. One that was written before an Accept may come after it: two must agree.
  // A session that holds nothing, and was found to have nothing, is not looked at again until it is assigned something.
  async #giveBackUnnamed(all: readonly { session: WorkerSession; renewals: readonly PendingRenewal[] }[]) {
    const renewing = all.filter(({ session }) => session.held.size > 0 || !session.hasNothing);
    const named = renewing.flatMap(({ session, renewals }) =>
      renewals.flatMap(({ tokens }) => tokens.filter((token) => session.held.has(token))),
    );
    const ids = renewing.map(({ session }) => session.id);
    const unnamed = Map.groupBy(
      await this.#context.store.read((queries) => queries.leases.acceptedBeside(ids, named)),
      (lease) => lease.session_id,
    );
    for (const { session } of renewing) {
      const leases = unnamed.get(session.id) ?? [];
      const twice = leases.filter(({ token }) => session.unnamed.has(token));
      session.unnamed = new Set(leases.map(({ token }) => token));
      session.hasNothing = leases.length === 0 && session.held.size === 0;
      const held = twice.map(({ task_id, token }) => ({
        taskId: task_id,
        token,
        route: "",
        accepted: true,
        stopping: false,
      }));
      this.#registry().giveBack(session, held, "yielded", "the worker does not have it any more");
    }
  }

  #acknowledge(session: WorkerSession, renewal: PendingRenewal, still: Map<string, HeldState>): void {
    const lostTokens = renewal.tokens.filter((token) => !still.has(`${session.id} ${token}`));
    for (const token of lostTokens) session.release(token);
    const cancels = renewal.tokens.flatMap((token) => {
      const state = still.get(`${session.id} ${token}`);
      if (state?.run_state !== "CANCELLING" || session.held.get(token)?.stopping === true) return [];
      const graceMs = Math.max(0, (state.due_time?.getTime() ?? 0) - state.now.getTime());
      return [{ taskId: state.task_id, token, reason: cancelReasonOf(state.cause), grace: durationOf(graceMs) }];
    });
    session.send(frameOf({ case: "renewAck", value: { sequence: renewal.sequence, lostTokens, cancels } }));
  }
}

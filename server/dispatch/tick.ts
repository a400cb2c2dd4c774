// The tick: one combined statement a second and replica finds ready work, due retries and deadlines, slots that waiting runs may
// have, lost leases, runs being cancelled, and audit records to seal.
// It is the truth behind every hint, and is never backed off. What it finds goes through the same commands as everything else.
// When a retry, a deadline, a grace, or a session is over before the second is, it comes then.
// Lost leases are taken away only while some replica has been looking all along: after an outage of all of them, or of the database,
// workers get one ttl to renew first. The database keeps that watch, so that the start of one replica puts nothing off.

import type { Clock } from "../../kit/clock.ts";
import { DomainError, messageOf } from "../../kit/errors.ts";
import { auditRecord } from "../audit/record.ts";
import type { CommandContext } from "../commands/context.ts";
import type { CommandServices } from "../commands/services.ts";
import type { SettleItem } from "../commands/settle_items.ts";
import { WAITER_FORGET_MS } from "../queue/tool_turns.ts";
import type { TickFindings } from "../storage/session_queries.ts";
import type { Claimer } from "./claimer.ts";
import { cancelReasonOf, type Renewer } from "./renewer.ts";
import type { Sealer } from "./sealer.ts";
import type { SessionRegistry } from "./session_registry.ts";
import type { Starter } from "./starter.ts";
import type { Timing } from "./timing.ts";

const LIMIT = 500;
/** How long an Accept may take to reach the store, beside the flush. */
const ACCEPT_SLACK_MS = 1_000;
/** Shortest pause between two ticks, however much is due. */
const PAUSE_MS_MIN = 50;
/** Ticks between two clean-ups of ended sessions, and of calls that wait no more. */
const FORGET_EVERY = 600;
/** Time that a worker is given when an operator drains it. */
export const DRAIN_WINDOW_MS = 30_000;

/** What the tick drives. */
export interface TickOptions {
  readonly context: CommandContext;
  readonly services: CommandServices;
  readonly claimer: Claimer;
  readonly starter: Pick<Starter, "wake">;
  readonly sealer: Pick<Sealer, "wake">;
  readonly renewer: Renewer;
  readonly registry: SessionRegistry;
  readonly clock: Clock;
  readonly timing: Timing;
  readonly replicaId: string;
}

/** See the file header. */
export class Tick {
  readonly #options: TickOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #count = 0;

  constructor(options: TickOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#loop();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #loop(): Promise<void> {
    const { clock, timing, context } = this.#options;
    while (!this.#stopping.signal.aborted) {
      let dueMs: number = timing.tickMs;
      try {
        dueMs = await this.once();
      } catch (error) {
        context.log.warn("tick.failed", { error: messageOf(error) });
      }
      await clock.sleep(Math.max(PAUSE_MS_MIN, Math.min(timing.tickMs, dueMs)), this.#stopping.signal);
    }
  }

  /** One tick. @returns time in ms until the next is due; Infinity: no timer waits. @throws DomainError for database trouble */
  async once(): Promise<number> {
    const { context, timing, replicaId, claimer, starter, sealer } = this.#options;
    const acceptMs = timing.acceptMs + timing.flushMs + Math.min(ACCEPT_SLACK_MS, timing.acceptMs);
    const found = await context.store.read((queries) =>
      queries.sessions.tick(replicaId, {
        ...{ limit: LIMIT, acceptMs, ttlMs: timing.leaseTtlMs, gapMs: timing.sweepGapMs },
      }),
    );
    if (found.ready_routes.some((route) => !claimer.knows(route))) await claimer.loadRoutes();
    if (found.ready_routes.length > 0) claimer.wake();
    if (found.open_groups.length > 0) starter.wake(found.open_groups);
    this.#cancel(found);
    this.#drain(found);
    if (found.unsealed) sealer.wake();
    await this.#recordLost(found);
    await this.#watchingMeanwhile(this.#settle(found));
    this.#count += 1;
    if (this.#count % FORGET_EVERY === 0) await this.#forget();
    const more = found.due_tasks.length === LIMIT || found.due_runs.length === LIMIT;
    return more ? timing.tickMs / 4 : (found.next_due_ms ?? Number.POSITIVE_INFINITY);
  }

  async #forget(): Promise<void> {
    await this.#options.context.store.read(async ({ sessions, toolTurns }) => {
      await sessions.forgetEnded();
      await toolTurns.forget(WAITER_FORGET_MS);
    });
  }

  #cancel(found: TickFindings): void {
    this.#options.registry.cancel(
      found.cancelling.map(({ task_id, token, session_id, cause, grace_ms }) => ({
        ...{ sessionId: session_id, taskId: task_id, token, reason: cancelReasonOf(cause), graceMs: grace_ms },
      })),
    );
  }

  #drain(found: TickFindings): void {
    for (const id of found.draining) {
      const session = this.#options.registry.session(id);
      if (session?.draining === false) session.askToDrain(DRAIN_WINDOW_MS, "an operator drains this worker");
    }
  }

  async #recordLost(found: TickFindings): Promise<void> {
    if (found.expired_sessions.length === 0) return;
    await this.#options.context.store.transaction(async (tx) => {
      const lost = await tx.sessions.markLost(found.expired_sessions);
      const records = lost.map(({ id, name, leases }) =>
        auditRecord({ kind: "worker.lost", actor: "server", detail: { sessionId: id, worker: name, leases } }),
      );
      await tx.audit.insert(records);
    });
  }

  // What was found may wait long for its locks. Leases are renewed all the same, so that this is no time in which nobody looked.
  async #watchingMeanwhile(work: Promise<void>): Promise<void> {
    const { clock, context, timing } = this.#options;
    const over = new AbortController();
    const watch = async () => {
      for (;;) {
        await clock.sleep(timing.tickMs, over.signal);
        if (over.signal.aborted) return;
        await context.store.read(({ sessions }) => sessions.keepWatch(timing.leaseTtlMs, timing.sweepGapMs));
      }
    };
    const watching = watch().catch((error: unknown) => context.log.warn("tick.unwatched", { error: messageOf(error) }));
    await work.finally(() => over.abort());
    await watching;
  }

  async #settle(found: TickFindings): Promise<void> {
    const unaccepted = new Set(
      found.lost_leases.filter((lease) => lease.reason === "unaccepted").map((lease) => lease.token),
    );
    const lost = new Map(found.lost_leases.map((lease) => [lease.token, lease]));
    const items: SettleItem[] = [
      ...[...lost.values()].map(({ task_id, token }): SettleItem => {
        const reason = unaccepted.has(token) ? "unaccepted" : "expired";
        return { type: "lost", taskId: task_id, token, reason, actor: "server", note: `the lease was ${reason}` };
      }),
      ...found.due_tasks.map((taskId): SettleItem => ({ type: "wake", taskId })),
      ...found.due_runs.map(({ id }): SettleItem => ({ type: "run_due", runId: id })),
    ];
    const results = await Promise.allSettled(items.map((item) => this.#options.services.settle.add(item)));
    const errors = results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []));
    // Only a database that is away ends a tick: one item that cannot be settled must not keep all others waiting.
    const away = errors.find((error) => error instanceof DomainError && error.reason === "STORAGE_UNAVAILABLE");
    if (away !== undefined) throw away;
    for (const error of errors) this.#options.context.log.error("tick.unsettled", { error: messageOf(error) });
  }
}

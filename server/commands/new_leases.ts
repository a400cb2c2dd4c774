// Leases tasks in the transaction that makes them, where a session of this replica has a slot for them: they are never queued, and no claim
// is waited for. Used by invoke.ts and settle.ts, whose transactions share the gate of policies for it.
// Only for tasks that nobody could have before them (seats are there only while the queue has nothing for their routes), and that may
// be sent as they are: what is denied, or lacks something, is queued and goes the way of the others.
//
// Seat: free → taken → with a leased task, sent after the commit | given back.

import type { StoredRecord } from "../audit/events.ts";
import type { Revisions } from "../storage/bundle_queries.ts";
import type { NewLease } from "../storage/lease_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { ClaimedTask, NewTaskRow, ReadyRow } from "../storage/task_queries.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import { type Assigned, isSendable, type Leasing, leasedRecord, leaseTask } from "./lease_tasks.ts";

/** A free slot of a session. */
export interface Seat {
  readonly sessionId: string;
  readonly worker: string;
}

/** Free slots of the sessions of this replica. Never throws. */
export interface Seats {
  /** A slot for a task of each route, in order; undefined where there is none. Nobody else has it until it is given back, or sent to. */
  take(routes: readonly string[]): (Seat | undefined)[];
  giveBack(seats: readonly Seat[]): void;
  /** Sends a leased task to each slot. */
  send(leased: readonly { readonly seat: Seat; readonly assigned: Assigned }[]): void;
}

/** What an assignment needs of the run of a task. */
export type LeasedRun = Pick<
  ClaimedTask,
  "workflow" | "bundle_digest" | "requester" | "tags" | "metadata" | "trace_id" | "trace_sampled"
>;

/** A task that a transaction is about to queue. */
export interface NewTask {
  readonly ready: ReadyRow;
  readonly task: NewTaskRow;
  readonly run: LeasedRun;
  readonly bundle: CompiledBundle;
}

/** What a transaction writes of its new tasks. */
export interface QueuedAndLeased {
  /** Those that are queued. */
  readonly ready: ReadyRow[];
  readonly leases: NewLease[];
  readonly audit: StoredRecord[];
}

/** See the file header. One transaction, with its repetitions. */
export class NewLeases {
  readonly #context: CommandContext;
  #taken: { readonly seat: Seat; readonly assigned: Assigned }[] = [];

  constructor(context: CommandContext) {
    this.#context = context;
  }

  /** True if the transaction is to share the gate of policies, and to ask. */
  get mayLease(): boolean {
    return this.#context.seats !== undefined;
  }

  /**
   * Leases those that there are seats for. Once a transaction; when it is run again, what it took before is given back.
   *
   * @param revisions read after the gate; absent: all are queued.
   * @param others what the transaction queues beside them: they do not overtake it.
   */
  async lease(
    tx: StoreQueries,
    tasks: readonly NewTask[],
    revisions: Revisions | undefined,
    others: readonly ReadyRow[] = [],
  ): Promise<QueuedAndLeased> {
    this.giveBack();
    const { seats } = this.#context;
    if (seats === undefined || revisions === undefined || tasks.length === 0) {
      return { ready: tasks.map(({ ready }) => ready), leases: [], audit: [] };
    }
    const busy = new Set(others.map(({ route }) => route));
    const isBehind = ({ task }: NewTask) => busy.has(task.route);
    const behind = tasks.filter(isBehind).map(({ ready }) => ready);
    const done: QueuedAndLeased = { ready: behind, leases: [], audit: [] };
    const on = { live: await this.#context.caches.live(tx, revisions.policy), now: revisions.now };
    // Of several, those that a claim would take first.
    const inTurn = tasks
      .filter((task) => !isBehind(task))
      .sort((one, other) => one.task.claim_order - other.task.claim_order);
    const taken = seats.take(inTurn.map(({ task }) => task.route));
    for (const [index, of] of inTurn.entries()) {
      const seat = taken[index];
      const leased = seat && leaseTask(this.#context, leasingOf(of, seat), on);
      if (seat === undefined || leased === undefined || !isSendable(leased)) {
        done.ready.push(of.ready);
        if (seat !== undefined) seats.giveBack([seat]);
        continue;
      }
      done.leases.push(leased.lease);
      done.audit.push(leasedRecord(leased));
      this.#taken.push({ seat, assigned: leased });
    }
    return done;
  }

  /** After the commit. @returns the runs of what was sent */
  send(): string[] {
    const taken = this.#taken;
    this.#taken = [];
    this.#context.seats?.send(taken);
    return [...new Set(taken.map(({ assigned }) => assigned.task.run_id))];
  }

  /** The transaction did not commit, as far as it is known. */
  giveBack(): void {
    const taken = this.#taken;
    this.#taken = [];
    this.#context.seats?.giveBack(taken.map(({ seat }) => seat));
  }
}

// As the queue gives it to a claim (task_queries.ts).
function leasingOf({ task, run, bundle }: NewTask, { sessionId, worker }: Seat): Leasing {
  const { workflow, bundle_digest, requester, tags, metadata, trace_id, trace_sampled } = run;
  const { id, run_id, namespace, node, iteration, item, agent, route, attempt, deliveries, input } = task;
  const claimed: ClaimedTask = {
    ...{ id, run_id, namespace, node, iteration, item, agent, route, attempt, deliveries, input },
    ...{ origin_task_id: task.origin_task_id, fresh: true, run_dispatched: null },
    ...{ workflow, bundle_digest, requester, tags, metadata, trace_id, trace_sampled },
  };
  // workflow.run was decided in this transaction, or a task of the run has ended.
  return { task: claimed, bundle, journal: [], sessionId, worker, first: false };
}

// The database of the simulation: tables as maps, its clock, and what one transaction recorded.
// Filled by plane.ts and settling.ts; read by the oracle, which never calls either.

import { initialState } from "../../server/graph/advance.ts";
import { claimOrder } from "../../server/queue/claim_order.ts";
import type { SweepWatch } from "../../server/queue/loss.ts";
import { isListed, TASK_TRANSITIONS, type TaskState } from "../../server/queue/states.ts";
import { FLOWS, PLANS } from "./flows.ts";
import type { JournalRow, LeaseRow, LedgerRow, ReadyRow, RecordRow, RunRow, SessionRow, TaskRow } from "./rows.ts";

export class BrokenRule extends Error {}

export class Tables {
  nowMs = 1_000_000_000;
  readonly runs = new Map<string, RunRow>();
  readonly tasks = new Map<string, TaskRow>();
  readonly ready = new Map<string, ReadyRow>();
  /** Tasks that were claimed before: a claim reads the journal of no others. */
  readonly claimed = new Set<string>();
  readonly leases = new Map<string, LeaseRow>();
  readonly sessions = new Map<string, SessionRow>();
  readonly journals = new Map<string, JournalRow[]>();
  readonly ledger = new Map<string, LedgerRow>();
  readonly keys = new Map<string, RunRow>();
  watch: SweepWatch = { seenMs: Number.NEGATIVE_INFINITY, sweepFromMs: Number.NEGATIVE_INFINITY };
  denied: "" | "agent" | "tool" = "";
  /** Records of the operation that runs. */
  records: RecordRow[] = [];
  readonly #ids = new Map<string, number>();

  /** Ids of each kind count by themselves, so that the same operations make the same ids wherever they are repeated. */
  id(prefix: "r" | "t" | "k" | "g" | "s" | "i"): string {
    const next = (this.#ids.get(prefix) ?? 0) + 1;
    this.#ids.set(prefix, next);
    return `${prefix}${next}`;
  }

  record(kind: string, of: string): void {
    this.records.push({ kind, of });
  }

  task(id: string): TaskRow {
    const task = this.tasks.get(id);
    if (task === undefined) throw new BrokenRule(`task ${id} does not exist`);
    return task;
  }

  journal(task: string): JournalRow[] {
    let journal = this.journals.get(task);
    if (journal === undefined) {
      journal = [];
      this.journals.set(task, journal);
    }
    return journal;
  }

  newRun(flow: number, key: string, dueMs: number): RunRow {
    const plan = PLANS[flow] as RunRow["plan"];
    const graph = initialState(plan, {});
    const run = { id: this.id("r"), flow, plan, key, graph, parked: false, dueMs, remainingMs: undefined };
    this.runs.set(run.id, run);
    if (key !== "") this.keys.set(key, run);
    return run;
  }

  newTask(run: RunRow, node: string, replayed?: TaskRow): TaskRow {
    const id = this.id("t");
    const task: TaskRow = {
      ...{ id, run, node, state: "READY", attempt: 1, deliveries: 0, letter: undefined, letterRequest: "" },
      ...{ origin: replayed?.origin ?? id, replayOf: replayed?.id ?? "" },
      claimOrder: claimOrder(this.nowMs, FLOWS[run.flow]?.priority ?? "normal"),
      ...{ dueMs: undefined, outcomeToken: null, outcomeDigest: null },
    };
    this.tasks.set(task.id, task);
    this.ready.set(task.id, { task, late: undefined });
    return task;
  }

  /** Moves a task by the product's table of transitions. */
  move(task: TaskRow, from: TaskState, to: TaskState): void {
    if (!isListed(TASK_TRANSITIONS, from, to)) throw new BrokenRule(`no transition of a task from ${from} to ${to}`);
    task.state = to;
  }
}

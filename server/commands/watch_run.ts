// Watches one run: a snapshot at once, then one after every change, until the run is finished.
// Called by rpc/workflow_service. Reads records first and the run after, so that a snapshot is never older than its records;
// every change of a run has a record, so one indexed query tells whether there is anything new.
// Woken by a hint, else it looks once a second. That no worker can take a task has no record: it is looked for beside them.

import { SECOND } from "../../kit/units.ts";
import { isTerminal, RUN_TRANSITIONS } from "../queue/states.ts";
import { type AuditReadRow, auditReads } from "../storage/read_audit.ts";
import { runReads } from "../storage/read_runs.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { Changes } from "./changes.ts";
import { type ReadContext, runOfRows, runRows, UNSCHEDULABLE_MS } from "./read_runs.ts";
import { auditView, taskView } from "./run_views.ts";
import type { RunSnapshot } from "./views.ts";

/** How often a run is looked at without a hint, in ms. */
export const WATCH_INTERVAL_MS = SECOND;
/** Records in a snapshot at most; more follow in the next one. */
export const EVENTS_MAX = 1_000;
/** Tasks in a snapshot at most, the newest. */
export const TASKS_MAX = 1_000;

/** What watching needs. */
export type WatchContext = ReadContext & { readonly changes: Changes };

/** See the file header. Ends when the run is finished or the signal aborts. @throws RUN_NOT_FOUND */
export async function* watchRun(
  context: WatchContext,
  runId: string,
  signal: AbortSignal,
): AsyncGenerator<RunSnapshot> {
  const watcher = context.changes.watchRun(runId);
  const trail = new RunTrail(context, runId);
  try {
    let wasUnschedulable = false;
    for (let first = true; !signal.aborted; first = false) {
      const [found, unschedulable] = await context.store.atOnce((queries) =>
        Promise.all([trail.look(queries), isUnschedulable(queries, runId)]),
      );
      const events = trail.take(found);
      if (first || events.length > 0 || unschedulable !== wasUnschedulable) {
        wasUnschedulable = unschedulable;
        const snapshot = await readSnapshot(context, runId, events, first);
        const finished = isTerminal(RUN_TRANSITIONS, snapshot.run.state);
        // Its last records may have committed after the first look at the trail, and more than one snapshot may hold.
        const rest = finished ? await trail.rest() : [];
        yield {
          ...snapshot,
          events: [...snapshot.events, ...rest.splice(0, EVENTS_MAX - events.length).map(auditView)],
        };
        while (rest.length > 0) yield { ...snapshot, events: rest.splice(0, EVENTS_MAX).map(auditView) };
        if (finished) return;
      }
      if (!trail.hasMore) await watcher.next(WATCH_INTERVAL_MS, signal);
    }
  } finally {
    watcher.close();
  }
}

async function isUnschedulable({ db }: StoreQueries, runId: string): Promise<boolean> {
  const found = await runReads(db).unschedulable([runId], UNSCHEDULABLE_MS);
  return found.size > 0;
}

async function readSnapshot(
  context: WatchContext,
  runId: string,
  events: readonly AuditReadRow[],
  first: boolean,
): Promise<RunSnapshot> {
  const [rows, tasks] = await context.store.atOnce((queries) =>
    Promise.all([runRows(queries, runId), runReads(queries.db).newestTasks(runId, TASKS_MAX)]),
  );
  const run = await runOfRows(context, rows, runId, { edges: first, outputs: false });
  return { run, tasks: tasks.map(taskView), events: events.map(auditView) };
}

type Found = Awaited<ReturnType<ReturnType<typeof auditReads>["ofRunBetween"]>>;

// Records of a run, each once, in the order in which they became visible.
class RunTrail {
  readonly #context: ReadContext;
  readonly #runId: string;
  // Everything visible in `since` was delivered; of what `until` adds, ids up to `afterId`.
  #since: string | undefined;
  #until: string | undefined;
  #afterId = "0";

  constructor(context: ReadContext, runId: string) {
    this.#context = context;
    this.#runId = runId;
  }

  /** True if the last call stopped at the limit. */
  get hasMore(): boolean {
    return this.#until !== undefined;
  }

  /** What is new. Without an effect, so that it may be asked for again. */
  look({ db }: StoreQueries): Promise<Found> {
    const span = { since: this.#since, until: this.#until, afterId: this.#afterId };
    return auditReads(db).ofRunBetween(this.#runId, span, EVENTS_MAX);
  }

  /** Goes on after what was found. */
  take({ until, rows }: Found): AuditReadRow[] {
    if (rows.length === EVENTS_MAX) {
      this.#until = until;
      this.#afterId = String((rows.at(-1) as AuditReadRow).id);
    } else {
      this.#since = until;
      this.#until = undefined;
      this.#afterId = "0";
    }
    return rows;
  }

  /** Everything that is left now: first of the snapshot under way, then of one taken after it. */
  async rest(): Promise<AuditReadRow[]> {
    return await this.#context.store.read(async (queries) => {
      const rows: AuditReadRow[] = [];
      const next = async () => rows.push(...this.take(await this.look(queries)));
      while (this.hasMore) await next();
      do await next();
      while (this.hasMore);
      return rows;
    });
  }
}

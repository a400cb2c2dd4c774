// Reads what was logged about the tasks of a run, or about one task: a page, or all of it and what follows.
// Called by rpc/workflow_service. Never locks, never writes.
// Chunks get their numbers before they commit, so a lower one may appear after a higher one: a watcher goes by snapshots.

import type { Clock } from "../../kit/clock.ts";
import { SECOND } from "../../kit/units.ts";
import { isTerminal, RUN_TRANSITIONS, type RunState, TASK_TRANSITIONS, type TaskState } from "../queue/states.ts";
import { runReads } from "../storage/read_runs.ts";
import type { TaskLogFilter, TaskLogRow } from "../storage/task_log_queries.ts";
import type { CommandContext } from "./context.ts";
import { readPage } from "./page_token.ts";
import { runNotFound, taskNotFound } from "./read_runs.ts";
import type { TaskLogChunkView, TaskLogLineView, TaskLogsView } from "./task_log_views.ts";
import type { Page, PageRequest } from "./views.ts";

/** How often a watcher looks, in ms. */
export const LOOK_MS = SECOND;
/** Looks after the end: what a worker sent with its outcome may be written a little later. */
const LAST_LOOKS = 2;
const LINE = /^(\d{4}-\S{1,30}) (\w+) (.*)$/;
const LEVELS = ["debug", "info", "warn", "error"] as const;
const CHUNKS = { sizeDefault: 20, sizeMax: 50 };

type ReadContext = Pick<CommandContext, "store">;

/** A page, oldest first. @throws RUN_NOT_FOUND, TASK_NOT_FOUND, PAGE_TOKEN_INVALID */
export async function listTaskLogs(
  context: ReadContext,
  of: TaskLogsView,
  request: PageRequest,
): Promise<Page<TaskLogChunkView>> {
  const { runId = "", taskId = "", node = "", since } = of;
  const key = { runId, taskId, node, since: since?.toISOString() ?? "" };
  const page = await readPage(
    { name: "task_logs", filter: key, ...CHUNKS },
    request,
    (after, limit) =>
      context.store.read(async ({ taskLogs, db }) => {
        const rows = await taskLogs.list(of, after?.[0] ?? "0", limit);
        if (rows.length === 0) await isOver(runReads(db), of);
        return rows;
      }),
    ({ id }) => [String(id)],
  );
  return { ...page, items: page.items.map(chunkView) };
}

/**
 * What is there at once, and then what comes; ends when the run or the task has ended, or the signal aborts.
 *
 * @throws RUN_NOT_FOUND, TASK_NOT_FOUND
 */
export async function* watchTaskLogs(
  context: ReadContext & { readonly clock: Clock },
  of: TaskLogsView,
  signal: AbortSignal,
): AsyncGenerator<readonly TaskLogChunkView[]> {
  const trail = new LogTrail(context, asked(of));
  for (let left = LAST_LOOKS; !signal.aborted; ) {
    const over = await context.store.read(({ db }) => isOver(runReads(db), of));
    const rows = await trail.next();
    if (rows.length > 0) yield rows.map(chunkView);
    if (trail.hasMore) continue;
    if (over && left === 0) return;
    if (over) left -= 1;
    await context.clock.sleep(LOOK_MS, signal);
  }
}

// A task is looked for by its own id.
function asked({ runId, taskId, ...rest }: TaskLogsView): TaskLogFilter {
  return taskId === undefined ? { ...rest, ...(runId !== undefined && { runId }) } : { ...rest, taskId };
}

// True if it has ended. @throws RUN_NOT_FOUND, TASK_NOT_FOUND
async function isOver(reads: ReturnType<typeof runReads>, { runId = "", taskId }: TaskLogsView): Promise<boolean> {
  if (taskId !== undefined) {
    const task = await reads.task(taskId);
    if (task === undefined) throw taskNotFound(taskId);
    return isTerminal(TASK_TRANSITIONS, task.state as TaskState);
  }
  const run = await reads.run(runId);
  if (run === undefined) throw runNotFound(runId);
  return isTerminal(RUN_TRANSITIONS, run.state as RunState);
}

// Chunks, each once, in the order in which they became visible.
class LogTrail {
  readonly #context: ReadContext;
  readonly #filter: TaskLogFilter;
  // Everything visible in `since` was given; of what `until` adds, numbers up to `afterId`.
  #since: string | undefined;
  #until: string | undefined;
  #afterId = "0";

  constructor(context: ReadContext, filter: TaskLogFilter) {
    this.#context = context;
    this.#filter = filter;
  }

  /** True if the last call stopped at the limit. */
  get hasMore(): boolean {
    return this.#until !== undefined;
  }

  async next(): Promise<TaskLogRow[]> {
    return await this.#context.store.read(async ({ taskLogs }) => {
      this.#until ??= await taskLogs.snapshot();
      const rows = await taskLogs.between(this.#filter, this.#since, this.#until, this.#afterId, CHUNKS.sizeMax);
      const last = rows.at(-1);
      if (rows.length === CHUNKS.sizeMax && last !== undefined) this.#afterId = String(last.id);
      else {
        this.#since = this.#until;
        this.#until = undefined;
        this.#afterId = "0";
      }
      return rows;
    });
  }
}

function chunkView(row: TaskLogRow): TaskLogChunkView {
  const { id, node, iteration, item, attempt, delivery, worker, dropped } = row;
  const lines = row.lines === "" ? [] : row.lines.split("\n").map(lineView);
  return {
    ...{ id: BigInt(id), taskId: row.task_id, node, iteration, item, attempt, delivery, worker, dropped },
    lines,
  };
}

// A worker of this release writes no line that is not of the form; what another one wrote is shown as it is.
function lineView(line: string): TaskLogLineView {
  const [, time = "", level, text = ""] = LINE.exec(line) ?? [];
  const known = LEVELS.find((each) => each === level);
  const timeMs = Date.parse(time);
  if (known === undefined || Number.isNaN(timeMs)) return { level: "info", text: line };
  return { time: new Date(timeMs), level: known, text };
}

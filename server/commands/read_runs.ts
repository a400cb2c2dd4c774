// Reads runs and tasks for people and programs: one, or a page.
// Called by rpc/workflow_service and by invoke and cancel for what they return. Never locks, never writes.

import { DomainError } from "../../kit/errors.ts";
import { SECOND } from "../../kit/units.ts";
import { type Requirements, requirementsText } from "../queue/route.ts";
import { runReads } from "../storage/read_runs.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CommandContext } from "./context.ts";
import type { RunListFilter } from "./control_plane.ts";
import { readPage } from "./page_token.ts";
import { edgeViews, nodeViews, runView, taskView, toolCallView, turnView } from "./run_views.ts";
import type { Page, PageRequest, RunView, TaskView, ToolCallView, TurnView } from "./views.ts";

/** What reading needs. */
export type ReadContext = Pick<CommandContext, "store" | "caches">;

/** How much of a run is read. */
export interface RunDetail {
  readonly edges: boolean;
  readonly outputs: boolean;
}

/** How long a task waits for a worker that could take it until its run is called unschedulable, in ms. */
export const UNSCHEDULABLE_MS = 30 * SECOND;

const RUNS = { sizeDefault: 50, sizeMax: 500 };
const TASKS = { sizeDefault: 100, sizeMax: 500 };

/** One run with nodes, their outputs, and edges. @throws RUN_NOT_FOUND */
export async function readRun(
  context: ReadContext,
  runId: string,
  detail: RunDetail = { edges: true, outputs: true },
): Promise<RunView> {
  const rows = await context.store.atOnce((queries) => runRows(queries, runId));
  return await runOfRows(context, rows, runId, detail);
}

/** Rows that a run is told from. */
export interface RunRows {
  readonly row: Awaited<ReturnType<RunReads["run"]>>;
  readonly nodes: Awaited<ReturnType<RunReads["nodes"]>>;
  readonly unschedulable: Awaited<ReturnType<RunReads["unschedulable"]>>;
}

type RunReads = ReturnType<typeof runReads>;

/** They, asked for at once. */
export async function runRows({ db }: StoreQueries, runId: string): Promise<RunRows> {
  const reads = runReads(db);
  // Nodes after the run: they are never older than it.
  const [row, nodes, unschedulable] = await Promise.all([
    reads.run(runId),
    reads.nodes(runId),
    reads.unschedulable([runId], UNSCHEDULABLE_MS),
  ]);
  return { row, nodes, unschedulable };
}

/** The run that they tell. @throws RUN_NOT_FOUND */
export async function runOfRows(
  { store, caches }: ReadContext,
  { row, nodes, unschedulable }: RunRows,
  runId: string,
  detail: RunDetail,
): Promise<RunView> {
  if (row === undefined) throw runNotFound(runId);
  const bundle = await store.read((queries) => caches.bundle(queries, row.bundle_digest));
  return {
    ...runView(withCondition(row, unschedulable)),
    nodes: nodeViews(bundle, nodes, detail.outputs),
    edges: detail.edges ? edgeViews(bundle, nodes) : [],
  };
}

/** A page of runs, newest first, without nodes and edges. @throws PAGE_TOKEN_INVALID */
export async function listRuns(
  context: ReadContext,
  filter: RunListFilter,
  request: PageRequest,
): Promise<Page<RunView>> {
  const { namespace = "", workflow = "", states, tags, createdFrom, createdBefore } = filter;
  const times = [createdFrom?.toISOString() ?? "", createdBefore?.toISOString() ?? ""];
  const key = { namespace, workflow, states: [...states].sort(), tags: { ...tags }, times };
  const page = await readPage(
    { name: "runs", filter: key, ...RUNS },
    request,
    (after, limit) =>
      context.store.read(async ({ db }) => {
        const reads = runReads(db);
        const rows = await reads.runs(filter, after?.[0], limit);
        const running = rows.filter((row) => row.state === "RUNNING").map((row) => row.id);
        const unschedulable = await reads.unschedulable(running, UNSCHEDULABLE_MS);
        return rows.map((row) => withCondition(row, unschedulable));
      }),
    (row) => [row.id],
  );
  return { ...page, items: page.items.map(runView) };
}

// Whether a worker could take a task changes without a record, so it is found when the run is read.
function withCondition<Row extends { readonly id: string; readonly conditions: string[] }>(
  row: Row,
  unschedulable: ReadonlyMap<string, readonly Requirements[]>,
): Row & { readonly waiting_for?: readonly string[] } {
  const missing = unschedulable.get(row.id);
  if (missing === undefined) return row;
  const conditions = [...row.conditions, "Unschedulable"].sort();
  return { ...row, conditions, waiting_for: missing.map(requirementsText).sort() };
}

/** A page of a run's tasks in creation order. @throws RUN_NOT_FOUND, PAGE_TOKEN_INVALID */
export async function listTasks(context: ReadContext, runId: string, request: PageRequest): Promise<Page<TaskView>> {
  const page = await readPage(
    { name: "tasks", filter: runId, ...TASKS },
    request,
    (after, limit) =>
      context.store.read(async ({ db }) => {
        const reads = runReads(db);
        const rows = await reads.tasks(runId, after?.[0] ?? "", limit);
        if (rows.length === 0 && (await reads.run(runId)) === undefined) throw runNotFound(runId);
        return rows;
      }),
    (row) => [row.id],
  );
  return { ...page, items: page.items.map(taskView) };
}

/** One task with its input, output, turns and tool calls. @throws TASK_NOT_FOUND */
export async function readTask(
  context: ReadContext,
  taskId: string,
): Promise<{ task: TaskView; turns: TurnView[]; toolCalls: ToolCallView[] }> {
  return await context.store.read(async ({ db }) => {
    const reads = runReads(db);
    const row = await reads.task(taskId);
    if (row === undefined) throw taskNotFound(taskId);
    const turns = await reads.turns(taskId);
    const toolCalls = await reads.toolCalls(taskId);
    return { task: taskView(row), turns: turns.map(turnView), toolCalls: toolCalls.map(toolCallView) };
  });
}

/** Namespace of a run or task; undefined if it does not exist. */
export async function namespaceOf(
  context: Pick<CommandContext, "store">,
  of: { readonly runId: string } | { readonly taskId: string },
): Promise<string | undefined> {
  return await context.store.read(async ({ db }) => {
    const reads = runReads(db);
    return "runId" in of ? await reads.namespaceOfRun(of.runId) : await reads.namespaceOfTask(of.taskId);
  });
}

/** The error for a task that is not there. */
export function taskNotFound(taskId: string): DomainError {
  const message = `task ${taskId} does not exist; list the tasks of its run`;
  return new DomainError("TASK_NOT_FOUND", message, { task: taskId });
}

/** The error for a run that is not there. */
export function runNotFound(runId: string): DomainError {
  return new DomainError("RUN_NOT_FOUND", `run ${runId} does not exist; list runs to find its id`, { run: runId });
}

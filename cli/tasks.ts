// The verb `orloj tasks`: lists the tasks of a run in creation order.
// Called by main.ts; describe shows the same table.
// JSON: {"items": […], "more": …, "nextPageToken": …}.

import type { Command } from "commander";
import { type Task, TaskSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { age, instant, millis, span, taskStateName } from "./format.ts";
import { presentable } from "./json_output.ts";
import { type Listing, type ListOptions, listOptions, showListing, tableOf } from "./listing.ts";
import { collect } from "./options.ts";
import { allPages, ITEMS_MAX, type Pages } from "./pages.ts";

interface Options extends ListOptions {
  readonly state?: string[];
  readonly node?: string;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  listOptions(
    program
      .command("tasks")
      .description("List the tasks of a run in creation order.")
      .argument("<run>", "run id")
      .option("-s, --state <state>", "only tasks in this state, such as LEASED; repeatable", collect)
      .option("--node <name>", "only tasks of this node"),
  ).action(async (runId: string, options: Options) => {
    const { node } = options;
    const states = (options.state ?? []).map((state) => state.toUpperCase().replaceAll("-", "_"));
    const fits = (task: Task) =>
      (states.length === 0 || states.includes(taskStateName(task.state))) && (node === undefined || task.node === node);
    await showListing(context, TASKS, options, async (limit, startToken) => {
      const pages = await pagesOf(context, runId, limit, startToken);
      return { ...pages, items: pages.items.filter(fits) };
    });
  });
}

function pagesOf(context: Context, runId: string, limit: number, startToken: string): Promise<Pages<Task>> {
  return allPages(
    async (pageToken, pageSize) => {
      const page = await context.client.workflows.listTasks({ runId, pageToken, pageSize });
      return { items: page.tasks, nextPageToken: page.nextPageToken };
    },
    limit,
    undefined,
    startToken,
  );
}

/** All tasks of a run. */
export async function tasksOf(context: Context, runId: string): Promise<Task[]> {
  return (await pagesOf(context, runId, ITEMS_MAX, "")).items;
}

const TASKS: Listing<Task> = {
  what: "tasks",
  columns: [
    { header: "TASK", cell: (task) => task.id },
    {
      header: "NODE",
      cell: (task) =>
        `${task.node}${task.item >= 0 ? `[${task.item}]` : ""}${task.iteration > 0 ? `#${task.iteration}` : ""}`,
    },
    { header: "AGENT", cell: (task) => task.agent || "-" },
    { header: "STATE", cell: (task) => ({ state: taskStateName(task.state) }) },
    { header: "ATTEMPT", cell: (task) => String(task.attempt) },
    { header: "REDELIVERED", cell: (task) => String(task.deliveries) },
    { header: "WORKER", cell: (task) => task.worker || "-" },
    {
      ...{ header: "AGE", moving: true as const },
      cell: (task, nowMs) => age(task.createTime, nowMs),
      sortBy: (task) => -(millis(task.createTime) ?? 0),
    },
    {
      ...{ header: "DURATION", moving: true as const },
      cell: (task, nowMs) => span(task.createTime, task.endTime, nowMs),
      sortBy: (task) => (millis(task.endTime) ?? Number.MAX_SAFE_INTEGER) - (millis(task.createTime) ?? 0),
    },
    {
      header: "FAILURE",
      cell: (task) => (task.failure === undefined ? "-" : `${task.failure.class}: ${task.failure.message}`),
    },
    { header: "CREATED", wide: true, cell: (task) => instant(task.createTime) },
    { header: "DUE", wide: true, cell: (task) => instant(task.dueTime) },
  ],
  name: (task) => task.id,
  json: (task) => presentable(TaskSchema, task),
  none: "The run has no such tasks yet.",
};

/** Tasks as a table. */
export function taskTable(tasks: readonly Task[], context: Context): string[] {
  return tableOf(context, TASKS, tasks);
}

// The verb `orloj tasks`: lists the tasks of a run in creation order.
// Called by main.ts; describe shows the same table.
// JSON: {"items": […]}.

import type { Command } from "commander";
import { type Task, TaskSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { age, type Cell, span, table, taskStateName } from "./format.ts";
import { presentable } from "./json_output.ts";
import { allPages } from "./pages.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("tasks")
    .description("List the tasks of a run in creation order.")
    .argument("<run>", "run id")
    .action(async (runId: string) => {
      const tasks = await tasksOf(context, runId);
      if (context.json) context.printJson({ items: tasks.map((task) => presentable(TaskSchema, task)) });
      else if (tasks.length === 0) context.note("The run has no tasks yet.");
      else context.print(...taskTable(tasks, context));
    });
}

/** All tasks of a run. */
export async function tasksOf(context: Context, runId: string): Promise<Task[]> {
  const { items } = await allPages(async (pageToken, pageSize) => {
    const page = await context.client.workflows.listTasks({ runId, pageToken, pageSize });
    return { items: page.tasks, nextPageToken: page.nextPageToken };
  });
  return items;
}

/** Tasks as a table. */
export function taskTable(tasks: readonly Task[], context: Context): string[] {
  const nowMs = context.host.clock.now();
  const headers = ["TASK", "NODE", "AGENT", "STATE", "ATTEMPT", "REDELIVERED", "WORKER", "AGE", "DURATION", "FAILURE"];
  const rows = tasks.map((task): Cell[] => [
    task.id,
    `${task.node}${task.item >= 0 ? `[${task.item}]` : ""}${task.iteration > 0 ? `#${task.iteration}` : ""}`,
    task.agent || "-",
    { state: taskStateName(task.state) },
    String(task.attempt),
    String(task.deliveries),
    task.worker || "-",
    age(task.createTime, nowMs),
    span(task.createTime, task.endTime, nowMs),
    task.failure === undefined ? "-" : `${task.failure.class}: ${task.failure.message}`,
  ]);
  return table(headers, rows, context.paint);
}

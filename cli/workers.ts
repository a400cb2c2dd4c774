// The verb `orloj workers`: lists workers with a live session.
// Called by main.ts; describe and drain show the same table.
// JSON: {"items": […]}.

import type { Command } from "commander";
import { type Worker, WorkerSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { age, pairs, table } from "./format.ts";
import { presentable } from "./json_output.ts";
import { allPages } from "./pages.ts";
import { safeLine } from "./sanitize.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("workers")
    .description("List workers with a live session.")
    .action(async () => {
      const { items } = await allPages(async (pageToken, pageSize) => {
        const page = await context.client.fleet.listWorkers({ pageToken, pageSize });
        return { items: page.workers, nextPageToken: page.nextPageToken };
      });
      if (context.json) {
        context.printJson({ items: items.map((worker) => presentable(WorkerSchema, worker)) });
        return;
      }
      if (items.length > 0) context.print(...workerTable(items, context));
      else {
        context.note("No worker is connected.");
        context.next("orloj worker");
      }
    });
}

// Runtimes, and in place of "handler" which handlers.
function runs({ runtimes, handlers }: Worker): string {
  const others = runtimes.filter((runtime) => runtime !== "handler");
  return safeLine([...others, ...handlers.map((name) => `handler:${name}`)].join(","));
}

/** Workers as a table. */
export function workerTable(workers: readonly Worker[], context: Context): string[] {
  const nowMs = context.host.clock.now();
  const headers = [
    "NAME",
    "SESSION",
    "STATE",
    "SLOTS",
    "LEASES",
    "RUNS",
    "LABELS",
    "CONNECTED",
    "LAST SEEN",
    "VERSION",
  ];
  const rows = workers.map((worker) => [
    worker.name,
    worker.sessionId,
    worker.state,
    String(worker.slots),
    String(worker.leases),
    runs(worker),
    pairs(worker.labels),
    age(worker.connectTime, nowMs),
    `${age(worker.lastSeenTime, nowMs)} ago`,
    worker.version || "-",
  ]);
  return table(headers, rows, context.paint);
}

// The verb `orloj workers`: lists workers with a live session.
// Called by main.ts; describe and drain show the same table.
// JSON: {"items": […], "more": …, "nextPageToken": …}.

import type { Command } from "commander";
import { type Worker, WorkerSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { age, millis, pairs } from "./format.ts";
import { presentable } from "./json_output.ts";
import { type Listing, type ListOptions, listOptions, showListing, tableOf } from "./listing.ts";
import { collect, collectPairs } from "./options.ts";
import { allPages, type Pages } from "./pages.ts";

interface Options extends ListOptions {
  readonly state?: string[];
  readonly label?: Readonly<Record<string, string>>;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  listOptions(
    program
      .command("workers")
      .description("List workers with a live session.")
      .option("-s, --state <state>", "active, draining or lost; repeatable", collect)
      .option("-l, --label <key=value>", "only those with this label; repeatable", collectPairs),
  ).action(async (options: Options) => {
    const states = (options.state ?? []).map((state) => state.toLowerCase());
    await showListing(context, WORKERS, options, async (limit, startToken) => {
      const pages = await workerPages(context, limit, startToken);
      const items = pages.items.filter(
        (worker) => (states.length === 0 || states.includes(worker.state)) && hasLabels(worker, options.label),
      );
      return { ...pages, items };
    });
  });
}

/** Workers from a page on. */
export function workerPages(context: Context, limit?: number, startToken?: string): Promise<Pages<Worker>> {
  return allPages(
    async (pageToken, pageSize) => {
      const page = await context.client.fleet.listWorkers({ pageToken, pageSize });
      return { items: page.workers, nextPageToken: page.nextPageToken };
    },
    limit,
    undefined,
    startToken,
  );
}

/** True if the worker has each of these labels with this value. */
export function hasLabels(worker: Worker, labels: Readonly<Record<string, string>> = {}): boolean {
  return Object.entries(labels).every(([key, value]) => worker.labels[key] === value);
}

// Runtimes, and in place of "handler" which handlers.
function runs({ runtimes, handlers }: Worker): string {
  const others = runtimes.filter((runtime) => runtime !== "handler");
  return [...others, ...handlers.map((name) => `handler:${name}`)].join(",");
}

const WORKERS: Listing<Worker> = {
  what: "workers",
  columns: [
    { header: "NAME", cell: (worker) => worker.name },
    { header: "SESSION", cell: (worker) => worker.sessionId },
    { header: "STATE", cell: (worker) => worker.state },
    { header: "SLOTS", cell: (worker) => String(worker.slots) },
    { header: "LEASES", cell: (worker) => String(worker.leases) },
    { header: "RUNS", cell: runs },
    { header: "LABELS", cell: (worker) => pairs(worker.labels) },
    {
      ...{ header: "CONNECTED", moving: true as const },
      cell: (worker, nowMs) => age(worker.connectTime, nowMs),
      sortBy: (worker) => -(millis(worker.connectTime) ?? 0),
    },
    {
      ...{ header: "LAST SEEN", moving: true as const },
      cell: (worker, nowMs) => `${age(worker.lastSeenTime, nowMs)} ago`,
      sortBy: (worker) => -(millis(worker.lastSeenTime) ?? 0),
    },
    { header: "VERSION", cell: (worker) => worker.version || "-" },
    { header: "IDENTITY", wide: true, cell: (worker) => worker.identity },
    { header: "REPLICA", wide: true, cell: (worker) => worker.replicaId },
    { header: "INSTANCE", wide: true, cell: (worker) => worker.instanceId },
  ],
  name: (worker) => worker.sessionId,
  json: (worker) => presentable(WorkerSchema, worker),
  none: "No worker is connected.",
  next: "orloj worker",
};

/** Workers as a table. */
export function workerTable(workers: readonly Worker[], context: Context): string[] {
  return tableOf(context, WORKERS, workers);
}

// The verb `orloj leases`: lists live leases, of all runs or of one.
// Called by main.ts; describe worker shows the same table.
// JSON: {"items": […], "more": …, "nextPageToken": …}.

import type { Command } from "commander";
import { type Lease, LeaseSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { age, duration, millis } from "./format.ts";
import { presentable } from "./json_output.ts";
import { type Listing, type ListOptions, listOptions, showListing, tableOf } from "./listing.ts";
import { allPages } from "./pages.ts";

interface Options extends ListOptions {
  readonly worker?: string;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  listOptions(
    program
      .command("leases")
      .description("List live leases.")
      .argument("[run]", "only leases of this run")
      .option("--worker <name>", "only leases of this worker, by name or session id"),
  ).action(async (runId: string | undefined, options: Options) => {
    const { worker } = options;
    await showListing(context, LEASES, options, async (limit, startToken) => {
      const pages = await allPages(
        async (pageToken, pageSize) => {
          const page = await context.client.fleet.listLeases({ runId: runId ?? "", pageToken, pageSize });
          return { items: page.leases, nextPageToken: page.nextPageToken };
        },
        limit,
        undefined,
        startToken,
      );
      if (worker === undefined) return pages;
      return { ...pages, items: pages.items.filter((one) => one.worker === worker || one.sessionId === worker) };
    });
  });
}

const LEASES: Listing<Lease> = {
  what: "leases",
  columns: [
    { header: "TASK", cell: (lease) => lease.taskId },
    { header: "RUN", cell: (lease) => lease.runId },
    { header: "NODE", cell: (lease) => lease.node },
    { header: "WORKER", cell: (lease) => lease.worker },
    { header: "ATTEMPT", cell: (lease) => String(lease.attempt) },
    { header: "DELIVERY", cell: (lease) => String(lease.delivery) },
    { header: "ACCEPTED", cell: (lease) => (lease.accepted ? "yes" : "no") },
    {
      ...{ header: "CLAIMED", moving: true as const },
      cell: (lease, nowMs) => `${age(lease.claimTime, nowMs)} ago`,
      sortBy: (lease) => -(millis(lease.claimTime) ?? 0),
    },
    {
      ...{ header: "EXPIRES IN", moving: true as const },
      cell: (lease, nowMs) => {
        const expireMs = millis(lease.expireTime);
        return expireMs === undefined ? "-" : expireMs <= nowMs ? "expired" : duration(expireMs - nowMs);
      },
      sortBy: (lease) => millis(lease.expireTime) ?? 0,
    },
    { header: "SESSION", wide: true, cell: (lease) => lease.sessionId },
  ],
  name: (lease) => lease.taskId,
  json: (lease) => presentable(LeaseSchema, lease),
  none: "No lease is live.",
};

/** Leases as a table. */
export function leaseTable(leases: readonly Lease[], context: Context): string[] {
  return tableOf(context, LEASES, leases);
}

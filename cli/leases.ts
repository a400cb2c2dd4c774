// The verb `orloj leases`: lists live leases, of all runs or of one.
// Called by main.ts; describe worker shows the same table.
// JSON: {"items": […]}.

import type { Command } from "commander";
import { type Lease, LeaseSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { age, duration, millis, table } from "./format.ts";
import { presentable } from "./json_output.ts";
import { allPages } from "./pages.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("leases")
    .description("List live leases.")
    .argument("[run]", "only leases of this run")
    .action(async (runId: string | undefined) => {
      const { items } = await allPages(async (pageToken, pageSize) => {
        const page = await context.client.fleet.listLeases({ runId: runId ?? "", pageToken, pageSize });
        return { items: page.leases, nextPageToken: page.nextPageToken };
      });
      if (context.json) context.printJson({ items: items.map((lease) => presentable(LeaseSchema, lease)) });
      else if (items.length === 0) context.note("No lease is live.");
      else context.print(...leaseTable(items, context));
    });
}

/** Leases as a table. */
export function leaseTable(leases: readonly Lease[], context: Context): string[] {
  const nowMs = context.host.clock.now();
  const headers = ["TASK", "RUN", "NODE", "WORKER", "ATTEMPT", "DELIVERY", "ACCEPTED", "CLAIMED", "EXPIRES IN"];
  const rows = leases.map((lease) => {
    const expireMs = millis(lease.expireTime);
    return [
      lease.taskId,
      lease.runId,
      lease.node,
      lease.worker,
      String(lease.attempt),
      String(lease.delivery),
      lease.accepted ? "yes" : "no",
      `${age(lease.claimTime, nowMs)} ago`,
      expireMs === undefined ? "-" : expireMs <= nowMs ? "expired" : duration(expireMs - nowMs),
    ];
  });
  return table(headers, rows, context.paint);
}

// The verb `orloj revoke`: takes the lease of a task away; the task is ready again at once.
// Called by main.ts.
// What the old holder still reports is refused.

import type { Command } from "commander";
import type { Context } from "./context.ts";
import { safeLine } from "./sanitize.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("revoke")
    .description("Take the lease of a task away: another worker may take the task at once.")
    .argument("<task>", "task id")
    .option("--reason <text>", "recorded in the audit trail", "")
    .action(async (taskId: string, options: { reason: string }) => {
      await context.client.fleet.revokeLease({ taskId, reason: options.reason });
      if (context.json) context.printJson({ taskId, action: "revoked" });
      else context.print(safeLine(`revoked  ${taskId}`));
    });
}

// The verb `orloj cancel`: asks a run to stop; returns as soon as that is recorded.
// Called by main.ts.
// Tasks get the template's grace to end; orloj describe run shows when they have.

import type { Command } from "commander";
import { type Run, RunSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { runStateName } from "./format.ts";
import { presentable } from "./json_output.ts";
import { safeLine } from "./sanitize.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("cancel")
    .description("Ask a run to stop. Returns as soon as that is recorded.")
    .argument("<run>", "run id")
    .option("--reason <text>", "recorded in the audit trail", "")
    .action(async (runId: string, options: { reason: string }) => {
      const run: Run = await context.client.run(runId).cancel(options.reason);
      if (context.json) {
        context.printJson(presentable(RunSchema, run));
        return;
      }
      context.print(safeLine(`${run.id}  ${runStateName(run.state)}`));
      context.next(safeLine(`orloj describe run ${run.id}`));
    });
}

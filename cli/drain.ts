// The verb `orloj drain`: asks a worker to finish what it holds and take nothing more.
// Called by main.ts.
// What it still holds after the window goes to other workers.

import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { HOUR, parseDuration, SECOND } from "../kit/units.ts";
import { WorkerSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { presentable } from "./json_output.ts";
import { workerTable } from "./workers.ts";

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("drain")
    .description("Ask a worker to finish what it holds and take nothing more.")
    .argument("<worker>", "name or session id")
    .option("--window <duration>", "how long it may finish what it holds, at most 1h", "30s")
    .action(async (name: string, options: { window: string }) => {
      const windowMs = parseDuration(options.window);
      if (windowMs === undefined || windowMs < SECOND || windowMs > HOUR) {
        throw new UsageError(`--window ${options.window}: use a duration from 1s to 1h, such as 30s`);
      }
      const { worker } = await context.client.fleet.drainWorker({ worker: name, window: durationFromMs(windowMs) });
      if (worker === undefined) return;
      if (context.json) context.printJson(presentable(WorkerSchema, worker));
      else context.print(...workerTable([worker], context));
    });
}

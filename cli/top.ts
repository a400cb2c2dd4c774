// The verb `orloj top`: the fleet as it is now, drawn in place on a terminal, printed once elsewhere unless --interval is given.
// Called by main.ts. One call of the API a tick; every number is the server's.
// JSON: one document a tick, {"readTime", "replicaId", "version", "numbers": [{"name", "labels", "value"}]}.

import type { Command } from "commander";
import { Code, type GetStatusResponse, GetStatusResponseSchema, OrlojError } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { EXIT } from "./failure.ts";
import { presentable } from "./json_output.ts";
import { intervalOf } from "./listing.ts";
import { LiveArea } from "./live.ts";
import { statusLines } from "./top_text.ts";

interface Options {
  readonly once?: boolean;
  readonly interval?: string;
}

const FAILURES_MAX = 15;

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("top")
    .description("Show runs, queues, workers and rates as they are now.")
    .option("--once", "print them once, also on a terminal")
    .option("--interval <duration>", "go on with a look this often, also where there is no terminal (there: 2s)")
    .action(async (options: Options) => {
      const intervalMs = intervalOf(options.interval);
      const goesOn = context.host.terminal() !== undefined || options.interval !== undefined;
      if (options.once === true || !goesOn) {
        const status = await context.client.fleet.getStatus({});
        if (context.json) context.printJson(presentable(GetStatusResponseSchema, status));
        else context.print(...statusLines(status, context.paint));
        return;
      }
      await live(context, intervalMs);
    });
}

async function live(context: Context, intervalMs: number): Promise<void> {
  const { host } = context;
  const size = () => host.terminal() ?? { columns: 80, rows: 24 };
  const drawn = !context.json && host.terminal() !== undefined;
  const area = drawn ? new LiveArea({ write: (text) => host.out(text), size }) : undefined;
  let last: readonly string[] = [];
  const show = (status: GetStatusResponse) => {
    if (context.json) return context.printJsonLine(presentable(GetStatusResponseSchema, status));
    if (area === undefined) return context.print(...statusLines(status, context.paint), "");
    last = statusLines(status, context.paint);
    // What does not fit is left out at the end: the sums stand first.
    area.draw(last.slice(0, Math.max(1, size().rows - 1)));
  };
  await context.interruptible(async (signal) => {
    try {
      for (let failures = 0; !signal.aborted; ) {
        try {
          show(await context.client.fleet.getStatus({}, { signal }));
          failures = 0;
        } catch (error) {
          if (signal.aborted) break;
          failures += 1;
          const failure = OrlojError.from(error);
          if (failure.code !== Code.Unavailable || failures > FAILURES_MAX) throw error;
          area?.draw([
            ...last.slice(0, Math.max(0, size().rows - 2)),
            context.paint("warn", "the server does not answer"),
          ]);
        }
        await host.clock.sleep(intervalMs, signal);
      }
    } finally {
      area?.finish(last);
    }
    context.exitCode = EXIT.interrupted;
  });
}

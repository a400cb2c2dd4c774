// The verb `orloj runs`: lists runs, newest first.
// Called by main.ts.
// JSON: {"items": […], "more": true|false}.

import type { Command } from "commander";
import { type Run, RunSchema, RunState } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { age, runStateName, span, table } from "./format.ts";
import { presentable } from "./json_output.ts";
import { collect, parseLimit } from "./options.ts";
import { allPages } from "./pages.ts";

interface Options {
  readonly namespace?: string;
  readonly workflow?: string;
  readonly state?: string[];
  readonly limit: number;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("runs")
    .description("List runs, newest first.")
    .option("-n, --namespace <name>", "only this namespace (default: all)")
    .option("-w, --workflow <name>", "only runs of this workflow")
    .option("-s, --state <state>", "only runs in this state, such as FAILED; repeatable", collect)
    .option("--limit <count>", "runs at most", parseLimit, 50)
    .action(async (options: Options) => {
      const states = (options.state ?? []).map(stateOf);
      const { items, more } = await allPages(async (pageToken, pageSize) => {
        const page = await context.client.workflows.listRuns({
          namespace: options.namespace ?? "",
          workflow: options.workflow ?? "",
          states,
          pageToken,
          pageSize,
        });
        return { items: page.runs, nextPageToken: page.nextPageToken };
      }, options.limit);
      if (context.json) {
        context.printJson({ items: items.map((run) => presentable(RunSchema, run)), more });
        return;
      }
      if (items.length === 0) {
        context.note("No runs found.");
        context.next("orloj get workflows -A, then orloj invoke NAME");
        return;
      }
      const headers = ["RUN", "NAMESPACE", "WORKFLOW", "STATE", "AGE", "DURATION", "REQUESTER", "CONDITIONS"];
      context.print(
        ...table(
          headers,
          items.map((run) => rowOf(run, context.host.clock.now())),
          context.paint,
        ),
      );
      if (more) context.note(`More than ${options.limit} runs; raise --limit to see the rest.`);
    });
}

function rowOf(run: Run, nowMs: number) {
  return [
    run.id,
    run.namespace,
    run.workflow,
    { state: runStateName(run.state) },
    age(run.createTime, nowMs),
    span(run.createTime, run.endTime, nowMs),
    run.requester?.id ?? "-",
    run.conditions.join(",") || "-",
  ];
}

function stateOf(name: string): RunState {
  const wanted = name.toUpperCase().replaceAll("-", "_");
  const state = Object.entries(RunState).find(([known]) => known === wanted && known !== "UNSPECIFIED");
  if (state === undefined) {
    const known = Object.keys(RunState).filter((one) => one !== "UNSPECIFIED");
    throw new UsageError(`--state ${name}: there is no such state`, `use one of ${known.join(", ")}`);
  }
  return state[1];
}

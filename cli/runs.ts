// The verb `orloj runs`: lists runs, newest first.
// Called by main.ts.
// JSON: {"items": […], "more": true|false, "nextPageToken": …}.

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { type Run, RunSchema, RunState } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { age, instant, millis, pairs, runStateName, span } from "./format.ts";
import { presentable } from "./json_output.ts";
import { type Listing, type ListOptions, listOptions, showListing } from "./listing.ts";
import { collect, collectPairs, parseMoment } from "./options.ts";
import { allPages } from "./pages.ts";

interface Options extends ListOptions {
  readonly namespace?: string;
  readonly workflow?: string;
  readonly state?: string[];
  readonly tag?: Readonly<Record<string, string>>;
  readonly since?: string;
  readonly until?: string;
}

const RUNS_SHOWN = 50;

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  listOptions(
    program
      .command("runs")
      .description("List runs, newest first.")
      .option("-n, --namespace <name>", "only this namespace (default: all)")
      .option("--workflow <name>", "only runs of this workflow")
      .option("-s, --state <state>", "only runs in this state, such as FAILED; repeatable", collect)
      .option("-t, --tag <key=value>", "only runs with this tag; repeatable", collectPairs)
      .option("--since <time>", "created from then on: a duration back such as 15m, or RFC 3339")
      .option("--until <time>", "created before then"),
    RUNS_SHOWN,
  ).action(async (options: Options) => {
    const { namespace = "", workflow = "", since, until } = options;
    const nowMs = context.host.clock.now();
    const filter = {
      ...{ namespace, workflow, states: (options.state ?? []).map(stateOf), tags: { ...options.tag } },
      ...(since === undefined ? {} : { startTime: timestampFromMs(parseMoment("--since", since, nowMs)) }),
      ...(until === undefined ? {} : { endTime: timestampFromMs(parseMoment("--until", until, nowMs)) }),
    };
    await showListing(context, RUNS, options, (limit, startToken) =>
      allPages(
        async (pageToken, pageSize) => {
          const page = await context.client.workflows.listRuns({ ...filter, pageToken, pageSize });
          return { items: page.runs, nextPageToken: page.nextPageToken };
        },
        limit,
        undefined,
        startToken,
      ),
    );
  });
}

const RUNS: Listing<Run> = {
  what: "runs",
  columns: [
    { header: "RUN", cell: (run) => run.id },
    { header: "NAMESPACE", cell: (run) => run.namespace },
    { header: "WORKFLOW", cell: (run) => run.workflow },
    { header: "STATE", cell: (run) => ({ state: runStateName(run.state) }) },
    {
      ...{ header: "AGE", moving: true as const },
      cell: (run, nowMs) => age(run.createTime, nowMs),
      sortBy: (run) => -(millis(run.createTime) ?? 0),
    },
    {
      ...{ header: "DURATION", moving: true as const },
      cell: (run, nowMs) => span(run.createTime, run.endTime, nowMs),
      sortBy: (run) => (millis(run.endTime) ?? Number.MAX_SAFE_INTEGER) - (millis(run.createTime) ?? 0),
    },
    { header: "REQUESTER", cell: (run) => run.requester?.id ?? "-" },
    { header: "CONDITIONS", cell: (run) => run.conditions.join(",") || "-" },
    { header: "TAGS", wide: true, cell: (run) => pairs(run.tags) },
    { header: "CREATED", wide: true, cell: (run) => instant(run.createTime) },
    { header: "ENDED", wide: true, cell: (run) => instant(run.endTime) },
    { header: "WAITING FOR", wide: true, cell: (run) => run.waitingFor.join("; ") || "-" },
    {
      header: "FAILURE",
      wide: true,
      cell: (run) => (run.failure ? `${run.failure.class}: ${run.failure.message}` : "-"),
    },
  ],
  name: (run) => run.id,
  json: (run) => presentable(RunSchema, run),
  none: "No runs found.",
  next: "orloj get workflows -A, then orloj invoke NAME",
};

/** A state of runs by its name, as people write it. @throws UsageError that lists them */
export function stateOf(name: string): RunState {
  const wanted = name.toUpperCase().replaceAll("-", "_");
  const state = Object.entries(RunState).find(([known]) => known === wanted && known !== "UNSPECIFIED");
  // The enum is read both ways: a number is no name.
  if (state === undefined || typeof state[1] !== "number") {
    throw new UsageError(`--state ${name}: there is no such state`, `use one of ${RUN_STATES.join(", ")}`);
  }
  return state[1];
}

/** Names of all states of runs. */
export const RUN_STATES: readonly string[] = Object.keys(RunState).filter(
  (one) => /^[A-Z]/.test(one) && one !== "UNSPECIFIED",
);

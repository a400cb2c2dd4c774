// The verb `orloj wait`: waits until a run, a task, workers, dead letters, or a resource are as they are wanted.
// Called by main.ts. Runs and their tasks are watched; what has no watch is looked at once an --interval.
// Exit 0: it is so. 1: it will never be. 124: --timeout is over. Interrupting leaves everything going.

import type { Command } from "commander";
import type { Json } from "../kit/json.ts";
import { DAY, parseDuration } from "../kit/units.ts";
import { Code, isFinal, OrlojError, type Run, RunSchema, TaskSchema, WorkerSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { EXIT, UsageError } from "./failure.ts";
import { runStateName, taskStateName } from "./format.ts";
import { presentable } from "./json_output.ts";
import { kindOf, splitKindName } from "./kinds.ts";
import { intervalOf } from "./listing.ts";
import { collect, collectPairs } from "./options.ts";
import { RUN_STATES, stateOf } from "./runs.ts";
import { safeLine } from "./sanitize.ts";
import { isFinalTask, TASK_STATES, type Want, wantOf } from "./wait_for.ts";
import { hasLabels, workerPages } from "./workers.ts";

interface Options {
  readonly for?: string[];
  readonly timeout: string;
  readonly interval?: string;
  readonly namespace?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly workflow?: string;
  readonly run?: string;
}

/** How things stand: as wanted, never as wanted any more, or neither yet; words for people, and JSON. */
interface Standing {
  readonly is: "reached" | "never" | "open";
  readonly words: string;
  readonly item?: Json;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("wait")
    .description("Wait until a run, a task, workers, dead letters, or a resource are as they are wanted.")
    .argument("<what>", "run_…, task_…, workers, worker/NAME, dead-letters, or KIND/NAME")
    .argument("[name]", "name of a worker or a resource")
    .option(
      "--for <what>",
      "end (default), state=S, condition=C, no-condition=C, active=N, none, any, or delete; repeatable: any of them",
      collect,
    )
    .option("--timeout <duration>", "give up after this long; 0: never", "10m")
    .option("--interval <duration>", "between two looks at what cannot be watched")
    .option("-n, --namespace <name>", "namespace of a resource (default: default), or of dead letters (default: all)")
    .option("-l, --label <key=value>", "only workers with this label; repeatable", collectPairs)
    .option("--workflow <name>", "only dead letters of this workflow")
    .option("--run <run>", "only dead letters of this run")
    .action((first: string, second: string | undefined, options: Options) => wait(context, first, second, options));
}

async function wait(context: Context, first: string, second: string | undefined, options: Options): Promise<void> {
  const timeoutMs = timeoutOf(options.timeout);
  const standings = standingsOf(context, first, second, options);
  await context.interruptible(async (interrupt) => {
    const over = new AbortController();
    const cancel = timeoutMs === 0 ? () => {} : context.host.clock.after(timeoutMs, () => over.abort());
    const signal = AbortSignal.any([interrupt, over.signal]);
    let last: Standing | undefined;
    try {
      for await (const standing of standings(signal)) {
        last = standing;
        if (standing.is !== "open") break;
      }
      if (last?.is === "reached") return tell(context, last, EXIT.ok);
      if (last?.is === "never") return tell(context, last, EXIT.failed);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      cancel();
    }
    const now = last ?? { is: "open" as const, words: "nothing is known of it yet" };
    if (interrupt.aborted) return tell(context, now, EXIT.interrupted);
    tell(context, now, EXIT.timedOut);
    context.next("wait longer with --timeout, or look with orloj describe");
  });
}

function tell(context: Context, { is, words, item = null }: Standing, exitCode: number): void {
  context.exitCode = exitCode;
  if (context.json) context.printJson({ reached: is === "reached", state: words, item });
  else if (is === "reached") context.print(safeLine(words));
  else context.note(safeLine(is === "never" ? `${words}: it will not be as it was waited for` : `Not yet: ${words}`));
}

function timeoutOf(text: string): number {
  const ms = text === "0" ? 0 : parseDuration(text);
  if (ms === undefined || ms > 365 * DAY) throw new UsageError(`--timeout ${text}: use a duration such as 10m, or 0`);
  return ms;
}

type Standings = (signal: AbortSignal) => AsyncIterable<Standing>;

function standingsOf(context: Context, first: string, second: string | undefined, options: Options): Standings {
  const intervalMs = intervalOf(options.interval ?? "1s");
  const looked =
    (look: () => Promise<Standing>): Standings =>
    (signal) =>
      looks(context, look, intervalMs, signal);
  if (first.startsWith("run_")) {
    const want = wantOf(options.for, "run", RUN_STATES);
    return (signal) => runStandings(context, first, want, intervalMs, signal);
  }
  if (first.startsWith("task_")) {
    const want = wantOf(options.for, "task", TASK_STATES);
    return (signal) => taskStandings(context, first, want, signal);
  }
  if (first === "workers") {
    const want = wantOf(options.for ?? ["active=1"], "workers", []);
    return looked(() => workersStanding(context, want, options.label));
  }
  if (first === "dead-letters") {
    const want = wantOf(options.for ?? ["none"], "dead-letters", []);
    return looked(() => lettersStanding(context, want, options));
  }
  const { kind, name } = splitKindName(first, second);
  if (name === undefined) {
    throw new UsageError(
      `"${first}" cannot be waited for`,
      "use run_…, task_…, workers, worker/NAME, dead-letters, or KIND/NAME",
    );
  }
  if (kind === "run" || kind === "task") return standingsOf(context, name, undefined, options);
  if (kind === "worker") {
    const want = wantOf(options.for ?? ["state=active"], "worker", ["active", "draining", "lost"]);
    return looked(() => workerStanding(context, name, want));
  }
  const known = kindOf(kind);
  const want = wantOf(options.for ?? ["any"], "resource", []);
  return looked(() => resourceStanding(context, { kind: known, namespace: options.namespace ?? "", name }, want));
}

// One look after the other. A server that is away for a while is waited for as well.
async function* looks(
  context: Context,
  look: () => Promise<Standing>,
  intervalMs: number,
  signal: AbortSignal,
): AsyncGenerator<Standing> {
  while (!signal.aborted) {
    try {
      yield await look();
    } catch (error) {
      if (OrlojError.from(error).code !== Code.Unavailable) throw error;
    }
    await context.host.clock.sleep(intervalMs, signal);
  }
}

async function* runStandings(
  context: Context,
  runId: string,
  want: Want,
  intervalMs: number,
  signal: AbortSignal,
): AsyncGenerator<Standing> {
  let last: Run | undefined;
  try {
    for await (const { run } of context.client.run(runId).watch({ signal })) {
      last = run;
      yield runStanding(run, want);
    }
  } catch (error) {
    if (!want.deleted || !isGone(error)) throw error;
    yield { is: "reached", words: `${runId} is gone` };
    return;
  }
  // A run that has ended changes no more, but goes with the retention.
  if (last === undefined || !want.deleted) return;
  yield* looks(
    context,
    () =>
      goneStanding(
        async () => `${runId} is still there: ${runStateName((await context.client.run(runId).get()).state)}`,
        `${runId} is gone`,
      ),
    intervalMs,
    signal,
  );
}

function runStanding(run: Run, want: Want): Standing {
  const state = runStateName(run.state);
  const words = `${run.id} ${state}${run.conditions.length === 0 ? "" : ` (${run.conditions.join(", ")})`}`;
  const item = presentable(RunSchema, run);
  const is = want.states.some((name) => stateOf(name) === run.state) || (want.ended && isFinal(run.state));
  const has = want.conditions.some((name) => run.conditions.includes(name));
  const lacks = want.absent.some((name) => !run.conditions.includes(name));
  if (is || has || lacks) return { is: "reached", words, item };
  return { is: isFinal(run.state) && !want.deleted ? "never" : "open", words, item };
}

async function* taskStandings(
  context: Context,
  taskId: string,
  want: Want,
  signal: AbortSignal,
): AsyncGenerator<Standing> {
  const { task: first } = await context.client.workflows.getTask({ taskId }, { signal });
  const standing = (task: typeof first): Standing => {
    const state = task === undefined ? "UNSPECIFIED" : taskStateName(task.state);
    const item = task === undefined ? null : presentable(TaskSchema, task);
    const words = `${taskId} ${state}`;
    const final = isFinalTask(state);
    if (want.states.includes(state) || (want.ended && final)) return { is: "reached", words, item };
    return { is: final ? "never" : "open", words, item };
  };
  yield standing(first);
  for await (const { tasks } of context.client.run(first?.runId ?? "").watch({ signal })) {
    const found = tasks.find(({ id }) => id === taskId);
    if (found !== undefined) yield standing(found);
  }
  // Beyond the newest thousand of a run, a watch does not show a task.
  const { task } = await context.client.workflows.getTask({ taskId }, { signal });
  yield standing(task);
}

async function workersStanding(context: Context, want: Want, labels: Options["label"]): Promise<Standing> {
  const { items } = await workerPages(context);
  const active = items.filter((worker) => worker.state === "active" && hasLabels(worker, labels));
  const words = `${active.length} active`;
  const item = active.map((worker) => presentable(WorkerSchema, worker));
  const reached = want.none ? active.length === 0 : active.length >= (want.active ?? 1);
  return { is: reached ? "reached" : "open", words, item };
}

async function workerStanding(context: Context, name: string, want: Want): Promise<Standing> {
  try {
    const { worker } = await context.client.fleet.getWorker({ worker: name });
    const state = worker?.state ?? "";
    const item = worker === undefined ? null : presentable(WorkerSchema, worker);
    // What is lost has gone as far as it can be seen.
    const reached = want.states.includes(state) || (want.deleted && state === "lost");
    return { is: reached ? "reached" : "open", words: `worker ${name} ${state}`, item };
  } catch (error) {
    if (!isGone(error)) throw error;
    return { is: want.deleted ? "reached" : "open", words: `worker ${name} has no session` };
  }
}

async function lettersStanding(context: Context, want: Want, options: Options): Promise<Standing> {
  const { namespace = "", workflow = "", run: runId = "" } = options;
  const filter = { namespace, workflow, runId };
  const { deadLetters, nextPageToken } = await context.client.deadLetters.listDeadLetters({ filter, pageSize: 500 });
  const count = deadLetters.length;
  const words = `${count}${nextPageToken === "" ? "" : " or more"} open dead letters`;
  return { is: (want.none ? count === 0 : count > 0) ? "reached" : "open", words, item: { count } };
}

async function resourceStanding(
  context: Context,
  key: { readonly kind: string; readonly namespace: string; readonly name: string },
  want: Want,
): Promise<Standing> {
  const about = `${key.kind} ${key.namespace || "default"}/${key.name}`;
  const standing = await goneStanding(async () => {
    await context.client.manifests.getResource(key);
    return `${about} is there`;
  }, `${about} is not there`);
  if (want.deleted) return standing;
  return { ...standing, is: standing.is === "reached" ? "open" : "reached" };
}

async function goneStanding(look: () => Promise<string>, gone: string): Promise<Standing> {
  try {
    return { is: "open", words: await look() };
  } catch (error) {
    if (!isGone(error)) throw error;
    return { is: "reached", words: gone };
  }
}

function isGone(error: unknown): boolean {
  return OrlojError.from(error).code === Code.NotFound;
}

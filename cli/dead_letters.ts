// The verb `orloj dead-letters`: lists parked tasks, shows one, replays them, gives them up.
// Called by main.ts. What a replay would repeat, and what nobody knows, is the server's to say: its message names the calls.
// JSON: {"items": […]}; of replay and discard {"results": […], "more": …}. Exit 7 when a single one is refused.

import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import {
  type DeadLetter,
  type DeadLetterError,
  DeadLetterSchema,
  DiscardDeadLettersResponseSchema,
  GetDeadLetterResponseSchema,
  type ReplayDeadLetterResult,
  ReplayDeadLettersResponseSchema,
} from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { EXIT, UsageError } from "./failure.ts";
import { age, facts, instant, millis, pairs, table } from "./format.ts";
import { presentable } from "./json_output.ts";
import { type Listing, type ListOptions, listOptions, print, showListing } from "./listing.ts";
import { collect, parseMoment } from "./options.ts";
import { allPages, type Pages } from "./pages.ts";
import { safeLine } from "./sanitize.ts";

interface FilterOptions {
  readonly namespace?: string;
  readonly workflow?: string;
  readonly agent?: string;
  readonly cause?: string;
  readonly class?: string;
  readonly run?: string;
  readonly since?: string;
  readonly until?: string;
}

interface SelectOptions extends FilterOptions {
  readonly all?: boolean;
  readonly dryRun?: boolean;
}

interface ListLettersOptions extends FilterOptions, ListOptions {
  readonly all?: boolean;
}

interface ReplayOptions extends SelectOptions {
  readonly input?: string;
  readonly currentManifests?: boolean;
  readonly repeatEffects?: boolean;
  readonly result?: string[];
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  const verb = program
    .command("dead-letters")
    .description("Tasks that were parked for a person: look, replay, give up.");
  listOptions(
    filters(verb.command("list").description("List dead letters, oldest first.")).option(
      "--all",
      "also those that were replayed or discarded",
    ),
  ).action((options: ListLettersOptions) => list(context, options));
  verb
    .command("show")
    .description("Everything that was kept of a dead letter.")
    .argument("<task>", "task id")
    .action((taskId: string) => show(context, taskId));
  filters(
    verb
      .command("replay")
      .description("Replay dead letters, each with a new task that goes on where the old one ended."),
  )
    .argument("[task...]", "task ids; without any, --all and filters")
    .option("--all", "every open one that fits the filters")
    .option("--dry-run", "say which, and change nothing")
    .option("--input <json>", "another input, as JSON or - for standard input: begins anew")
    .option("--current-manifests", "with the manifests as they are now: begins anew")
    .option("--repeat-effects", "calls that are on record, or of unknown outcome, may be made again")
    .option("--result <id=json>", "a call of unknown outcome had its effect, with this result; repeatable", collect)
    .action((tasks: string[], options: ReplayOptions) => replay(context, tasks, options));
  filters(verb.command("discard").description("Give dead letters up: their nodes fail."))
    .argument("[task...]", "task ids; without any, --all and filters")
    .option("--all", "every open one that fits the filters")
    .option("--dry-run", "say which, and change nothing")
    .option("--reason <text>", "recorded in the audit trail", "")
    .action((tasks: string[], options: SelectOptions & { reason: string }) => discard(context, tasks, options));
}

function filters(command: Command): Command {
  return command
    .option("-n, --namespace <name>", "only this namespace")
    .option("--workflow <name>", "only runs of this workflow")
    .option("--agent <name>", "only tasks of this agent")
    .option("--cause <cause>", "attempts, deliveries or unknown_outcome")
    .option("--class <class>", "only this failure class")
    .option("--run <run>", "only this run")
    .option("--since <time>", "parked from then on: a duration back such as 15m, or RFC 3339")
    .option("--until <time>", "parked before then");
}

function filterOf(options: FilterOptions, nowMs: number) {
  const { namespace = "", workflow = "", agent = "", cause = "", since, until } = options;
  return {
    ...{ namespace, workflow, agent, cause, failureClass: options.class ?? "", runId: options.run ?? "" },
    ...(since === undefined ? {} : { startTime: timestampFromMs(parseMoment("--since", since, nowMs)) }),
    ...(until === undefined ? {} : { endTime: timestampFromMs(parseMoment("--until", until, nowMs)) }),
  };
}

async function letterPages(
  context: Context,
  options: FilterOptions,
  includeResolved: boolean,
  limit?: number,
  startToken?: string,
): Promise<Pages<DeadLetter>> {
  const filter = filterOf(options, context.host.clock.now());
  return await allPages(
    async (pageToken, pageSize) => {
      const page = await context.client.deadLetters.listDeadLetters({ filter, includeResolved, pageToken, pageSize });
      return { items: page.deadLetters, nextPageToken: page.nextPageToken };
    },
    limit,
    undefined,
    startToken,
  );
}

async function list(context: Context, options: ListLettersOptions): Promise<void> {
  let open = false;
  await showListing(context, LETTERS, options, async (limit, startToken) => {
    const pages = await letterPages(context, options, options.all === true, limit, startToken);
    open = pages.items.some(({ state }) => state === "open");
    return pages;
  });
  if (open && options.watch !== true && context.format !== "name") context.next("orloj dead-letters show TASK");
}

const LETTERS: Listing<DeadLetter> = {
  what: "dead letters",
  columns: [
    { header: "TASK", cell: (letter) => letter.taskId },
    { header: "RUN", cell: (letter) => letter.runId },
    { header: "WORKFLOW", cell: ({ namespace, workflow }) => `${namespace}/${workflow}` },
    { header: "NODE", cell: (letter) => letter.node },
    { header: "AGENT", cell: (letter) => letter.agent },
    { header: "CAUSE", cell: (letter) => letter.cause },
    { header: "FAILURE", cell: (letter) => letter.failure?.class ?? "" },
    { header: "ATTEMPT", cell: (letter) => String(letter.attempt) },
    {
      ...{ header: "AGE", moving: true as const },
      cell: (letter, nowMs) => age(letter.parkTime, nowMs),
      sortBy: (letter) => -(millis(letter.parkTime) ?? 0),
    },
    { header: "STATE", cell: stateOf },
    { header: "MESSAGE", wide: true, cell: (letter) => letter.failure?.message || "-" },
    { header: "PARKED", wide: true, cell: (letter) => instant(letter.parkTime) },
    { header: "RESOLVED BY", wide: true, cell: (letter) => letter.resolvedBy || "-" },
  ],
  name: (letter) => letter.taskId,
  json: (letter) => presentable(DeadLetterSchema, letter),
  none: "No task is parked.",
};

function stateOf({ state, replayTaskId }: DeadLetter): string {
  return state === "replayed" ? `replayed as ${replayTaskId}` : state;
}

async function show(context: Context, taskId: string): Promise<void> {
  const found = await context.client.deadLetters.getDeadLetter({ taskId });
  if (context.json) {
    context.printJson(presentable(GetDeadLetterResponseSchema, found));
    return;
  }
  const letter = found.deadLetter as DeadLetter;
  context.print(
    ...facts(
      [
        ["Task", letter.taskId],
        ["Run", letter.runId],
        ["Workflow", `${letter.namespace}/${letter.workflow}`],
        ["Node", `${letter.node} (agent ${letter.agent})`],
        [
          "State",
          letter.state === "open"
            ? "open"
            : safeLine(`${stateOf(letter)} by ${letter.resolvedBy}, ${instant(letter.resolveTime)}`),
        ],
        ["Cause", letter.cause],
        ["Failure", safeLine(`${letter.failure?.class}: ${letter.failure?.message}`)],
        ["Attempts", String(letter.attempt)],
        ["Deliveries", String(letter.deliveries)],
        ["Parked", instant(letter.parkTime)],
        ["Replays", found.replayOf],
        ["Input", safeLine(found.inputJson)],
        ["Bundle", found.bundleDigest],
        ["Manifests", pairs(found.manifestDigests)],
      ],
      context.paint,
    ),
  );
  const entries = found.journal.map((entry) => [
    ...[String(entry.sequence), entry.kind, entry.tool || "-"],
    entry.failure === undefined ? entry.payloadJson : `${entry.failure.class}: ${entry.failure.message}`,
  ]);
  if (entries.length > 0)
    context.print("", ...table(["JOURNAL", "KIND", "TOOL", "CONTENT"], entries, context.paint, 100));
  const calls = found.toolCalls.map((call) => [call.requestId, call.tool, call.state, String(call.attempt)]);
  if (calls.length > 0) context.print("", ...table(["CALL", "TOOL", "STATE", "ATTEMPT"], calls, context.paint, 80));
  if (letter.state === "open") context.next(nextStep(letter));
}

function nextStep({ taskId, cause }: DeadLetter): string {
  return cause === "unknown_outcome"
    ? `find out whether the call had its effect; then orloj dead-letters replay ${taskId} --result REQUEST_ID=JSON, or --repeat-effects`
    : `orloj dead-letters replay ${taskId}`;
}

async function replay(context: Context, tasks: readonly string[], options: ReplayOptions): Promise<void> {
  const selection = await select(context, tasks, options);
  if (selection === undefined) return;
  const { input, currentManifests = false, repeatEffects = false, result = [] } = options;
  const inputJson = input === "-" ? await context.host.readInput() : (input ?? "");
  const resultsJson = Object.fromEntries(result.map(splitResult));
  const answer = await context.client.deadLetters.replayDeadLetters({
    ...{ selection, inputJson, currentManifests, repeatEffects, resultsJson },
  });
  if (context.json) context.printJson(presentable(ReplayDeadLettersResponseSchema, answer));
  for (const one of answer.results) tellReplay(context, one);
  finish(
    context,
    answer.results.map(({ result: { case: kind, value } }) => (kind === "error" ? value : undefined)),
    answer.more,
  );
}

function tellReplay(context: Context, { taskId, result }: ReplayDeadLetterResult): void {
  if (result.case !== "replay") return;
  const { taskId: replayTask, runId, duplicate } = result.value;
  if (!context.json)
    context.print(safeLine(`replayed  ${taskId} as ${replayTask} in ${runId}${duplicate ? " (before)" : ""}`));
}

async function discard(
  context: Context,
  tasks: readonly string[],
  options: SelectOptions & { reason: string },
): Promise<void> {
  const selection = await select(context, tasks, options);
  if (selection === undefined) return;
  const answer = await context.client.deadLetters.discardDeadLetters({ selection, reason: options.reason });
  if (context.json) context.printJson(presentable(DiscardDeadLettersResponseSchema, answer));
  for (const { taskId, error } of answer.results) {
    if (error === undefined && !context.json) context.print(safeLine(`discarded  ${taskId}`));
  }
  finish(
    context,
    answer.results.map(({ error }) => error),
    answer.more,
  );
}

// What is to be decided about; undefined when it was only to be shown.
async function select(context: Context, tasks: readonly string[], options: SelectOptions) {
  if (tasks.length === 0 && options.all !== true) {
    throw new UsageError("no task is named", "name tasks, or use --all with filters");
  }
  if (tasks.length > 0 && options.all === true)
    throw new UsageError("tasks are named and --all is set: use one of them");
  if (options.dryRun === true) {
    const { items } = await letterPages(context, options, false);
    const chosen = tasks.length === 0 ? items : items.filter(({ taskId }) => tasks.includes(taskId));
    print(context, LETTERS, chosen);
    return undefined;
  }
  return tasks.length > 0 ? { taskIds: [...tasks] } : { filter: filterOf(options, context.host.clock.now()) };
}

function finish(context: Context, errors: readonly (DeadLetterError | undefined)[], more: boolean): void {
  for (const error of errors) {
    if (error === undefined) continue;
    const code = `E-${(error.info?.reason ?? error.code).replaceAll("_", "-")}`;
    if (!context.json) context.note(safeLine(`error[${code}] ${error.message}`));
    context.exitCode = error.code === "not_found" ? EXIT.notFound : EXIT.conflict;
  }
  if (more) context.next("the same command again: there are more");
}

function splitResult(word: string): [string, string] {
  const equals = word.indexOf("=");
  if (equals < 1) throw new UsageError(`--result ${word}: use REQUEST_ID=JSON`);
  return [word.slice(0, equals), word.slice(equals + 1)];
}

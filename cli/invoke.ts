// The verb `orloj invoke`: starts a run; with --wait or --watch stays until it is finished.
// Called by main.ts.
// Exit code of --wait and --watch: 0 SUCCEEDED, 4 POLICY_DENIED, 1 otherwise; 130 when interrupted (the run goes on).

import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { isJsonObject, type JsonObject } from "../kit/json.ts";
import {
  AuditRecordSchema,
  Code,
  type InvokeOptions,
  OrlojError,
  type Run,
  type RunHandle,
  RunSchema,
  type RunSnapshot,
  RunState,
  TaskSchema,
} from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { EXIT, UsageError } from "./failure.ts";
import { runStateName } from "./format.ts";
import { presentable } from "./json_output.ts";
import { collect, collectPairs } from "./options.ts";
import { parametersFrom, splitParameter } from "./parameters.ts";
import { renderEnd, renderHead } from "./run_view.ts";
import { safeLine } from "./sanitize.ts";
import { isStuck, untilStuck, watchRun } from "./watch_run.ts";

interface Options {
  readonly namespace?: string;
  readonly param?: string[];
  readonly paramsFile?: string;
  readonly tag?: Readonly<Record<string, string>>;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly idempotencyKey?: string;
  readonly as?: string;
  readonly asGroup?: string[];
  readonly asClaim?: Readonly<Record<string, string>>;
  readonly watch?: boolean;
  readonly wait?: boolean;
}

const OUTPUT_ROWS_MAX = 200;

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("invoke")
    .description("Start a run of a workflow template.")
    .argument("<workflow>", "name of the WorkflowTemplate")
    .option("-n, --namespace <name>", "namespace (default: default)")
    .option("-p, --param <key=value>", "parameter; key:=json for JSON; repeatable", collect)
    .option("--params-file <file>", "JSON object with parameters, or - for standard input; -p wins")
    .option("-t, --tag <tag=value>", "tag that the template takes from the request; repeatable", collectPairs)
    .option("-m, --metadata <key=value>", "free string for policies and people; repeatable", collectPairs)
    .option("--idempotency-key <key>", "the same key and parameters return the first run (default: a new key)")
    .option("--as <id>", "invoke for this person; needs the right invoke-as")
    .option("--as-group <group>", "group of the person; repeatable", collect)
    .option("--as-claim <name=value>", "claim of the person; repeatable", collectPairs)
    .option("--watch", "show the run until it is finished")
    .option("--wait", "print the result when the run is finished")
    .action(async (workflow: string, options: Options) => {
      const handle = await context.client
        .workflow(workflow, { namespace: options.namespace ?? "" })
        .invoke(await parametersOf(context, workflow, options), {
          tags: options.tag ?? {},
          metadata: options.metadata ?? {},
          ...(options.idempotencyKey === undefined ? {} : { idempotencyKey: options.idempotencyKey }),
          ...personOf(options),
        });
      if (options.watch || options.wait) await stay(context, handle, options.watch === true);
      else printStarted(context, handle);
    });
}

function personOf({ as: id, asGroup: groups = [], asClaim: claims = {} }: Options): Pick<InvokeOptions, "onBehalfOf"> {
  if (id !== undefined) return { onBehalfOf: { id, groups, claims } };
  if (groups.length === 0 && Object.keys(claims).length === 0) return {};
  throw new UsageError("--as-group and --as-claim say something of a person, and none is named", "name it with --as");
}

/** Parameters as -p and --params-file give them, typed by the template's schema. @throws UsageError, OrlojError WORKFLOW_NOT_FOUND */
export async function parametersOf(
  context: Context,
  workflow: string,
  options: Pick<Options, "namespace" | "param" | "paramsFile">,
): Promise<JsonObject> {
  const words = (options.param ?? []).map(splitParameter);
  const base = options.paramsFile === undefined ? {} : await readParams(context, options.paramsFile);
  const schema = words.some((word) => !word.isJson) ? await parameterSchema(context, workflow, options) : undefined;
  return parametersFrom(words, base, schema);
}

async function readParams(context: Context, file: string): Promise<JsonObject> {
  let text: string;
  try {
    text = file === "-" ? await context.host.readInput() : readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--params-file ${file} cannot be read: ${(error as Error).message}`);
  }
  try {
    const value: unknown = JSON.parse(text);
    if (isJsonObject(value)) return value;
  } catch {
    // Told below, as for JSON that is no object.
  }
  throw new UsageError(`--params-file ${file} does not hold a JSON object`);
}

// Who may invoke but not read templates passes strings, or := for the rest.
async function parameterSchema(
  context: Context,
  name: string,
  options: Pick<Options, "namespace">,
): Promise<JsonObject | undefined> {
  try {
    const { resource } = await context.client.manifests.getResource({
      kind: "WorkflowTemplate",
      namespace: options.namespace ?? "",
      name,
    });
    const manifest: unknown = JSON.parse(resource?.manifestJson || "{}");
    const spec = isJsonObject(manifest) ? manifest["spec"] : undefined;
    const schema = isJsonObject(spec) ? spec["parameters"] : undefined;
    return isJsonObject(schema) ? schema : undefined;
  } catch (error) {
    const failure = OrlojError.from(error);
    if (failure.code === Code.PermissionDenied) return undefined;
    if (failure.code !== Code.NotFound) throw failure;
    const { code, metadata, message } = failure;
    throw new OrlojError(message, { reason: "WORKFLOW_NOT_FOUND", code, metadata });
  }
}

function printStarted(context: Context, handle: RunHandle): void {
  const run = handle.invoked as Run;
  if (context.json) {
    context.printJson({ run: presentable(RunSchema, run), duplicate: handle.duplicate });
    return;
  }
  const note = handle.duplicate ? "  (the idempotency key was used before: this is the first run)" : "";
  const queued = isQueued(run) ? "  (waits for its turn: as many runs go on as the workflow's concurrency allows)" : "";
  context.print(safeLine(`${handle.id}  ${runStateName(run.state)}${note}${queued}`));
  context.next(safeLine(`orloj describe run ${handle.id}`));
}

async function stay(context: Context, handle: RunHandle, watch: boolean): Promise<void> {
  await context.interruptible(async (signal) => {
    try {
      const run = watch ? await showUntilDone(context, handle, signal) : await waitUntilDone(context, handle, signal);
      context.exitCode = exitCodeOf(run);
      if (run !== undefined && isStuck(run))
        context.next(
          safeLine(`${handle.id} is parked: orloj dead-letters list --run ${handle.id} says why and how to go on`),
        );
      else if (run !== undefined && run.state !== RunState.SUCCEEDED)
        context.next(safeLine(`orloj describe run ${handle.id}`));
    } catch (error) {
      if (!signal.aborted) throw error;
      context.note(safeLine(`Stopped watching; ${handle.id} goes on. Next: orloj cancel ${handle.id}`));
      context.exitCode = EXIT.interrupted;
    }
  });
}

async function showUntilDone(context: Context, handle: RunHandle, signal: AbortSignal): Promise<Run | undefined> {
  if (context.json) {
    let last: Run | undefined;
    for await (const snapshot of untilStuck(handle.watch({ signal }))) {
      context.printJsonLine(snapshotJson(snapshot));
      last = snapshot.run;
    }
    return last;
  }
  const { host } = context;
  const size = () => host.terminal() ?? { columns: 80, rows: 24 };
  const view = await watchRun(untilStuck(handle.watch({ signal })), {
    clock: host.clock,
    paint: context.paint,
    screen: host.terminal() === undefined ? undefined : { write: (text) => host.out(text), size },
    print: (line) => context.print(line),
  });
  return view?.run;
}

async function waitUntilDone(context: Context, handle: RunHandle, signal: AbortSignal): Promise<Run | undefined> {
  const nowMs = () => context.host.clock.now();
  const begun = isQueued(handle.invoked as Run) ? "is queued" : "started";
  if (!context.json) context.note(safeLine(`${handle.id} ${begun}, waiting …`));
  let run: Run | undefined;
  for await (const snapshot of untilStuck(handle.watch({ signal }))) run = snapshot.run;
  if (run === undefined) return run;
  if (context.json) context.printJson(presentable(RunSchema, run));
  else {
    const options = { columns: 120, rows: OUTPUT_ROWS_MAX, nowMs: nowMs(), paint: context.paint };
    context.print(...renderHead(run, options), ...renderEnd(run, context.paint, OUTPUT_ROWS_MAX));
  }
  return run;
}

function isQueued(run: Run): boolean {
  return run.conditions.includes("Queued");
}

function snapshotJson(snapshot: RunSnapshot): JsonObject {
  return {
    run: presentable(RunSchema, snapshot.run),
    tasks: snapshot.tasks.map((task) => presentable(TaskSchema, task)),
    events: snapshot.events.map((event) => presentable(AuditRecordSchema, event)),
  };
}

function exitCodeOf(run: Run | undefined): number {
  if (run?.state === RunState.SUCCEEDED) return EXIT.ok;
  return run?.state === RunState.POLICY_DENIED ? EXIT.denied : EXIT.failed;
}

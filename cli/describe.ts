// The verb `orloj describe`: everything about one resource, run, task or worker.
// Called by main.ts.
// A run: its facts, graph, tasks, tool calls, and the timeline of its audit records.

import type { Command } from "commander";
import {
  AuditRecordSchema,
  GetTaskResponseSchema,
  GetWorkerResponseSchema,
  type Principal,
  type Resource,
  ResourceSchema,
  type Run,
  RunSchema,
  type Task,
  TaskSchema,
  type ToolCallStatus,
  ToolCallStatusSchema,
} from "../sdk/index.ts";
import { auditRecords, filterOfRun } from "./audit.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { facts, instant, pairs, runStateName, span, taskStateName } from "./format.ts";
import { edgeLabel, edgeLine, graphOfRun } from "./graph_model.ts";
import { presentable } from "./json_output.ts";
import { kindOf, splitKindName } from "./kinds.ts";
import { leaseTable } from "./leases.ts";
import { prettyJson, renderGraph } from "./run_view.ts";
import { safeLine, safeText } from "./sanitize.ts";
import { tasksOf, taskTable } from "./tasks.ts";
import { timelineLines, toolCallTable } from "./timeline.ts";
import { workerTable } from "./workers.ts";
import { manifestYaml } from "./yaml_output.ts";

const RECORDS_MAX = 10_000;
const TASKS_WITH_CALLS_MAX = 200;
const LOOKUPS_AT_ONCE = 8;

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("describe")
    .description("Show everything about a resource, or about a run, task or worker.")
    .argument("<kind[/name]>", "agent, system, tool, policy, workflow, run, task or worker")
    .argument("[name]", "name or id")
    .option("-n, --namespace <name>", "namespace of a resource (default: default)")
    .action(async (first: string, second: string | undefined, options: { namespace?: string }) => {
      const { kind, name } = splitKindName(first, second);
      if (name === undefined) throw new UsageError("name what to describe", `orloj describe ${kind} NAME`);
      if (kind === "run") return describeRun(context, name);
      if (kind === "task") return describeTask(context, name);
      if (kind === "worker") return describeWorker(context, name);
      return describeResource(context, kind, name, options.namespace ?? "");
    });
}

async function describeRun(context: Context, runId: string): Promise<void> {
  const run = await context.client.run(runId).get();
  const [tasks, { items: records, more }] = await Promise.all([
    tasksOf(context, runId),
    auditRecords(context, filterOfRun(runId), RECORDS_MAX),
  ]);
  const calls = await toolCallsOf(context, tasks.slice(0, TASKS_WITH_CALLS_MAX));
  if (context.json) {
    context.printJson({
      run: presentable(RunSchema, run),
      tasks: tasks.map((task) => presentable(TaskSchema, task)),
      toolCalls: calls.map(({ task, call }) => ({
        taskId: task.id,
        ...(presentable(ToolCallStatusSchema, call) as object),
      })),
      records: records.map((record) => presentable(AuditRecordSchema, record)),
    });
    return;
  }
  const nowMs = context.host.clock.now();
  const { paint } = context;
  const columns = context.host.terminal()?.columns ?? 120;
  context.print(...runFacts(run, nowMs, context));
  const view = { run, tasks, events: records };
  section(context, "Graph", renderGraph(view, { columns, rows: 200, nowMs, paint }));
  section(context, "Edges", edgeLines(run));
  section(context, "Tasks", tasks.length === 0 ? [] : taskTable(tasks, context));
  section(context, "Tool calls", calls.length === 0 ? [] : toolCallTable(calls, nowMs, paint));
  if (tasks.length > TASKS_WITH_CALLS_MAX) context.note(`Tool calls of the first ${TASKS_WITH_CALLS_MAX} tasks only.`);
  section(context, "Timeline", timelineLines(run, tasks, records, paint));
  if (more) context.note(`The first ${RECORDS_MAX} records only. Next: orloj audit list --run ${runId} --since TIME`);
}

function runFacts(run: Run, nowMs: number, context: Context): string[] {
  const requester = run.requester;
  const who = requester === undefined ? "" : `${requester.id} (${requester.kind}, ${howKnown(requester)})`;
  const groups = requester?.groups.join(", ") ?? "";
  return facts(
    [
      ["Run", safeLine(run.id)],
      ["Workflow", safeLine(`${run.namespace}/${run.workflow}`)],
      ["State", `${runStateName(run.state)} after ${span(run.createTime, run.endTime, nowMs)}`],
      ["Conditions", safeLine(run.conditions.join(", "))],
      ["Waits for", run.waitingFor.map((needs) => safeLine(`a worker with ${needs}`)).join("; ")],
      ["Requester", safeLine(who)],
      ["Groups", safeLine(groups)],
      ["Tags", safeLine(pairs(run.tags))],
      ["Metadata", safeLine(pairs(run.metadata))],
      ["Created", instant(run.createTime)],
      ["Deadline", instant(run.deadline)],
      ["Bundle", safeLine(run.bundleDigest)],
      ["Trace", safeLine(run.traceId)],
      ["Parameters", safeLine(run.parametersJson)],
      ["Output", safeLine(run.outputJson)],
      ["Failure", run.failure === undefined ? "" : safeLine(`${run.failure.class}: ${run.failure.message}`)],
    ],
    context.paint,
  );
}

function edgeLines(run: Run): string[] {
  return graphOfRun(run, "")
    .edges.filter((edge) => edgeLabel(edge) !== "")
    .map((edge) => safeLine(edgeLine(edge)));
}

async function toolCallsOf(context: Context, tasks: readonly Task[]): Promise<{ task: Task; call: ToolCallStatus }[]> {
  const calls: { task: Task; call: ToolCallStatus }[] = [];
  for (let start = 0; start < tasks.length; start += LOOKUPS_AT_ONCE) {
    const group = tasks.slice(start, start + LOOKUPS_AT_ONCE);
    const answers = await Promise.all(group.map((task) => context.client.workflows.getTask({ taskId: task.id })));
    answers.forEach(({ toolCalls }, index) => {
      for (const call of toolCalls) calls.push({ task: group[index] as Task, call });
    });
  }
  return calls;
}

async function describeTask(context: Context, taskId: string): Promise<void> {
  const response = await context.client.workflows.getTask({ taskId });
  if (context.json) {
    context.printJson(presentable(GetTaskResponseSchema, response));
    return;
  }
  const task = response.task as Task;
  const nowMs = context.host.clock.now();
  context.print(
    ...facts(
      [
        ["Task", safeLine(task.id)],
        ["Run", safeLine(task.runId)],
        ["Node", safeLine(`${task.node}${task.item >= 0 ? `[${task.item}]` : ""}, iteration ${task.iteration}`)],
        ["Agent", safeLine(task.agent)],
        ["State", `${taskStateName(task.state)} after ${span(task.createTime, task.endTime, nowMs)}`],
        ["Attempt", `${task.attempt}, ${task.deliveries} accepted leases lost`],
        ["Worker", safeLine(task.worker)],
        ["Due", instant(task.dueTime)],
        ["Failure", task.failure === undefined ? "" : safeLine(`${task.failure.class}: ${task.failure.message}`)],
      ],
      context.paint,
    ),
  );
  section(context, "Input", jsonLines(task.inputJson));
  const turns = response.turns.flatMap((turn) => [
    `  turn ${turn.sequence}  ${instant(turn.createTime)}`,
    ...jsonLines(turn.turnJson),
  ]);
  section(context, "Turns", turns);
  const calls = response.toolCalls.map((call) => ({ task, call }));
  section(context, "Tool calls", calls.length === 0 ? [] : toolCallTable(calls, nowMs, context.paint));
  section(context, "Output", jsonLines(task.outputJson));
}

async function describeWorker(context: Context, name: string): Promise<void> {
  const response = await context.client.fleet.getWorker({ worker: name });
  if (context.json) {
    context.printJson(presentable(GetWorkerResponseSchema, response));
    return;
  }
  if (response.worker !== undefined) context.print(...workerTable([response.worker], context));
  section(context, "Leases", response.leases.length === 0 ? [] : leaseTable(response.leases, context));
}

async function describeResource(context: Context, kindName: string, name: string, namespace: string): Promise<void> {
  const response = await context.client.manifests.getResource({ kind: kindOf(kindName), namespace, name });
  const resource = response.resource as Resource;
  if (context.json) {
    context.printJson(presentable(ResourceSchema, resource));
    return;
  }
  context.print(
    ...facts(
      [
        ["Kind", safeLine(resource.kind)],
        ["Name", safeLine(`${resource.namespace}/${resource.name}`)],
        ["Generation", String(resource.generation)],
        ["Digest", safeLine(resource.digest)],
        ["Labels", safeLine(pairs(resource.labels))],
        ["Created", instant(resource.createTime)],
        ["Updated", instant(resource.updateTime)],
        ["Set", safeLine(resource.set)],
      ],
      context.paint,
    ),
  );
  section(
    context,
    "Manifest",
    manifestYaml(resource.manifestJson)
      .trimEnd()
      .split("\n")
      .map((line) => `  ${line}`),
  );
}

function jsonLines(json: string): string[] {
  return json === ""
    ? []
    : safeText(prettyJson(json))
        .split("\n")
        .map((line) => `  ${line}`);
}

function section(context: Context, title: string, lines: readonly string[]): void {
  if (lines.length > 0) context.print("", context.paint("bold", title), ...lines);
}

function howKnown({ method, issuer, invokedBy }: Principal): string {
  if (invokedBy !== "") return `${method} by ${invokedBy}`;
  return issuer === "" ? method : `${method} of ${issuer}`;
}

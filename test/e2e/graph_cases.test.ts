// The graph cases through real processes: a server, a worker, and agents that ask how they are to end, so that tasks end in the
// order of the case. Denials are those of a policy, failures of tools those of their endpoint. What must come of a case is read by
// the API alone; the pure core only says which iteration of a node a step means.

import { beforeAll, describe, expect, test, vi } from "vitest";
import { NodeState, type RunHandle, RunState, type Task } from "../../sdk/index.ts";
import {
  caseAgents,
  caseDocuments,
  type Expected,
  type GraphCase,
  graphCases,
  OUTPUT,
  type StepEnd,
  stepOf,
  taskName,
} from "../graph/case_files.ts";
import { CaseRun, casePlan } from "../graph/case_run.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { policy } from "./documents.ts";
import { type OutcomeDesk, startOutcomeDesk } from "./outcome_desk.ts";
import { nameOf, type Stage, startStage } from "./stage.ts";

vi.setConfig({ maxConcurrency: 16 });

const files = graphCases();
const caseName = (file: number, index: number) => `case-${file}-${index}`;
/** Cases in one apply. */
const APPLIED_TOGETHER = 20;
const CLASSES = [...new Set(files.flatMap(({ cases }) => cases.flatMap(({ steps }) => steps.flatMap(failureClass))))];
const SCRIPT = [
  { when: "turn == 1", toolCalls: [{ name: "outcome", arguments: {} }] },
  { when: "has(results.outcome.deny)", toolCalls: [{ name: "forbidden", arguments: { go: false } }] },
  ...CLASSES.map((name) => ({ when: `has(results.outcome.fail) && results.outcome.fail == "${name}"`, error: name })),
  { output: "${{ results.outcome.output }}" },
];

/** Audit records by which a task is over. */
const ENDS = ["succeeded", "failed", "cancelled", "timed_out", "denied", "dead_lettered"].map((end) => `task.${end}`);

let stage: Stage;
let desk: OutcomeDesk;
const ends = new Map<string, PromiseWithResolvers<void>>();

function endOf(taskId: string): PromiseWithResolvers<void> {
  const end = ends.get(taskId) ?? Promise.withResolvers<void>();
  ends.set(taskId, end);
  return end;
}

// One stream tells the ends of all tasks.
function watchEnds(): void {
  const stop = new AbortController();
  const { signal } = stop;
  const watching = (async () => {
    const filter = { kinds: ENDS };
    for await (const { records } of stage.client.audit.watchAuditRecords({ filter, afterId: 1n }, { signal })) {
      for (const { taskId } of records) endOf(taskId).resolve();
    }
  })().catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  atEndOfFile(async () => {
    stop.abort();
    await watching;
  });
}

function failureClass(step: string): string[] {
  const { end } = stepOf(step);
  return end.type === "fail" ? [end.class] : [];
}

// A tool whose endpoint is the desk. It is called once, and waits as long as a case takes.
const deskTool = (name: string, spec: object = {}, method = "GET") => ({
  ...{ apiVersion: "orloj.dev/v1", kind: "Tool", metadata: { name } },
  spec: {
    ...{ type: "http", description: name, effect: "read", timeout: "5m", retry: { on: [], maxAttempts: 1 } },
    http: { method, url: "${{ secret.desk.url }}/", allowPrivateNetwork: true },
    inputSchema: { type: "object" },
    ...spec,
  },
});
/** What cases call whose tools run out of time: the same tools with little of it. */
const HASTY = "-hasty";
const HASTY_TIMEOUT = "3s";

// Denied by its arguments: what is denied whatever they are would be denied before its agent runs.
const denying = (tool: string, cel: string) =>
  policy(`no-${tool}`, { attachTo: [{ kind: "Tool", name: tool }], checkpoints: ["tool.call"], allow: { cel } });

function agents(): object[] {
  const documents = caseAgents() as { kind: string; metadata: { name: string }; spec: object }[];
  return documents.flatMap((document): object[] => {
    const { kind, metadata, spec } = document;
    const { http, ...rest } = spec as { http?: { method: string } };
    if (kind === "Tool") {
      const { name } = metadata;
      const hasty = { ...rest, timeout: HASTY_TIMEOUT };
      return [deskTool(name, rest, http?.method), deskTool(`${name}${HASTY}`, hasty, http?.method)];
    }
    const model = { provider: "scripted", name: "s", script: SCRIPT };
    return [{ ...document, spec: { ...spec, model, tools: ["outcome", "forbidden"], limits: { timeout: "5m" } } }];
  });
}

function documentsOf(graph: GraphCase, name: string): object[] {
  const documents = caseDocuments(graph, name);
  if (!graph.steps.some((step) => step.endsWith("after Timeout"))) return documents;
  return JSON.parse(JSON.stringify(documents).replaceAll(/("tool":"[a-z-]+)"/g, `$1${HASTY}"`));
}

beforeAll(async () => {
  desk = await startOutcomeDesk();
  stage = await startStage({ leaseTtl: "30s", env: { ORLOJ_SECRET_DESK_URL: desk.url } });
  await stage.worker("w1", { ORLOJ_WORKER_SLOTS: "500" });
  await stage.apply(
    ...[deskTool("outcome"), deskTool("forbidden"), ...agents()],
    ...[denying("forbidden", "args.go == true"), denying("look-up", 'args.id != "forbidden"')],
  );
  for (const [file, { cases }] of files.entries()) {
    for (let first = 0; first < cases.length; first += APPLIED_TOGETHER) {
      const some = cases.slice(first, first + APPLIED_TOGETHER);
      await stage.apply(...some.flatMap((one, index) => documentsOf(one, caseName(file, first + index))));
    }
  }
  watchEnds();
});

async function tasksOf(run: RunHandle): Promise<Task[]> {
  const { tasks, nextPageToken } = await stage.client.workflows.listTasks({ runId: run.id, pageSize: 500 });
  expect(nextPageToken).toBe("");
  return tasks;
}

async function tell(task: Task, end: StepEnd): Promise<void> {
  if (task.agent.startsWith("tool:")) return await tellTool(task, end);
  if (end.type === "ok") return await desk.answer(task.id, { body: { output: end.output } });
  await desk.answer(task.id, { body: end.type === "fail" ? { fail: end.class } : { deny: true } });
}

// The call of a tool node is its outcome. One that is denied never reaches the desk; one that runs out of time gets no answer.
async function tellTool(task: Task, end: StepEnd): Promise<void> {
  if (end.type === "ok") return await desk.answer(task.id, { body: end.output });
  if (end.type === "deny" || end.after === "Timeout") return;
  const status = end.after === "ConnectionReset" ? "reset" : end.after === "Http5xx" ? 500 : 400;
  await desk.answer(task.id, { status, body: {} });
}

// A worker stops what it holds as soon as the run stops: what a case lets end after that ends as cancelled here.
async function drive(graph: GraphCase, name: string): Promise<{ run: RunHandle; wanted: Expected }> {
  const model = new CaseRun(casePlan(graph), graph.input ?? {});
  const run = await stage.client.workflow(name).invoke(graph.input ?? {});
  for (const text of graph.steps) {
    if (model.state.run === "CANCELLING") break;
    const { node, item, end } = stepOf(text);
    const wanted = taskName(model.task(node, item));
    const task = (await tasksOf(run)).find((one) => taskName(one) === wanted);
    if (task === undefined) throw new Error(`${text}: the run has no task ${wanted}`);
    await tell(task, end);
    await endOf(task.id).promise;
    model.step(text);
  }
  if (model.state.run !== "CANCELLING") return { run, wanted: graph.expect };
  for (const task of model.open.values()) model.end(task, { type: "cancelled" });
  return { run, wanted: { ...graph.expect, run: model.state.run, nodes: model.states() } };
}

// A run whose last tasks are stopped ends when they have.
async function settled(run: RunHandle, state: string) {
  if (state !== "RUNNING") for await (const _ of run.watch());
  return await run.get();
}

for (const [file, { file: title, cases }] of files.entries()) {
  describe.concurrent(title, () => {
    const rows = cases.map((one, index) => [one.name, one, caseName(file, index)] as const);
    test.each(rows)("%s", async (_name, graph, name) => {
      const { run, wanted } = await drive(graph, name);
      const found = await settled(run, wanted.run);
      const nodes = Object.fromEntries(found.nodes.map((node) => [node.name, nameOf(NodeState, node.state)]));
      expect({ run: nameOf(RunState, found.state), failure: found.failure?.class, nodes }).toEqual({
        run: wanted.run,
        failure: wanted.failure,
        nodes: { ...nodes, ...wanted.nodes },
      });
      const output = JSON.parse(found.outputJson || "null");
      if (wanted.output !== undefined) expect(output).toEqual(wanted.output);
      else if (wanted.run === "SUCCEEDED" && graph.output === undefined) expect(output).toBe(OUTPUT);
      const tasks = await tasksOf(run);
      if (wanted.order) expect(tasks.map(taskName)).toEqual(wanted.order);
      for (const [node, input] of Object.entries(wanted.inputs ?? {})) {
        const { id = "" } = tasks.findLast((task) => task.node === node) ?? {};
        const { task } = await stage.client.workflows.getTask({ taskId: id });
        expect(JSON.parse(task?.inputJson ?? ""), `input of ${node}`).toEqual(input);
      }
      for (const [node, iteration] of Object.entries(wanted.iterations ?? {})) {
        expect(found.nodes.find((one) => one.name === node)?.iteration, `iteration of ${node}`).toBe(iteration);
      }
      const parked = found.conditions.filter((condition) => condition === "Parked");
      expect(parked).toEqual(wanted.conditions ?? []);
      // Nothing of a run that is over is left with the worker.
      if (wanted.run !== "RUNNING") {
        expect((await stage.client.fleet.listLeases({ runId: run.id })).leases).toEqual([]);
        expect(tasks.filter((task) => task.endTime === undefined)).toEqual([]);
      }
    });
  });
}

// Agents that are code, in worker programs of their own: resumed after a kill, denied, cancelled, failing, and with nobody to run them.

import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import type { RunHandle } from "../../sdk/index.ts";
import { type RunningProcess, startProcess } from "../harness/processes.ts";
import { expectDenied } from "./denials.ts";
import { httpTool, policy, single } from "./documents.ts";
import { type Stage, split, startStage } from "./stage.ts";

let stage: Stage;
const workers: Record<string, RunningProcess> = {};

beforeAll(async () => {
  stage = await startStage();
  for (const name of ["a", "b"]) workers[name] = await handlerWorker(name);
});

async function handlerWorker(name: string): Promise<RunningProcess> {
  const { home, worker } = stage.server;
  const env = {
    ORLOJ_HOME: home,
    ORLOJ_WORKER_ENDPOINTS: worker.replace(/^https?:\/\//, ""),
    ORLOJ_WORKER_NAME: name,
    ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8",
  };
  const running = startProcess(process.execPath, [join(import.meta.dirname, "handler_worker.ts")], { env });
  await running.waitFor(/\bready\b/);
  return running;
}

function coded(name: string, spec: object = {}): readonly object[] {
  const agent = { runtime: "handler", handler: { name }, ...spec };
  return [{ apiVersion: "orloj.dev/v1", kind: "Agent", metadata: { name }, spec: agent }, ...single(name)];
}

const invoke = (name: string) => stage.client.workflow(name).invoke({ url: stage.sink.url });
const WRITE = { effect: "write" };

async function onlyTask(run: RunHandle) {
  const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
  expect(tasks).toHaveLength(1);
  return tasks[0] as NonNullable<(typeof tasks)[0]>;
}

test("after SIGKILL the other worker begins the code again: nothing that is recorded is made again", async () => {
  const { sink } = stage;
  sink.hold("/linger");
  await stage.apply(
    httpTool("charge", "/charge", WRITE),
    httpTool("linger", "/linger", { effect: "read" }),
    ...coded("biller", { tools: ["charge", "linger"] }),
  );
  const run = await invoke("biller");
  await sink.waitForCount("/linger", 1);
  const { held, otherName } = split(workers, await stage.holder(run));
  held?.signal("SIGKILL");
  await sink.waitForCount("/linger", 2);
  sink.release("/linger");
  expect(await run.result()).toEqual({ thoughts: 1, charges: 1, attempt: 1 });
  expect([sink.count("/think"), sink.count("/charge"), sink.count("/linger")]).toEqual([1, 1, 2]);
  expect(await onlyTask(run)).toMatchObject({ worker: otherName, attempt: 1, deliveries: 1 });
  const kinds = (await stage.trail(run)).map(({ kind }) => kind);
  expect(kinds.filter((kind) => kind === "turn.recorded")).toHaveLength(3);
  expect(kinds).not.toContain("fact.refused");
});

test("a tool that a policy denies is never called, and the task ends POLICY_DENIED", async () => {
  const { sink } = stage;
  await stage.apply(
    httpTool("look", "/look", { effect: "read" }),
    httpTool("steal", "/steal", WRITE),
    ...coded("thief", { tools: ["look", "steal"] }),
    policy("no-stealing", {
      attachTo: [{ kind: "Tool", name: "steal" }],
      checkpoints: ["tool.call"],
      deny: { cel: "size(args) >= 0" },
    }),
  );
  const decision = await expectDenied(stage, await invoke("thief"));
  expect(decision).toMatchObject({ allowed: false, checkpoint: "tool.call", tool: "steal" });
  expect(sink.count("/steal")).toBe(0);
});

test("a cancelled run aborts its code, which tells so; code that does not listen holds no slot for long", async () => {
  const { sink } = stage;
  await stage.apply(...coded("patient"), ...coded("deaf"));
  const patient = await invoke("patient");
  await sink.waitForCount("/waiting", 1);
  await patient.cancel();
  await expect(patient.result()).rejects.toMatchObject({ state: "CANCELLED" });
  await sink.waitForCount("/stopped", 1);
  const deaf = await invoke("deaf");
  await sink.waitForCount("/deaf", 1);
  await deaf.cancel();
  await expect(deaf.result()).rejects.toMatchObject({ state: "CANCELLED" });
  await Promise.any(Object.values(workers).map((worker) => worker.waitFor(/left behind/)));
});

test("what the code throws fails the attempt, with a class of its own if it says one", async () => {
  const backoff = { initial: "10ms", max: "10ms", factor: 1, jitter: "none" };
  await stage.apply(
    ...coded("moody", {
      errorHandling: { retry: { on: ["AgentFailed"], maxAttempts: 3, backoff }, onExhausted: "fail" },
    }),
  );
  const run = await invoke("moody");
  const failure = { class: "OrderTooOld", message: expect.stringContaining("the order is too old") };
  await expect(run.result()).rejects.toMatchObject({ state: "FAILED", failure });
  const retried = (await stage.trail(run, "task.retrying")).map(({ detail }) => detail.failure);
  expect(retried).toEqual([{ class: "AgentFailed", message: "not today" }]);
});

test("a task whose handler nobody registered is sent to nobody, and workers are listed with what they run", async () => {
  await stage.apply(...coded("absent"));
  const run = await invoke("absent");
  const other = await invoke("biller");
  expect(await other.result()).toMatchObject({ attempt: 1 });
  expect((await run.get()).nodes[0]?.state).toBeDefined();
  expect(await stage.trail(run, "task.leased")).toEqual([]);
  const { workers: fleet } = await stage.client.fleet.listWorkers({});
  expect(fleet.find(({ state }) => state === "active")).toMatchObject({
    runtimes: ["handler"],
    handlers: ["biller", "thief", "patient", "deaf", "chatty", "moody"],
  });
  await run.cancel();
});

// `orloj wait` against a scripted server: what is reached, what never will be, and what takes too long.
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { WorkerSchema } from "../../proto/gen/orloj/v1/fleet_pb.ts";
import { RunState, TaskSchema, TaskState } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { refusal, runOf, startScriptedServer, succeeded } from "../sdk/scripted_server.ts";
import { runOrloj, runVerb } from "./run_orloj.ts";

vi.setConfig({ testTimeout: 90_000 });

const failed = runOf("run_1", { state: RunState.FAILED });
const parked = runOf("run_1", { conditions: ["Parked"] });

function watching(...runs: ReturnType<typeof runOf>[]) {
  return {
    workflows: {
      async *watchRun() {
        for (const run of runs) yield { run };
      },
    },
  };
}

test.each([
  [["--for", "state=SUCCEEDED"], [runOf("run_1"), succeeded("run_1")], 0, "run_1 SUCCEEDED\n"],
  [[], [runOf("run_1"), failed], 0, "run_1 FAILED\n"],
  [["--for", "condition=Parked"], [runOf("run_1"), parked], 0, "run_1 RUNNING (Parked)\n"],
  [["--for", "no-condition=Parked"], [parked, runOf("run_1")], 0, "run_1 RUNNING\n"],
  [["--for", "state=failed", "--for", "condition=Parked"], [failed], 0, "run_1 FAILED\n"],
] as const)("wait run_1 %j is over once it is so", async (words, runs, code, out) => {
  await using server = await startScriptedServer(watching(...runs));
  expect(await runVerb(["wait", "run_1", ...words], server)).toEqual({ code, out, err: "" });
});

test("a run that ended otherwise will never be as it was waited for: exit 1, and JSON says how it is", async () => {
  await using server = await startScriptedServer(watching(runOf("run_1"), failed));
  const text = await runVerb(["wait", "run_1", "--for", "state=SUCCEEDED"], server);
  expect(text).toMatchObject({ code: 1, out: "", err: expect.stringContaining("run_1 FAILED: it will not be") });
  const json = await runVerb(["wait", "run_1", "--for", "state=SUCCEEDED", "-o", "json"], server);
  expect(JSON.parse(json.out)).toMatchObject({ reached: false, item: { state: "FAILED" } });
});

test("--timeout ends with 124 and says how things stand", async () => {
  const hold = {
    workflows: {
      async *watchRun(_request: unknown, { signal }: { readonly signal: AbortSignal }) {
        yield { run: runOf("run_1") };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
  };
  await using server = await startScriptedServer(hold);
  const late = await runOrloj(["wait", "run_1", "--timeout", "3s"], { endpoint: server.endpoint });
  expect(late).toMatchObject({ code: 124, out: "", err: expect.stringContaining("Not yet: run_1 RUNNING") });
  const none = await runVerb(["wait", "run_1", "--timeout", "soon"], server);
  expect(none).toMatchObject({ code: 2, err: expect.stringContaining("use a duration such as 10m, or 0") });
});

test("a run that there is not: exit 3; with --for delete that is what was waited for", async () => {
  await using server = await startScriptedServer({
    workflows: {
      // biome-ignore lint/correctness/useYield: it refuses before there is anything to give
      async *watchRun(): AsyncGenerator<never> {
        throw refusal(Code.NotFound, "RUN_NOT_FOUND", "run_1 is not there");
      },
    },
  });
  expect((await runVerb(["wait", "run_1"], server)).code).toBe(3);
  expect(await runVerb(["wait", "run_1", "--for", "delete"], server)).toMatchObject({
    code: 0,
    out: "run_1 is gone\n",
  });
});

test("a task is followed by the watch of its run", async () => {
  const task = (state: TaskState) => create(TaskSchema, { id: "task_1", runId: "run_1", state });
  await using server = await startScriptedServer({
    workflows: {
      getTask: () => ({ task: task(TaskState.READY) }),
      async *watchRun() {
        yield { run: runOf("run_1"), tasks: [task(TaskState.LEASED)] };
        yield { run: failed, tasks: [task(TaskState.DEAD_LETTERED)] };
      },
    },
  });
  const wait = (...words: string[]) => runVerb(["wait", "task_1", ...words], server);
  expect(await wait("--for", "state=LEASED")).toMatchObject({ code: 0, out: "task_1 LEASED\n" });
  expect(await wait()).toMatchObject({ code: 0, out: "task_1 DEAD_LETTERED\n" });
  expect(await wait("--for", "state=SUCCEEDED")).toMatchObject({ code: 1 });
});

test("workers, dead letters and resources are looked at until they are so", async () => {
  let looks = 0;
  const worker = (name: string, labels = {}) =>
    create(WorkerSchema, { name, sessionId: `ses_${name}`, state: "active", labels });
  await using server = await startScriptedServer({
    fleet: {
      listWorkers() {
        looks += 1;
        return {
          workers: [worker("a", { zone: "eu" }), worker("b"), ...(looks > 2 ? [worker("c", { zone: "eu" })] : [])],
        };
      },
      getWorker() {
        throw refusal(Code.NotFound, "WORKER_NOT_FOUND", "no such worker");
      },
    },
    deadLetters: {
      listDeadLetters() {
        looks += 1;
        return { deadLetters: looks > 2 ? [] : [{ taskId: "task_1", state: "open" }] };
      },
    },
    manifests: {
      getResource() {
        looks += 1;
        if (looks > 2) throw refusal(Code.NotFound, "RESOURCE_NOT_FOUND", "gone");
        return { resource: { kind: "Tool", name: "t" } };
      },
    },
  });
  const wait = (...words: string[]) => {
    looks = 0;
    return runVerb(["wait", ...words, "--interval", "100ms", "--timeout", "10s"], server);
  };
  expect(await wait("workers", "--for", "active=2")).toMatchObject({ code: 0, out: "2 active\n" });
  expect(await wait("workers", "--for", "active=2", "-l", "zone=eu")).toMatchObject({ code: 0, out: "2 active\n" });
  expect(looks).toBe(3);
  expect(await wait("worker/a", "--for", "delete")).toMatchObject({ code: 0, out: "worker a has no session\n" });
  expect(await wait("dead-letters")).toMatchObject({ code: 0, out: "0 open dead letters\n" });
  expect(await wait("tool/t", "--for", "delete")).toMatchObject({ code: 0, out: "Tool default/t is not there\n" });
  expect(await wait("tool", "t")).toMatchObject({ code: 0, out: "Tool default/t is there\n" });
});

test.each([
  ["run_1", "state=DONE", "use one of PENDING, RUNNING"],
  ["run_1", "active=2", "use end, state=S, condition=C"],
  ["workers", "active=0", "use a whole number from 1"],
  ["workers", "state=active", "use active=N, none"],
  ["tool/t", "end", "use any, delete"],
  ["thing/t", "any", "use agent, system, tool"],
  ["something", "any", "cannot be waited for"],
])("wait %s --for %s is refused with what would do", async (what, word, text) => {
  const ended = await runVerb(["wait", what, "--for", word], { endpoint: "http://127.0.0.1:9" });
  expect(ended).toMatchObject({ code: 2, err: expect.stringContaining(text) });
});

// Stopping runs: a cancel and a timeout reach tool calls that are running, and are bounded even when the worker does not react.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { type RunHandle, TaskState } from "../../sdk/index.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { type RunningProcess, runOrloj } from "../harness/processes.ts";
import { agent, commandTool, httpTool, single } from "./documents.ts";
import { nameOf, type Stage, startStage } from "./stage.ts";

const GRACE_MS = 3_000;
const GRACE = { cancellation: { grace: "3s" } };

let stage: Stage;
let worker: RunningProcess;

beforeAll(async () => {
  // Longer than every grace: what ends a run here is its cancellation, never an expiring lease.
  stage = await startStage({ leaseTtl: "20s" });
  worker = await stage.worker("w1");
});

function caller(name: string, tool: string) {
  const script = [{ when: "turn == 1", toolCalls: [{ name: tool, arguments: {} }] }, { output: {} }];
  return agent(name, script, { tools: [tool] });
}

async function expectStopped(run: RunHandle, state: "CANCELLED" | "TIMED_OUT") {
  await expect(run.result()).rejects.toMatchObject({ state });
  expect((await stage.client.fleet.listLeases({ runId: run.id })).leases).toEqual([]);
  const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
  expect(tasks.map((task) => nameOf(TaskState, task.state))).toEqual([state]);
}

test("a cancel aborts an HTTP call in flight, and the run ends CANCELLED without a lease", async () => {
  const { client, sink, server } = stage;
  sink.hold("/hang");
  await stage.apply(
    httpTool("hang", "/hang", { effect: "read" }),
    caller("hanger", "hang"),
    ...single("hanger", GRACE),
  );
  const run = await client.workflow("hanger").invoke();
  await sink.waitForCount("/hang", 1);
  const cancelled = await runOrloj(["cancel", run.id, "--reason", "enough"], { server });
  expect(cancelled).toMatchObject({ code: 0 });
  await sink.waitForAbort("/hang");
  await expectStopped(run, "CANCELLED");
  expect(sink.count("/hang")).toBe(1);
  const stopping = await stage.trail(run, "run.stopping");
  expect(stopping.map(({ detail }) => detail.cause)).toEqual(["cancelled"]);
});

test("a cancel ends the whole process group of a command, children of children included", async () => {
  const { client, sink } = stage;
  const folder = await temporaryFolder("cmd");
  // Each process holds a request open: its end is seen as a connection that breaks.
  writeFileSync(
    join(folder, "hang.mjs"),
    `import { spawn } from "node:child_process";
     const [url, generation] = process.argv.slice(2);
     process.on("SIGTERM", () => undefined);
     if (generation === "parent") spawn(process.execPath, [import.meta.filename, url, "grandchild"], { stdio: "ignore" });
     await fetch(url + "/" + generation);`,
  );
  sink.hold("/parent");
  sink.hold("/grandchild");
  await stage.apply(
    commandTool("family", [process.execPath, join(folder, "hang.mjs"), sink.url, "parent"]),
    caller("family", "family"),
    ...single("family", { cancellation: { grace: "10s" } }),
  );
  const run = await client.workflow("family").invoke();
  await Promise.all([sink.waitForCount("/parent", 1), sink.waitForCount("/grandchild", 1)]);
  await run.cancel();
  await Promise.all([sink.waitForAbort("/parent"), sink.waitForAbort("/grandchild")]);
  await expectStopped(run, "CANCELLED");
});

test("a run that is over its time is stopped in the middle of a call and ends TIMED_OUT", async () => {
  const { client, sink } = stage;
  sink.hold("/slow");
  await stage.apply(
    httpTool("slow", "/slow", { effect: "read" }),
    caller("slowpoke", "slow"),
    ...single("slowpoke", { ...GRACE, timeout: "2s" }),
  );
  const run = await client.workflow("slowpoke").invoke();
  await sink.waitForCount("/slow", 1);
  await sink.waitForAbort("/slow");
  await expectStopped(run, "TIMED_OUT");
  expect(sink.count("/slow")).toBe(1);
});

test("a run is over within grace and a second although its worker is frozen", async () => {
  const { client, sink } = stage;
  sink.hold("/frozen");
  await stage.apply(
    httpTool("frozen", "/frozen", { effect: "read" }),
    caller("freezer", "frozen"),
    ...single("freezer", GRACE),
  );
  const run = await client.workflow("freezer").invoke();
  await sink.waitForCount("/frozen", 1);
  worker.signal("SIGSTOP");
  await run.cancel();
  await expectStopped(run, "CANCELLED");
  const filter = { runId: run.id, kinds: ["run.stopping"] };
  const { records } = await client.audit.listAuditRecords({ filter });
  const { endTime } = await run.get();
  const ms = (at: typeof endTime) => Number(at?.seconds) * 1_000 + Number(at?.nanos) / 1e6;
  const tookMs = ms(endTime) - ms(records[0]?.time);
  expect(tookMs).toBeGreaterThan(GRACE_MS - 100);
  expect(tookMs).toBeLessThan(GRACE_MS + 1_000);
  worker.signal("SIGCONT");
  await sink.waitForAbort("/frozen");
});

test("a cancel of a run that is over is refused and changes nothing", async () => {
  const { client } = stage;
  await stage.apply(agent("quick", [{ output: { ok: true } }]), ...single("quick"));
  const run = await client.workflow("quick").invoke();
  expect(await run.result()).toEqual({ ok: true });
  await expect(run.cancel()).rejects.toMatchObject({ reason: "RUN_FINISHED" });
  expect(await run.result()).toEqual({ ok: true });
});

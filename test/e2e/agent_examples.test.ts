// The examples whose agents are code, as they are: manifests and worker programs of examples/, on real processes. The LangChain agent runs its own
// loop; what its model asks for is decided by a policy, and a kill repeats neither an answer nor a refund.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import type { RunHandle } from "../../sdk/index.ts";
import { type RunningProcess, startProcess } from "../harness/processes.ts";
import { expectDenied } from "./denials.ts";
import { type Stage, split, startStage } from "./stage.ts";

const ROOT = join(import.meta.dirname, "../..");
const HOOK = join(ROOT, "test/harness/library_of_tree.ts");

let stage: Stage;
const clerks: Record<string, RunningProcess> = {};

beforeAll(async () => {
  const tokens = { ORLOJ_SECRET_PAY_TOKEN: "pay-token-1", ORLOJ_SECRET_HELP_TOKEN: "help-token-1" };
  stage = await startStage({ env: tokens });
  await Promise.all(["one", "two"].map(async (name) => (clerks[name] = await program("langchain-agent", name))));
  await applyExample("langchain-agent");
});

async function program(example: string, name: string): Promise<RunningProcess> {
  const { home, worker } = stage.server;
  const env = {
    ORLOJ_HOME: home,
    ORLOJ_WORKER_ENDPOINTS: worker.replace(/^https?:\/\//, ""),
    ORLOJ_WORKER_NAME: name,
    ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8",
  };
  const file = join(ROOT, "examples", example, "worker.ts");
  const running = startProcess(process.execPath, ["--import", HOOK, file], { env });
  await running.waitFor(/\bready\b/, 60_000);
  return running;
}

/** The manifests of an example, with the counting server in place of the services. */
async function applyExample(example: string): Promise<void> {
  const text = readFileSync(join(ROOT, "examples", example, "manifests.yaml"), "utf8");
  await stage.apply(text.replace(/secret\.(pay|help)\.url/g, "secret.sink.url"));
}

function refundClerk(question: string): Promise<RunHandle> {
  return stage.client.workflow("refund-clerk", { namespace: "langchain" }).invoke({ question });
}

const asked = () => {
  const outputs = Object.values(clerks).map(({ output }) => output.stderr);
  return outputs.join("").split("asking the model").length - 1;
};

test("a LangChain agent that is killed in the middle goes on elsewhere: no answer is asked for twice, one refund is made", async () => {
  const { sink } = stage;
  sink.hold("/refunds/A-1001");
  const run = await refundClerk("Please refund A-1001, it was 49 euros.");
  await sink.waitForCount("/refunds/A-1001", 1);
  expect(asked()).toBe(2);
  split(clerks, await stage.holder(run)).held?.signal("SIGKILL");
  await sink.waitForCount("/refunds/A-1001", 2);
  sink.release("/refunds/A-1001");
  expect(await run.result()).toEqual({ answer: expect.stringMatching(/^Done: .*refunds/) });
  expect(asked()).toBe(3);
  expect(sink.count("/pages")).toBe(1);
  // The refund was on its way when its worker died: sent again with the same key.
  expect([...sink.countsByKey("/refunds/A-1001").values()]).toEqual([2]);
  expect(sink.calls("/refunds/A-1001")[0]?.body).toBe('{"amountCents":4900,"orderId":"A-1001"}');
  const [task] = (await stage.client.workflows.listTasks({ runId: run.id })).tasks;
  expect(task).toMatchObject({ attempt: 1 });
});

test("what a policy denies is never called, and LangChain's loop cannot go around it", async () => {
  const before = asked();
  const run = await refundClerk("Please refund A-1002, it was 259 euros.");
  const decision = await expectDenied(stage, run);
  expect(decision).toMatchObject({ allowed: false, reason: "not_permitted", tool: "refund" });
  expect(stage.sink.count("/refunds/A-1002")).toBe(0);
  expect((await run.get()).failure?.message).toContain("Refunds of more than 100 euros are for a person.");
  expect(asked()).toBe(before + 2);
});

test("an agent in plain TypeScript reads the history through its tools", async () => {
  await applyExample("handler-agent");
  await program("handler-agent", "plain");
  const run = await stage.client.workflow("changes", { namespace: "code" }).invoke({ last: 3 });
  const output = await run.result<{ subjects: string[] }>();
  expect(output).toMatchObject({ title: expect.stringMatching(/^3 changes up to \d{4}-\d\d-\d\d$/) });
  expect(output.subjects).toHaveLength(3);
});

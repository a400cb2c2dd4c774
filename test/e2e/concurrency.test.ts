// Concurrency of a workflow and of a tool through a real server and two workers, told by the API and by the command alike.

import { beforeAll, expect, test } from "vitest";
import { RunState } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { runOrloj } from "../harness/processes.ts";
import { agent, httpTool, single } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;
const CALLING = [{ when: "turn == 1", toolCalls: [{ name: "slow", arguments: {} }] }, { output: { done: true } }];
const ONCE = { retry: { on: [], maxAttempts: 1 }, onExhausted: "fail" };

beforeAll(async () => {
  // Longer than every limit here: nothing ends because a lease does.
  stage = await startStage({ leaseTtl: "20s" });
  await Promise.all([stage.worker("w1"), stage.worker("w2")]);
  await stage.apply(
    httpTool("slow", "/slow", { effect: "read", concurrency: 1 }),
    agent("patient", CALLING, { tools: ["slow"] }),
    agent("hasty", CALLING, { tools: ["slow"], limits: { timeout: "1s" }, errorHandling: ONCE }),
    ...single("patient", { concurrency: { max: 1 } }),
    ...single("hasty"),
  );
});

test("of two runs one waits until the other has ended, and who asks for a tool that is in use waits within its own time", async () => {
  const { client, sink, server } = stage;
  sink.hold("/slow");
  const first = await client.workflow("patient").invoke();
  await sink.waitForCount("/slow", 1);
  const second = await client.workflow("patient").invoke();
  expect(second.invoked).toMatchObject({ state: RunState.PENDING, conditions: ["Queued"] });
  const listed = await runOrloj(["runs", "--state", "pending"], { server });
  expect(listed.stdout).toContain(second.id);
  expect(listed.stdout).toContain("Queued");
  const invoked = await runOrloj(["invoke", "patient"], { server });
  expect(invoked.stdout).toMatch(/^run_\S+ {2}PENDING {2}\(waits for its turn/);
  const third = invoked.stdout.split(" ")[0] as string;
  expect(await runOrloj(["cancel", third], { server })).toMatchObject({ code: 0 });
  expect((await client.workflows.getRun({ runId: third })).run?.state).toBe(RunState.CANCELLED);
  // The one grant of the tool is taken: this one is told to wait, and its time is up meanwhile.
  const hasty = await client.workflow("hasty").invoke();
  await expect(hasty.result()).rejects.toThrow(/Timeout|time/);
  expect(sink.count("/slow")).toBe(1);
  sink.release("/slow");
  expect(await Promise.all([first.result(), second.result()])).toEqual([{ done: true }, { done: true }]);
  expect(await stage.trail(second, "run.started")).toMatchObject([
    { actor: "server", detail: { concurrency: { max: 1, running: 1 } } },
  ]);
  expect([sink.count("/slow"), sink.inFlightMax("/slow")]).toEqual([2, 1]);
});

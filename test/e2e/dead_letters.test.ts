// A task that is parked, looked at and replayed with the command, on real processes: nothing on record is asked or sent again.

import { expect, test } from "vitest";
import { runOrloj } from "../harness/processes.ts";
import { askingAgent, completion, httpTool, single } from "./documents.ts";
import { startStage } from "./stage.ts";

test("parked by a broken tool, replayed when the world is mended: turns asked once, the effect before it counted once", async () => {
  const stage = await startStage();
  const { client, sink, server } = stage;
  await stage.worker("w");
  const asked: number[] = [];
  sink.respond("/v1/chat/completions", ({ body }) => {
    const { messages } = JSON.parse(body) as { messages: { role: string }[] };
    const turn = messages.filter(({ role }) => role === "assistant").length + 1;
    asked.push(turn);
    if (turn === 1) return completion({ toolCalls: [{ name: "charge", arguments: { cents: 5 } }] });
    if (turn === 2) return completion({ toolCalls: [{ name: "report", arguments: {} }] });
    return completion({ content: '{"done": true}' });
  });
  sink.respond("/report", () => ({ status: 500 }));
  await stage.apply(
    httpTool("charge", "/charge", { effect: "write" }),
    httpTool("report", "/report", { effect: "read", retry: { maxAttempts: 1 } }),
    askingAgent("biller", `${sink.url}/v1`, { tools: ["charge", { ref: "report", onError: "fail" }] }),
    ...single("biller"),
  );
  const run = await client.workflow("biller").invoke();
  const { taskId } = await stage.record("task.dead_lettered", ({ runId }) => runId === run.id);
  const listed = await runOrloj(["dead-letters", "list", "--run", run.id, "-o", "json"], { server });
  expect(JSON.parse(listed.stdout).items).toMatchObject([{ taskId, cause: "attempts", state: "open" }]);
  const shown = await runOrloj(["dead-letters", "show", taskId], { server });
  expect(shown.stdout).toMatch(/ToolFailed: tool report failed with Http5xx/);
  expect(shown.stdout).toMatch(/charge +done/);
  expect(shown.stderr).toContain(`orloj dead-letters replay ${taskId}`);

  sink.respond("/report", () => ({}));
  const dry = await runOrloj(["dead-letters", "replay", "--all", "--run", run.id, "--dry-run"], { server });
  expect(dry).toMatchObject({ code: 0, stdout: expect.stringContaining(taskId) });
  const replayed = await runOrloj(["dead-letters", "replay", taskId], { server });
  expect(replayed).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^replayed +task_\w+ as task_\w+ in run_\w+\n$/),
  });
  expect(await run.result()).toEqual({ done: true });
  expect(asked).toEqual([1, 2, 3]);
  expect(sink.count("/charge")).toBe(1);
  const again = await runOrloj(["dead-letters", "replay", taskId], { server });
  expect(again).toMatchObject({ code: 0, stdout: expect.stringContaining("(before)") });
  const discarded = await runOrloj(["dead-letters", "discard", taskId], { server });
  expect(discarded).toMatchObject({ code: 7, stderr: expect.stringContaining("error[E-DEAD-LETTER-RESOLVED]") });
});

test("a write of unknown outcome: refused with what to do, then sent again with the same key because a person says so", async () => {
  const stage = await startStage();
  const { client, sink, server } = stage;
  await stage.worker("w");
  sink.respond("/wire", (_call, number) => (number === 1 ? { status: 500 } : { body: '{"sent": true}' }));
  await stage.apply(
    httpTool("wire", "/wire", { effect: "write" }),
    askingAgent("wirer", `${sink.url}/v1`, { tools: ["wire"] }),
    ...single("wirer"),
  );
  sink.respond("/v1/chat/completions", ({ body }) => {
    const { messages } = JSON.parse(body) as { messages: { role: string; content?: string }[] };
    const told = messages.find(({ role }) => role === "tool")?.content;
    return told === undefined
      ? completion({ toolCalls: [{ name: "wire", arguments: {} }] })
      : completion({ content: told });
  });
  const run = await client.workflow("wirer").invoke();
  const { taskId } = await stage.record("task.dead_lettered", ({ runId }) => runId === run.id);
  const refused = await runOrloj(["dead-letters", "replay", taskId], { server });
  expect(refused).toMatchObject({ code: 7, stderr: expect.stringContaining("error[E-OUTCOME-UNKNOWN]") });
  expect(refused.stderr).toContain(`auto:${taskId}/1/0`);
  expect(await runOrloj(["dead-letters", "replay", taskId, "--repeat-effects"], { server })).toMatchObject({ code: 0 });
  expect(await run.result()).toEqual({ sent: true });
  expect([...sink.countsByKey("/wire").values()]).toEqual([2]);
});

test.each([
  [["replay"], "no task is named"],
  [["replay", "task_1", "--all"], "use one of them"],
  [["replay", "task_1", "--result", "x"], "use REQUEST_ID=JSON"],
  [["list", "--since", "yesterday"], "--since yesterday"],
])("orloj dead-letters %j is a usage error", async (words, text) => {
  const ended = await runOrloj(["dead-letters", ...words], { env: { ORLOJ_SERVER: "http://127.0.0.1:9" } });
  expect(ended).toMatchObject({ code: 2, stderr: expect.stringContaining(text) });
});

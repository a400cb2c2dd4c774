// Answers that do not fit their schema never succeed: they are asked again, and then the run fails or waits for a person.

import { beforeAll, expect, test } from "vitest";
import { RunState } from "../../sdk/index.ts";
import { askingAgent, completion, single } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;

beforeAll(async () => {
  stage = await startStage();
  await stage.worker("w1");
});

const BACKOFF = { initial: "1ms", max: "5ms", factor: 2, jitter: "full" };
const OUTPUT = { type: "object", required: ["route"], properties: { route: { enum: ["a", "b"] } } };

function judged(name: string, onExhausted: string) {
  return [
    askingAgent(name, `${stage.sink.url}/${name}`, {
      outputSchema: OUTPUT,
      errorHandling: { retry: { on: ["OutputInvalid"], maxAttempts: 3, backoff: BACKOFF }, onExhausted },
    }),
    ...single(name),
  ];
}

test.each([
  ["text", "Certainly! Here it is."],
  ["JSON that does not fit", '{"route": "c"}'],
])("an answer that is %s is asked again until the attempts are used up, and the run fails", async (title, content) => {
  const name = `failing${title.length}`;
  stage.sink.respond(`/${name}/chat/completions`, () => completion({ content }));
  await stage.apply(...judged(name, "fail"));
  const run = await stage.client.workflow(name).invoke();
  await expect(run.result()).rejects.toMatchObject({ state: "FAILED", failure: { class: "OutputInvalid" } });
  expect(stage.sink.count(`/${name}/chat/completions`)).toBe(3);
  expect((await run.get()).outputJson).toBe("");
  const trail = await stage.trail(run, "task.");
  expect(trail.map(({ kind }) => kind).filter((kind) => kind !== "task.requeued")).toEqual([
    ...["task.leased", "task.retrying", "task.leased", "task.retrying", "task.leased", "task.failed"],
  ]);
});

test("with onExhausted deadLetter the run is parked, never succeeded, and can be cancelled", async () => {
  stage.sink.respond("/parking/chat/completions", () => completion({ content: "{}" }));
  await stage.apply(...judged("parking", "deadLetter"));
  const run = await stage.client.workflow("parking").invoke();
  const parked = await stage.record("task.dead_lettered", ({ runId }) => runId === run.id);
  expect(parked.detail).toMatchObject({ cause: "attempts", failure: { class: "OutputInvalid" }, attempt: 3 });
  expect(stage.sink.count("/parking/chat/completions")).toBe(3);
  expect(await run.get()).toMatchObject({ state: RunState.RUNNING, conditions: ["Parked"], outputJson: "" });
  await run.cancel();
  await expect(run.result()).rejects.toMatchObject({ state: "CANCELLED" });
});

test("an answer that fits on the second attempt succeeds, and the bad one is not shown to the model as its own", async () => {
  const path = "/second/chat/completions";
  stage.sink.respond(path, (_call, number) => completion({ content: number === 1 ? "nonsense" : '{"route": "b"}' }));
  await stage.apply(...judged("second", "fail"));
  const run = await stage.client.workflow("second").invoke();
  expect(await run.result()).toEqual({ route: "b" });
  expect(stage.sink.count(path)).toBe(2);
  expect(stage.sink.calls(path)[1]?.body).not.toContain("nonsense");
});

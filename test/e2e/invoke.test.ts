// Invocations: the same key gives the same run, a batch is as good as its items.

import { beforeAll, expect, test } from "vitest";
import { runOrloj } from "../harness/processes.ts";
import { agent, httpTool, single } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

let stage: Stage;
const PARAMETERS = {
  type: "object",
  additionalProperties: false,
  required: ["n"],
  properties: { n: { type: "integer" } },
};

beforeAll(async () => {
  stage = await startStage();
  await stage.worker("w1", { ORLOJ_WORKER_SLOTS: "16" });
  await stage.apply(
    httpTool("count", "/count", { effect: "write" }),
    agent(
      "adder",
      [
        { when: "turn == 1", toolCalls: [{ name: "count", arguments: { n: "${{ input.n }}" } }] },
        { output: { n: "${{ input.n }}" } },
      ],
      { tools: ["count"] },
    ),
    ...single("adder", { parameters: PARAMETERS }),
  );
});

test("the same key and body give the same run, also when sent at the same time; another body is a conflict", async () => {
  const workflow = stage.client.workflow("adder");
  const options = { idempotencyKey: "order-1" };
  const handles = await Promise.all(Array.from({ length: 8 }, () => workflow.invoke({ n: 1 }, options)));
  expect(new Set(handles.map(({ id }) => id)).size).toBe(1);
  expect(handles.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
  expect(await handles[0]?.result()).toEqual({ n: 1 });
  expect((await workflow.invoke({ n: 1 }, options)).duplicate).toBe(true);
  await expect(workflow.invoke({ n: 2 }, options)).rejects.toMatchObject({ reason: "IDEMPOTENCY_CONFLICT" });
  expect(stage.sink.calls("/count").filter(({ body }) => body === '{"n":1}')).toHaveLength(1);
  // Without a key each invocation is a run of its own.
  const [a, b] = [await workflow.invoke({ n: 3 }), await workflow.invoke({ n: 3 })];
  expect(a.id).not.toBe(b.id);
  await Promise.all([a.result(), b.result()]);
});

test("in a batch of 100 the one bad item fails alone, and all the others run once", async () => {
  const { workflows } = stage.client;
  const items = Array.from({ length: 100 }, (_, n) => ({
    workflow: "adder",
    parametersJson: n === 41 ? '{"n": "forty-one"}' : JSON.stringify({ n: 1_000 + n }),
  }));
  const { results } = await workflows.invokeBatch({ items });
  expect(results).toHaveLength(100);
  const bad = results.flatMap(({ result }, index) =>
    result.case === "error" ? [{ index, code: result.value.code, reason: result.value.info?.reason }] : [],
  );
  expect(bad).toEqual([{ index: 41, code: "invalid_argument", reason: "PARAMS_INVALID" }]);
  const ids = results.flatMap(({ result }) => (result.case === "response" ? [result.value.run?.id ?? ""] : []));
  expect(new Set(ids).size).toBe(99);
  const outputs = await Promise.all(ids.map((id) => stage.client.run(id).result<{ n: number }>()));
  expect(outputs.map(({ n }) => n)).toEqual(
    Array.from({ length: 100 }, (_, n) => 1_000 + n).filter((n) => n !== 1_041),
  );
  const bodies = stage.sink
    .calls("/count")
    .map(({ body }) => body)
    .filter((body) => /1\d{3}/.test(body));
  expect(bodies).toHaveLength(99);
  expect(new Set(bodies).size).toBe(99);
});

test("the command line waits for a run, prints its output, and says what is wrong with parameters", async () => {
  const { server } = stage;
  const good = await runOrloj(["invoke", "adder", "-p", "n=7", "--watch", "-o", "json"], { server });
  expect(good).toMatchObject({ code: 0 });
  expect(good.stdout).toContain("SUCCEEDED");
  const bad = await runOrloj(["invoke", "adder", "-p", "n=seven"], { server });
  expect(bad.code).not.toBe(0);
  expect(bad.stderr).toContain('parameter "n" is an integer');
  const unknown = await runOrloj(["invoke", "nobody"], { server });
  expect(unknown.stderr).toContain("E-WORKFLOW-NOT-FOUND");
});

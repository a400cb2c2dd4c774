// Two worker processes share the parallel branches of one run; applying starts nothing.

import { expect, test } from "vitest";
import { agent, httpTool, system, template } from "./documents.ts";
import { startStage } from "./stage.ts";

test("two workers share one run's parallel branches, in flight at the same time, and applying starts nothing", async () => {
  const stage = await startStage();
  const { client, sink } = stage;
  // One slot each: a worker can hold only one of two branches that wait for each other.
  await Promise.all([stage.worker("w1", { ORLOJ_WORKER_SLOTS: "1" }), stage.worker("w2", { ORLOJ_WORKER_SLOTS: "1" })]);
  sink.hold("/meet", 2);
  await stage.apply(
    httpTool("meet", "/meet", { effect: "write" }),
    agent("start", [{ output: { go: true } }]),
    agent(
      "branch",
      [
        { when: "turn == 1", toolCalls: [{ name: "meet", arguments: {} }] },
        { output: { met: "${{ results.meet.ok }}" } },
      ],
      { tools: ["meet"] },
    ),
    agent("end", [{ output: { left: "${{ input.left }}", right: "${{ input.right }}" } }]),
    system("pair", {
      nodes: [
        { name: "start", agent: "start" },
        { name: "left", agent: "branch" },
        { name: "right", agent: "branch" },
        {
          name: "end",
          agent: "end",
          input: { left: "${{ nodes.left.output.met }}", right: "${{ nodes.right.output.met }}" },
        },
      ],
      edges: [
        { from: "start", to: ["left", "right"] },
        { from: ["left", "right"], to: "end" },
      ],
      output: { schema: {}, value: "${{ nodes.end.output }}" },
    }),
    template("pair"),
  );
  expect((await client.workflows.listRuns({})).runs).toEqual([]);
  const { records } = await client.audit.listAuditRecords({ filter: { kinds: ["run.", "task."] } });
  expect(records).toEqual([]);
  expect(sink.count()).toBe(0);

  const run = await client.workflow("pair").invoke();
  expect(await run.result()).toEqual({ left: true, right: true });

  expect(sink.inFlightMax("/meet")).toBe(2);
  expect(sink.count("/meet")).toBe(2);
  const { tasks } = await client.workflows.listTasks({ runId: run.id });
  const workerOf = Object.fromEntries(tasks.map((task) => [task.node, task.worker]));
  expect([workerOf["left"], workerOf["right"]].sort()).toEqual(["w1", "w2"]);
  // Both were leased before either ended.
  const kinds = (await stage.trail(run)).filter(({ detail }) => detail.node === "left" || detail.node === "right");
  const firstEnd = kinds.findIndex(({ kind }) => kind === "task.succeeded");
  expect(kinds.slice(0, firstEnd).filter(({ kind }) => kind === "task.leased")).toHaveLength(2);
});

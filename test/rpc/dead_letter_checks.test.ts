// What DeadLetterService refuses before anything is asked of the store, and how it answers item by item.

import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DeadLetterService } from "../../proto/gen/orloj/v1/dead_letter_pb.ts";
import { type Rig, startRig } from "./rig.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.close());

const client = () => createClient(DeadLetterService, rig.transport());

test.each([
  ["nothing selected", {}, "selection.task_ids: has 0 items"],
  ["too many tasks", { selection: { taskIds: Array.from({ length: 501 }, (_, n) => `task_${n}`) } }, "at most 500"],
  ["tasks and a filter", { selection: { taskIds: ["task_1"], filter: {} } }, "give one of them"],
  ["an unknown cause", { selection: { filter: { cause: "bad luck" } } }, "filter.cause: is no cause"],
  ["an input for several", { selection: { taskIds: ["a", "b"] }, inputJson: "{}" }, "input_json: belongs to one task"],
  ["an input that is not JSON", { selection: { taskIds: ["a"] }, inputJson: "{" }, "input_json: is not JSON"],
  ["results for a filter", { selection: { filter: {} }, resultsJson: { r: "1" } }, "results_json: belong to one task"],
  [
    "a result that is not JSON",
    { selection: { taskIds: ["a"] }, resultsJson: { r: "yes" } },
    "results_json[r]: is not JSON",
  ],
] as const)("%s is refused", async (_what, request, text) => {
  const calls = rig.plane.calls.length;
  await expect(client().replayDeadLetters(request as never)).rejects.toThrow(text);
  expect(rig.plane.calls).toHaveLength(calls);
});

test("each item has its own answer: one that is refused keeps none from the others", async () => {
  const { results } = await client().replayDeadLetters({ selection: { taskIds: ["task_1", "missing", "task_1"] } });
  expect(results.map(({ taskId, result }) => [taskId, result.case])).toEqual([
    ["task_1", "replay"],
    ["missing", "error"],
  ]);
  expect(results[1]?.result.value).toMatchObject({ code: "not_found", info: { reason: "DEAD_LETTER_NOT_FOUND" } });
});

test("a filter takes the open ones that fit", async () => {
  const { results, more } = await client().discardDeadLetters({
    selection: { filter: { workflow: "hello" } },
    reason: "x",
  });
  expect([results.map(({ taskId }) => taskId), more]).toEqual([["task_1"], false]);
  expect(rig.plane.calls.at(-2)?.args[0]).toMatchObject({ workflow: "hello", resolved: false });
});

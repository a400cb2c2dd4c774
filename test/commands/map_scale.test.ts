// A map over 10,000 items on a real database: it finishes, keeps the order of the list, and costs the same for every batch of items.

import pg from "pg";
import { beforeAll, expect, test } from "vitest";
import { caseAgents } from "../graph/case_files.ts";
import { flow } from "./command_manifests.ts";
import { type CommandStage, commandStage, outcomeOf } from "./command_stage.ts";

const ITEMS = 10_000;
const BATCH = 200;
/** Statements of one settling transaction, begin and commit included, however many items it ends and however many are left. */
const STATEMENTS_MAX = 24;

/** For a busy machine: what is held to is the number of statements. */
const SLOW_MS = 180_000;

let stage: CommandStage;

beforeAll(async () => {
  stage = await commandStage();
  const map = { over: "input.list", as: "item", concurrency: 300, onItemError: "collect" };
  const nodes = [{ name: "each", agent: "strict", map, input: { n: "${{ item }}" } }];
  const output = {
    value: "${{ {'count': size(nodes.each.outputs), 'last': nodes.each.outputs[size(nodes.each.outputs) - 1]} }}",
  };
  await stage.applyAll([...caseAgents(), ...flow("many", { nodes, output }, { timeout: "30m" })]);
});

/** Statements that a function sends. */
async function statementsOf(run: () => Promise<void>): Promise<number> {
  const original = pg.Client.prototype.query;
  let count = 0;
  pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
    count += 1;
    return (original as (...all: unknown[]) => unknown).apply(this, args);
  } as typeof original;
  try {
    await run();
  } finally {
    pg.Client.prototype.query = original;
  }
  return count;
}

test(
  "10,000 items: the same number of statements for every batch, and the outputs in order",
  async () => {
    const list = Array.from({ length: ITEMS }, (_, index) => index);
    const runId = await stage.start("many", { parametersJson: JSON.stringify({ list }) });
    expect(await stage.queued(runId), "only as many as may run at a time are queued").toHaveLength(300);
    const counts: number[] = [];
    let ended = 0;
    while (ended < ITEMS) {
      const { assigned } = await stage.claimAs("s1", BATCH);
      expect(assigned.length, `items are left after ${ended}`).toBeGreaterThan(0);
      const items = assigned.map((one) => {
        const { n } = JSON.parse(one.task.input) as { n: number };
        const failure = { class: "Broken", message: "odd" };
        return outcomeOf(one, n % 1_000 === 7 ? { type: "failed", failure } : { type: "succeeded", output: { n } });
      });
      counts.push(await statementsOf(async () => void (await stage.settle(...items))));
      ended += items.length;
    }
    expect(Math.max(...counts)).toBeLessThanOrEqual(STATEMENTS_MAX);
    const run = await stage.run(runId);
    expect([run.state, JSON.parse(run.output ?? "null")]).toEqual([
      "SUCCEEDED",
      { count: ITEMS, last: { output: { n: ITEMS - 1 } } },
    ]);
    const node = await stage.database.db
      .selectFrom("node_state")
      .selectAll()
      .where("run_id", "=", runId)
      .executeTakeFirstOrThrow();
    const outputs = JSON.parse(node.output ?? "[]") as ({ output: { n: number } } | { error: { class: string } })[];
    const found = outputs.map((one) => ("output" in one ? one.output.n : one.error.class));
    expect(found).toEqual(list.map((n) => (n % 1_000 === 7 ? "Broken" : n)));
  },
  SLOW_MS,
);

test("a map that is stopped ends every item", async () => {
  const list = Array.from({ length: 500 }, (_, index) => index);
  const runId = await stage.start("many", { parametersJson: JSON.stringify({ list }) });
  await stage.settle({
    type: "stop",
    runId,
    cause: "cancelled",
    failure: { class: "Cancelled", message: "stop" },
    actor: "ana",
  });
  expect((await stage.run(runId)).state).toBe("CANCELLED");
  const tasks = await stage.tasksOf(runId);
  expect(tasks.map((task) => task.state)).toEqual(list.map(() => "CANCELLED"));
  expect(await stage.queued(runId)).toEqual([]);
});

// A map over 10,000 items on the pure core: each item that ends changes one row and lets one other item go, reads no other item's
// result, and the whole costs ten times what a tenth of it costs.

import { expect, test } from "vitest";
import { advance, initialState } from "../../server/graph/advance.ts";
import type { GraphEffects, ItemResult } from "../../server/graph/types.ts";
import { casePlan } from "./case_run.ts";

const CONCURRENCY = 100;
const plan = casePlan({
  name: "many",
  nodes: [{ name: "each", agent: "strict", map: { over: "input.list", as: "item", concurrency: CONCURRENCY } }],
  output: "${{ size(nodes.each.outputs) }}",
  steps: [],
  expect: { run: "SUCCEEDED" },
});

/** Ends every item in order. @returns processor time in ms of all items but the last, which gathers the outputs */
function play(count: number): number {
  const list = Array.from({ length: count }, (_, index) => index);
  let effects: GraphEffects = advance(plan, initialState(plan, { list }), { type: "started" });
  expect([effects.tasks.length, effects.tasks.filter((task) => task.held).length]).toEqual([
    count,
    count - CONCURRENCY,
  ]);
  const results = new Map<number, ItemResult>();
  const before = process.cpuUsage();
  for (const item of list.slice(0, -1)) {
    const end = { type: "succeeded", output: item } as const;
    results.set(item, { output: item });
    effects = advance(plan, effects.state, { type: "task_ended", node: "each", iteration: 0, end });
    if (effects.changed.length !== 1 || effects.tasks.length !== 0 || effects.superseded.length !== 0) {
      throw new Error(`item ${item} changed ${effects.changed.length} rows and made ${effects.tasks.length} tasks`);
    }
    const released = item + CONCURRENCY < count ? [item + CONCURRENCY] : [];
    expect(effects.released.map((one) => one.item)).toEqual(released);
  }
  const { user, system } = process.cpuUsage(before);
  results.set(count - 1, { output: count - 1 });
  const end = { type: "succeeded", output: count - 1 } as const;
  effects = advance(plan, effects.state, { type: "task_ended", node: "each", iteration: 0, end, results });
  expect([effects.state.run, effects.output]).toEqual(["SUCCEEDED", count]);
  return (user + system) / 1_000;
}

test("one item that ends costs the same however many there are", () => {
  // The first round warms the compiler up.
  play(1_000);
  const few = play(1_000);
  // Ten times the items; four times that is room for the collector, and far from the hundred of a square.
  expect(play(10_000)).toBeLessThan(40 * Math.max(few, 5));
});

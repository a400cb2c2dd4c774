// The graph cases on the pure core: manifests are validated and compiled, tasks end in the order that the case says.

import { describe, expect, test } from "vitest";
import { graphCases, OUTPUT, taskName } from "./case_files.ts";
import { CaseRun, casePlan } from "./case_run.ts";

const files = graphCases();

test("names of cases are unique, and there are many", () => {
  const names = files.flatMap(({ cases }) => cases.map((one) => one.name));
  expect(new Set(names).size).toBe(names.length);
  expect(names.length).toBeGreaterThanOrEqual(150);
});

for (const { file, cases } of files) {
  describe(file, () => {
    test.each(cases.map((one) => [one.name, one] as const))("%s", (_name, graph) => {
      const run = new CaseRun(casePlan(graph), graph.input ?? {});
      for (const step of graph.steps) run.step(step);
      const { expect: wanted } = graph;
      const output = wanted.run === "SUCCEEDED" ? (graph.output === undefined ? OUTPUT : run.output) : undefined;
      expect({ run: run.state.run, failure: run.state.failure?.class, states: run.states() }).toEqual({
        run: wanted.run,
        failure: wanted.failure,
        states: { ...run.states(), ...wanted.nodes },
      });
      expect(run.output).toEqual(wanted.output ?? output);
      if (wanted.order) expect(run.made.map(taskName)).toEqual(wanted.order);
      for (const [node, input] of Object.entries(wanted.inputs ?? {})) {
        expect(run.made.findLast((task) => task.node === node)?.input, `input of ${node}`).toEqual(input);
      }
      for (const [node, iteration] of Object.entries(wanted.iterations ?? {})) {
        expect(run.state.nodes.get(node)?.iteration, `iteration of ${node}`).toBe(iteration);
      }
      expect(run.conditions.filter((condition) => condition === "Parked")).toEqual(wanted.conditions ?? []);
    });
  });
}

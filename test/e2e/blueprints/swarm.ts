// The blueprint swarm: a map that collects failures, and a quorum of judges.
// Read by blueprints.test.ts.

import { expect } from "vitest";
import type { BlueprintCase } from "./blueprint_case.ts";

const VOTED = { inspect: "SUCCEEDED", gathered: "SUCCEEDED", strict: "SUCCEEDED", lenient: "SUCCEEDED" };
const NOBODY_WAITED_FOR = { slow: "CANCELLED", verdict: "SUCCEEDED" };

/** See the file header. */
export const swarm: BlueprintCase = [
  {
    shows: "items keep their order, a failed one is collected, and the third judge keeps nobody waiting",
    workflow: "config-sweep",
    parameters: {
      services: [
        { name: "a", config: "debug=true\ntimeout=1s" },
        { name: "b", config: "timeout" },
        { name: "c", config: "timeout=1s" },
        { name: "d", config: "\n# x\ntimeout=1s\ntls=on" },
      ],
    },
    output: {
      release: "stop",
      votes: [
        { vote: "stop", why: "1 services have findings, 1 could not be read" },
        { vote: "go", why: "findings in 1 services can wait" },
      ],
      findings: [{ service: "a", findings: ["debug is on"] }],
      unreadable: ["tool check_config failed with ExitStatus: the command exited with 2: b: line 1 is not KEY=VALUE"],
    },
    nodes: { ...VOTED, ...NOBODY_WAITED_FOR },
    async also(stage, run) {
      const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
      const items = tasks.filter(({ node }) => node === "inspect").map(({ item }) => item);
      expect(items.sort()).toEqual([0, 1, 2, 3]);
      const cancelled = await stage.trail(run, "task.cancelled");
      expect(cancelled.map(({ detail }) => detail.node)).toEqual(["slow"]);
      expect((await stage.client.fleet.listLeases({ runId: run.id })).leases).toEqual([]);
    },
  },
];

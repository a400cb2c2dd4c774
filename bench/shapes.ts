// The workflows that are measured by throughput, and what each run of them leaves in the audit trail.
// Read by throughput.ts, scale.ts, mem.ts and growth.ts. Tables only.

import { WORKFLOWS } from "./manifests.ts";
import type { PeerShape } from "./peers/names.ts";
import type { RecordsARun } from "./trail.ts";

/** A workflow that is measured by its throughput. */
export interface Shape {
  readonly workflow: string;
  readonly tasksARun: number;
  readonly toolCallsARun: number;
  readonly records: RecordsARun;
  /** What peers run in its place; see docs/benchmarks.md for why tools has the three steps. */
  readonly peers: PeerShape;
}

const ONE = { "run.created": 1, "task.leased": 1, "task.succeeded": 1 };

/** The shapes by the name of their suite. */
export const SHAPES = {
  noop: { workflow: WORKFLOWS.noop, tasksARun: 1, toolCallsARun: 0, records: ONE, peers: "noop" },
  steps3: {
    ...{ workflow: WORKFLOWS.steps3, tasksARun: 3, toolCallsARun: 0, peers: "steps3" },
    records: { "run.created": 1, "task.leased": 3, "task.succeeded": 3 },
  },
  tools: {
    ...{ workflow: WORKFLOWS.tools, tasksARun: 1, toolCallsARun: 1, peers: "steps3" },
    records: { ...ONE, "turn.recorded": 2, "tool.granted": 1, "tool.result": 1 },
  },
} as const satisfies Readonly<Record<string, Shape>>;

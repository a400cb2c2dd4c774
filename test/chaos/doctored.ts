// Evidence of a small chaos run that is sound, for the tests of the checker to break in one place.
// Used by the tests of this folder.

import type { AuditRow, Facts } from "./checker/facts.ts";
import { INVARIANTS } from "./checker/invariants.ts";

/** Evidence that may be changed. */
export type Doctored = {
  -readonly [Name in keyof Facts]: Facts[Name] extends readonly (infer Row)[] ? Row[] : Facts[Name];
};

let nextId = 0;
/** One record of the trail, after those before it. */
export function record(kind: string, actor: string, detail: object, more: Partial<AuditRow> = {}): AuditRow {
  nextId += 1;
  return { id: String(nextId), ms: 1_000 + nextId, kind, run_id: "run_1", task_id: "task_1", actor, detail, ...more };
}

/** One run of a workflow with one task and one effect, as it should be. */
export function clean(): Doctored {
  nextId = 0;
  return {
    history: [
      { at: 1_000, type: "invoke", key: "k1", workflow: "wire", op: "k1" },
      { at: 1_001, type: "ok", key: "k1", run: "run_1", duplicate: false },
    ],
    runs: [
      {
        ...{ id: "run_1", workflow: "wire", state: "SUCCEEDED", conditions: [], idempotency_key: "k1", end_ms: 1_010 },
        output: '{"receipt":"k1/wire#1"}',
      },
    ],
    tasks: [
      {
        ...{ id: "task_1", run_id: "run_1", node: "wire", iteration: 0, item: 0, agent: "wire", state: "SUCCEEDED" },
        ...{ attempt: 1, origin_task_id: "task_1", replay_of: null },
      },
    ],
    nodes: [{ run_id: "run_1", node: "wire", state: "SUCCEEDED", open_tasks: 0 }],
    calls: [
      {
        ...{ request_id: "auto:task_1/1/0", run_id: "run_1", task_id: "task_1", tool: "once", state: "done" },
        grant_id: "gra_1",
      },
    ],
    journal: [
      { task_id: "task_1", sequence: 1, kind: "turn" },
      { task_id: "task_1", sequence: 2, kind: "result" },
    ],
    deadLetters: [],
    leases: [],
    ready: [],
    audit: [
      record("run.created", "dev", {
        transitions: [
          { of: "run", to: "RUNNING" },
          { of: "node", node: "wire", to: "ACTIVE" },
          { of: "task", taskId: "task_1", to: "READY" },
        ],
      }),
      record("task.leased", "server", { worker: "w1", attempt: 1 }),
      record("turn.recorded", "worker:w1", { sequence: 1 }),
      record("tool.granted", "worker:w1", { requestId: "auto:task_1/1/0", grantId: "gra_1" }),
      record("tool.result", "worker:w1", { requestId: "auto:task_1/1/0", grantId: "gra_1", ok: true }),
      record("task.succeeded", "worker:w1", {
        attempt: 1,
        transitions: [
          { of: "node", node: "wire", to: "SUCCEEDED" },
          { of: "run", to: "SUCCEEDED" },
        ],
      }),
    ],
    operations: [{ op: "k1/wire", path: "/once", arrivals: 1, effects: 1, receipts: ["k1/wire#1"] }],
    deniedCalls: 0,
    unexpectedExits: [],
  };
}

/** The names of the broken promises, and all witnesses in one text. */
export function judged(facts: Facts) {
  const found = Object.values(INVARIANTS).flatMap((judge) => judge(facts));
  return {
    names: [...new Set(found.map(({ invariant }) => invariant))],
    text: found.map((one) => one.witness).join("\n"),
  };
}

/** The first row. */
export const first = <Row>(rows: readonly Row[]): Row => rows[0] as Row;

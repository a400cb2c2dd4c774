// The checker against doctored evidence: clean evidence has no violation, each broken promise is reported with its witness, also as each
// planted bug would leave it; evidence that cannot be read is never green.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { command } from "../../scripts/command.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import type { AuditRow } from "./checker/facts.ts";
import { measure } from "./checker/measures.ts";
import { clean, type Doctored, first, judged, record } from "./doctored.ts";

test("clean evidence has no violation", () => {
  expect(judged(clean())).toEqual({ names: [], text: "" });
});

const takenOver = (facts: Doctored) =>
  facts.audit.splice(2, 0, record("task.leased", "server", { worker: "w2", attempt: 1 }));

test.each<[string, string, string, (facts: Doctored) => void]>([
  ["a run that is gone", "lost", "run_1 of key k1 was acknowledged and is gone", (facts) => facts.runs.splice(0)],
  [
    "an invocation that nobody answers",
    "lost",
    "invocation k2 was never answered",
    (facts) => facts.history.push({ at: 1_002, type: "given_up", key: "k2" }),
  ],
  [
    "a run that never ends",
    "lost",
    "run_1 is still RUNNING",
    (facts) => {
      facts.runs = [{ ...first(facts.runs), state: "RUNNING" }];
    },
  ],
  [
    "a lease that stays",
    "lost",
    "task_1 is still leased to w1",
    (facts) => facts.leases.push({ task_id: "task_1", run_id: "run_1", worker: "w1" }),
  ],
  [
    "a node that counts tasks",
    "lost",
    "wire of run_1 counts open tasks",
    (facts) => {
      facts.nodes = [{ ...first(facts.nodes), open_tasks: 1 }];
    },
  ],
  ["an effect that never was", "lost", "SUCCEEDED without its effect", (facts) => facts.operations.splice(0)],
  [
    "a task that ended twice",
    "double_accepted",
    "task_1 ended 2 times",
    (facts) => facts.audit.push(record("task.failed", "worker:w1", { attempt: 1 })),
  ],
  [
    "a node that was queued twice",
    "double_accepted",
    "was queued 2 times: task_1 task_2",
    (facts) => facts.tasks.push({ ...first(facts.tasks), id: "task_2", origin_task_id: "task_2" }),
  ],
  [
    "a run that ended twice",
    "double_accepted",
    "run_1 ended 2 times",
    (facts) => facts.audit.push(record("run.finished", "server", { transitions: [{ of: "run", to: "FAILED" }] })),
  ],
  ["a turn of a worker without a lease", "stale_accepted", "while w2 held it".replace("w2", "worker:w2"), takenOver],
  [
    "two effects with one key",
    "duplicate_effects",
    "k1/wire had 2 effects",
    (facts) => {
      facts.operations = [{ ...first(facts.operations), path: "/honour", arrivals: 2, effects: 2 }];
    },
  ],
  ["a state without a record", "unaudited", "task_1 is SUCCEEDED without a record", (facts) => facts.audit.pop()],
  [
    "a grant without a record",
    "unaudited",
    "has the grant gra_1 without a record",
    (facts) => facts.audit.splice(3, 1),
  ],
  ["a result without a record", "unaudited", "is done without a record", (facts) => facts.audit.splice(4, 1)],
  ["a turn without a record", "unaudited", "turn 1 of task_1 has no record", (facts) => facts.audit.splice(2, 1)],
  [
    "a journal with a gap",
    "journal_gap",
    "journal of task_1: 1 3",
    (facts) => {
      facts.journal = [first(facts.journal), { task_id: "task_1", sequence: 3, kind: "result" }];
    },
  ],
  [
    "a turn that is asked again after its calls",
    "wrong_replays",
    "turn 1 of task_1 was asked again after its calls",
    (facts) => facts.audit.splice(5, 0, record("turn.recorded", "worker:w1", { sequence: 1 })),
  ],
  [
    "a call whose result is on record",
    "wrong_replays",
    "auto:task_1/1/0 was granted again, its result is known since record 5",
    (facts) => facts.audit.splice(5, 0, { ...(facts.audit[3] as AuditRow), id: "9" }),
  ],
  [
    "a process that ended by itself",
    "unexpected_exits",
    "server 1 ended with 1",
    (facts) => {
      facts.unexpectedExits = ["server 1 ended with 1"];
    },
  ],
])("%s is reported as %s, with its witness", (_what, name, witness, doctor) => {
  const facts = clean();
  doctor(facts);
  const { names, text } = judged(facts);
  expect(names).toContain(name);
  expect(text).toContain(witness);
});

const stranded = (facts: Doctored, state: string) => {
  facts.runs = [{ ...first(facts.runs), state: "RUNNING", output: null }];
  facts.tasks = [{ ...first(facts.tasks), state }];
};

// What each planted bug does to a run; 07 (a deadline by a process clock) ends tasks too early and leaves sound evidence.
test.each<[string, string, (facts: Doctored) => void]>([
  ["01_complete_by_id_only", "stale_accepted", takenOver],
  [
    "02_complete_by_state_only",
    "double_accepted",
    (facts) => {
      takenOver(facts);
      facts.audit.push(record("task.succeeded", "worker:w2", { attempt: 1 }));
    },
  ],
  ["03_reap_by_id", "lost", (facts) => stranded(facts, "READY")],
  ["04_audit_after_commit", "unaudited", (facts) => facts.audit.pop()],
  [
    "05_enqueue_outside_transaction",
    "lost",
    (facts) => {
      facts.runs = [{ ...first(facts.runs), state: "RUNNING", output: null }];
    },
  ],
  ["06_lease_by_delivery_number", "stale_accepted", takenOver],
  [
    "08_cached_result_for_other_arguments",
    "lost",
    (facts) => {
      facts.runs = [{ ...first(facts.runs), output: '{"receipt":"k9/wire#1"}' }];
    },
  ],
  [
    "09_commit_error_retried_blindly",
    "double_accepted",
    (facts) => {
      facts.runs.push({ ...first(facts.runs), id: "run_2" });
    },
  ],
  [
    "10_policy_cached_across_versions",
    "duplicate_effects",
    (facts) => {
      facts.deniedCalls = 1;
    },
  ],
  [
    "11_grant_not_bound_to_arguments",
    "duplicate_effects",
    (facts) => {
      facts.operations = [{ ...first(facts.operations), arrivals: 2 }];
    },
  ],
  [
    "12_cancelled_task_requeued",
    "lost",
    (facts) => {
      facts.runs = [{ ...first(facts.runs), state: "CANCELLED" }];
      facts.tasks = [{ ...first(facts.tasks), state: "READY" }];
    },
  ],
  [
    "13_notify_without_polling",
    "lost",
    (facts) => {
      stranded(facts, "READY");
      facts.ready.push({ task_id: "task_1", run_id: "run_1" });
    },
  ],
  [
    "14_deliveries_not_counted",
    "lost",
    (facts) => {
      stranded(facts, "READY");
      facts.leases.push({ task_id: "task_1", run_id: "run_1", worker: "w7" });
    },
  ],
  [
    "15_error_handler_that_swallows",
    "lost",
    (facts) => {
      facts.runs.splice(0);
    },
  ],
])("what %s leaves is reported", (_bug, name, doctor) => {
  const facts = clean();
  doctor(facts);
  expect(judged(facts).names).toContain(name);
});

test("a parked task is not lost, and one acknowledgement told twice is no second run", () => {
  const facts = clean();
  facts.runs = [{ ...first(facts.runs), state: "RUNNING", conditions: ["Parked"], output: null }];
  facts.tasks = [{ ...first(facts.tasks), state: "DEAD_LETTERED" }];
  facts.audit.pop();
  facts.audit.push(record("task.dead_lettered", "worker:w1", { attempt: 1, cause: "unknown_outcome" }));
  facts.nodes = [{ ...first(facts.nodes), state: "ACTIVE" }];
  facts.deadLetters = [
    { task_id: "task_1", run_id: "run_1", cause: "unknown_outcome", state: "open", replay_task_id: null },
  ];
  facts.history.push({ at: 1_002, type: "ok", key: "k1", run: "run_1", duplicate: true });
  expect(judged(facts)).toEqual({ names: [], text: "" });
  expect(measure(facts).unknown_outcomes).toBe(1);
});

test("measures redispatch from the kill to the next lease of another worker, and facts before a fault", () => {
  const facts = clean();
  facts.history.push({
    at: 1_004,
    type: "worker_killed",
    worker: "w1",
    phase: "any",
    tasks: ["task_1"],
    settled: true,
  });
  facts.audit.push(record("task.leased", "server", { worker: "w2", attempt: 1 }, { ms: 3_104 }));
  expect(measure(facts)).toMatchObject({ redispatches: 1, redispatch_p95_ms: 2_100, operations_before_fault_p50: 3 });
});

test("the program judges a folder of evidence, and fails on one that it cannot read", async () => {
  const folder = await mkdtemp(join(tmpdir(), "orloj-checker-"));
  atEndOfFile(() => rm(folder, { recursive: true, force: true }));
  const facts = clean();
  const { runs, tasks, nodes, calls, leases, history, journal, ready, audit, deadLetters, ...outside } = facts;
  const tables = {
    run: runs,
    task: tasks,
    node_state: nodes,
    tool_call: calls,
    dead_letter: deadLetters,
    lease: leases,
    history,
    journal,
    ready,
  };
  for (const [name, rows] of Object.entries({ ...tables, audit_event: audit })) {
    await writeFile(join(folder, `${name}.jsonl`), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  }
  await writeFile(join(folder, "outside.json"), JSON.stringify(outside));
  const run = (evidence: string) => command("node", ["test/chaos/checker/main.ts", evidence]);
  const whole = await run(folder);
  expect(JSON.parse(whole.stdout)).toMatchObject({ violations: [], counts: { lost: 0 }, measures: { tasks: 1 } });
  await rm(join(folder, "lease.jsonl"));
  expect((await run(folder)).code).not.toBe(0);
});

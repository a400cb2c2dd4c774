// The checker about parked tasks: a replay that is sound, and every way in which one is not, is told from the evidence.

import { expect, test } from "vitest";
import type { AuditRow } from "./checker/facts.ts";
import { measure } from "./checker/measures.ts";
import { clean, type Doctored, first, judged, record } from "./doctored.ts";

/** The same run, whose task was parked as nobody knew the outcome, and replayed after a person had found out. */
function replayed(): Doctored {
  const facts = clean();
  const parked = { ...first(facts.tasks), state: "DEAD_LETTERED" };
  facts.tasks = [parked, { ...first(facts.tasks), id: "task_2", replay_of: "task_1" }];
  facts.deadLetters = [
    { task_id: "task_1", run_id: "run_1", cause: "unknown_outcome", state: "replayed", replay_task_id: "task_2" },
  ];
  facts.journal = [first(facts.journal), ...facts.journal.map((row) => ({ ...row, task_id: "task_2" }))];
  const toldResults = { "auto:task_1/1/0": "digest" };
  facts.audit.splice(
    ...([4, 2] as const),
    record("task.dead_lettered", "server", { attempt: 1, cause: "unknown_outcome" }),
    record("dead_letter.replayed", "user:dev", { replayTaskId: "task_2", toldResults }),
    record("task.leased", "server", { worker: "w2", attempt: 1 }, { task_id: "task_2" }),
    record("task.succeeded", "worker:w2", { ...facts.audit[5]?.detail }, { task_id: "task_2" }),
  );
  for (const duplicate of [true, false])
    facts.history.push({ at: 1_020, type: "replayed", task: "task_1", replay: "task_2", duplicate });
  return facts;
}

test("a replay that inherits a turn and a told result is sound, and counted", () => {
  const facts = replayed();
  expect(judged(facts)).toEqual({ names: [], text: "" });
  expect(measure(facts)).toMatchObject({ replays: 1, discards: 0 });
});

test.each<[string, string, (facts: Doctored) => void]>([
  [
    "a parked task without a dead letter",
    "task_1 is parked without a dead letter",
    (facts) => facts.deadLetters.splice(0),
  ],
  [
    "a run that waits for nobody",
    "run_1 is parked, and none of its dead letters is open",
    (facts) => {
      facts.runs = [{ ...first(facts.runs), state: "RUNNING", conditions: ["Parked"], end_ms: null }];
    },
  ],
  [
    "a replay that happened twice",
    "task_1 is replayed, and its replays are: task_2 task_3",
    (facts) => facts.tasks.push({ ...(facts.tasks[1] as Doctored["tasks"][number]), id: "task_3" }),
  ],
  ["a replay that never was", "task_1 is replayed, and its replays are: ", (facts) => facts.tasks.pop()],
  [
    "a replay without a record",
    "task_1 is replayed, and its records are: ",
    (facts) => {
      facts.audit = facts.audit.filter(({ kind }) => kind !== "dead_letter.replayed");
    },
  ],
  [
    "a replay of what was given up",
    "task_2 replays task_1, which was not replayed",
    (facts) => {
      facts.deadLetters = [{ ...first(facts.deadLetters), state: "discarded", replay_task_id: null }];
    },
  ],
  [
    "a replay that was begun for two",
    "replay of task_1 was begun 2 times",
    (facts) => facts.history.push({ at: 1_021, type: "replayed", task: "task_1", replay: "task_2", duplicate: false }),
  ],
  [
    "a replay that is another one than was told",
    "replay of task_1 was acknowledged as task_9, and is task_2",
    (facts) => facts.history.push({ at: 1_021, type: "replayed", task: "task_1", replay: "task_9", duplicate: true }),
  ],
  [
    "a discard that did not last",
    "discard of task_1 was acknowledged, and it is replayed",
    (facts) => facts.history.push({ at: 1_021, type: "discarded", task: "task_1" }),
  ],
  [
    "a told result that was asked for again",
    "auto:task_1/1/0 was granted again",
    (facts) => facts.audit.push({ ...(facts.audit[3] as AuditRow), id: "99", task_id: "task_2" }),
  ],
])("%s is reported among the wrong replays", (_what, witness, doctor) => {
  const facts = replayed();
  doctor(facts);
  const { names, text } = judged(facts);
  expect(names).toContain("wrong_replays");
  expect(text).toContain(witness);
});

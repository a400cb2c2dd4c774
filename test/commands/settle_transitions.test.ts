// Every row of the task table, driven through the commands; the list of scenarios is complete by its type and by a test.

import { describe, expect, test } from "vitest";
import type { Decision } from "../../server/policy/types.ts";
import { isListed, TASK_TRANSITIONS, type TaskState } from "../../server/queue/states.ts";
import { BROKEN, commandStage, DONE, lostOf, outcomeOf, stopOf, TIMEOUT } from "./command_stage.ts";

const stage = await commandStage();
const CANCELLED = { type: "cancelled" } as const;
const DENIAL = {
  ...{ checkpoint: "tool.call", allowed: false, reason: "undeclared", decidedBy: "", message: "" },
  ...{ policyRevision: "1", nowMs: 1, inputDigest: "", verdicts: [] },
} as unknown as Decision;

async function leased(workflow = "one") {
  const runId = await stage.start(workflow);
  const held = (await stage.claimAs("ses_a")).assigned.find((one) => one.task.run_id === runId);
  if (held === undefined) throw new Error("nothing was claimed");
  return { runId, held, taskId: held.task.id };
}

async function ready() {
  const runId = await stage.start("one");
  return { runId, taskId: (await stage.tasksOf(runId))[0]?.id ?? "" };
}

async function waiting() {
  const { held, runId, taskId } = await leased();
  await stage.settle(outcomeOf(held, TIMEOUT));
  return { runId, taskId };
}

// Each returns its task, and the state that it is in before the event.
const SCENARIOS: Record<string, () => Promise<{ taskId: string }>> = {
  "WAITING wake": async () => {
    const { taskId } = await waiting();
    await stage.makeDue(taskId);
    await stage.settle({ type: "wake", taskId });
    return { taskId };
  },
  "WAITING cancel": async () => {
    const { taskId, runId } = await waiting();
    await stage.settle(stopOf(runId));
    return { taskId };
  },
  "WAITING time_out": async () => {
    const { taskId, runId } = await waiting();
    await stage.settle(stopOf(runId, "timed_out"));
    return { taskId };
  },
  "READY claim": async () => {
    const { taskId } = await leased();
    return { taskId };
  },
  "READY cancel": async () => {
    const { taskId, runId } = await ready();
    await stage.settle(stopOf(runId));
    return { taskId };
  },
  "READY time_out": async () => {
    const { taskId, runId } = await ready();
    await stage.settle(stopOf(runId, "timed_out"));
    return { taskId };
  },
  "LEASED succeed": async () => {
    const { held, taskId } = await leased();
    await stage.settle(outcomeOf(held, DONE));
    return { taskId };
  },
  "LEASED fail": async () => {
    const { held, taskId } = await leased();
    await stage.settle(outcomeOf(held, BROKEN));
    return { taskId };
  },
  "LEASED retry": waiting,
  "LEASED requeue": async () => {
    const { held, taskId } = await leased();
    await stage.settle(outcomeOf(held, { type: "interrupted", reason: "draining" }));
    return { taskId };
  },
  "LEASED cancel": async () => {
    const { held, taskId, runId } = await leased();
    await stage.settle(stopOf(runId));
    await stage.settle(outcomeOf(held, CANCELLED));
    return { taskId };
  },
  "LEASED time_out": async () => {
    const { held, taskId, runId } = await leased();
    await stage.settle(stopOf(runId, "timed_out"));
    await stage.settle(outcomeOf(held, CANCELLED));
    return { taskId };
  },
  "LEASED deny": async () => {
    const { held, taskId } = await leased();
    const { token, sessionId } = held;
    await stage.settle({ type: "denied", taskId, token, sessionId, decision: DENIAL, subject: {} });
    return { taskId };
  },
  "LEASED park": async () => {
    const { held, taskId } = await leased();
    const { token, sessionId } = held;
    await stage.settle({ type: "park", taskId, token, sessionId, failure: { class: "UnknownOutcome", message: "?" } });
    return { taskId };
  },
};

const rows = Object.entries(TASK_TRANSITIONS).flatMap(([from, events]) =>
  Object.entries(events as Record<string, TaskState>).map(([event, to]) => ({ from, event, to })),
);

async function stateOf(taskId: string): Promise<TaskState> {
  const { state, run_id } = await stage.task(taskId);
  const lease = (await stage.leases(run_id)).some((row) => row.task_id === taskId);
  return state === "READY" && lease ? "LEASED" : (state as TaskState);
}

describe("every row of the task table", () => {
  test("has a scenario here, and no scenario is without a row", () => {
    expect(Object.keys(SCENARIOS).sort()).toEqual(rows.map(({ from, event }) => `${from} ${event}`).sort());
  });

  test.each(rows)("$from, $event → $to, with one record more", async ({ from, event, to }) => {
    const { taskId } = await (SCENARIOS[`${from} ${event}`] as () => Promise<{ taskId: string }>)();
    expect(await stateOf(taskId)).toBe(to);
    const { run_id } = await stage.task(taskId);
    const queued = (await stage.queued(run_id)).map((row) => row.task_id);
    expect(queued).toEqual(to === "READY" ? [taskId] : []);
    expect((await stage.leases(run_id)).length).toBe(to === "LEASED" ? 1 : 0);
    // One record of its own for each change of the task after its creation.
    const changes = { WAITING: 3, READY: 1, LEASED: 2 }[from as "WAITING"];
    expect((await stage.records(taskId)).map((record) => record.kind)).toHaveLength(changes);
    await stage.settle(stopOf(run_id));
    for (const { task, token } of (await stage.claimAs("ses_sweep")).assigned)
      await stage.settle(lostOf({ task, token }, "revoked"));
  });

  test("refuses what is not listed: terminal states take nothing", async () => {
    for (const from of Object.keys(TASK_TRANSITIONS) as TaskState[]) {
      expect(isListed(TASK_TRANSITIONS, from, from)).toBe(false);
    }
    const { held, taskId } = await leased();
    await stage.settle(outcomeOf(held, DONE));
    const before = await stage.everything();
    expect(await stage.settle({ type: "wake", taskId })).toEqual([{ verdict: "duplicate" }]);
    expect(await stage.settle(lostOf(held, "revoked"))).toEqual([{ verdict: "lease_lost" }]);
    expect(await stage.everything()).toBe(before);
  });
});

describe("a run that stops", () => {
  test("gives leased tasks the grace, then takes their leases and ends, with the worker silent", async () => {
    const { runId, held, taskId } = await leased();
    await stage.settle(stopOf(runId));
    expect(stage.cancels.at(-1)).toMatchObject({ taskId, token: held.token, reason: "user", graceMs: 5_000 });
    const stopping = await stage.run(runId);
    expect(stopping.state).toBe("CANCELLING");
    expect(stopping.due_time?.getTime()).toBeLessThanOrEqual(Date.now() + 5_000);
    expect(await stage.settle({ type: "run_due", runId })).toEqual([{ verdict: "duplicate" }]);
    await stage.database.pool.query("update run set due_time = clock_timestamp() where id = $1", [runId]);
    expect(await stage.settle({ type: "run_due", runId })).toEqual([{ verdict: "committed" }]);
    expect(await stage.run(runId)).toMatchObject({ state: "CANCELLED", due_time: null });
    expect(await stage.leases(runId)).toEqual([]);
    expect(await stage.task(taskId)).toMatchObject({ state: "CANCELLED" });
    expect(await stage.settle(outcomeOf(held, DONE))).toEqual([{ verdict: "lease_lost" }]);
  });

  test("keeps its first cause, and a late success is recorded but advances nothing", async () => {
    const { runId, held } = await leased("chain");
    await stage.settle(stopOf(runId, "timed_out"));
    expect(await stage.settle(stopOf(runId))).toEqual([{ verdict: "duplicate" }]);
    expect(await stage.settle(outcomeOf(held, DONE))).toEqual([{ verdict: "committed" }]);
    expect(await stage.run(runId)).toMatchObject({ state: "TIMED_OUT", cause: "timed_out" });
    expect(await stage.nodes(runId)).toEqual({ first: "SUCCEEDED", second: "CANCELLED" });
    expect(await stage.settle(stopOf(runId))).toEqual([{ verdict: "duplicate" }]);
  });

  test("whose deadline passed times out; one that is due later is left alone", async () => {
    const { runId, taskId } = await ready();
    expect(await stage.settle({ type: "run_due", runId })).toEqual([{ verdict: "duplicate" }]);
    await stage.database.pool.query("update run set due_time = clock_timestamp() where id = $1", [runId]);
    expect(await stage.settle({ type: "run_due", runId })).toEqual([{ verdict: "committed" }]);
    expect(await stage.run(runId)).toMatchObject({ state: "TIMED_OUT", failure_class: "Timeout" });
    expect(await stage.task(taskId)).toMatchObject({ state: "TIMED_OUT" });
  });

  test("with a leased sibling records what it cancelled as stopping, not as finished", async () => {
    const runId = await stage.start("wide");
    const assigned = (await stage.claimAs("ses_a")).assigned.filter((one) => one.task.run_id === runId);
    const left = assigned.find((one) => one.task.node === "left");
    if (left === undefined) throw new Error("left was not claimed");
    await stage.settle(outcomeOf(left, DONE), stopOf(runId));
    const kinds = (await stage.records(runId)).map((record) => record.kind);
    expect(kinds).not.toContain("run.finished");
    expect(await stage.run(runId)).toMatchObject({ state: "CANCELLING" });
    expect((await stage.tasksOf(runId)).map((task) => task.state).sort()).toEqual(["CANCELLED", "READY", "SUCCEEDED"]);
  });
});

test("every change of state in a run is in its trail exactly once", async () => {
  const { runId, held } = await leased("chain");
  await stage.settle(outcomeOf(held, DONE));
  const [next] = (await stage.claimAs("ses_a")).assigned;
  if (next === undefined) throw new Error("second was not claimed");
  await stage.settle(outcomeOf(next, BROKEN));
  const transitions = (await stage.records(runId)).flatMap(
    (record) => (record.detail["transitions"] ?? []) as { of: string; node?: string; from?: string; to: string }[],
  );
  const walk = (of: string, node?: string) =>
    transitions.filter((step) => step.of === of && step.node === node).map((step) => step.to);
  // With nothing live left, stopping and ending is one step.
  expect(walk("run")).toEqual(["RUNNING", "FAILED"]);
  expect(walk("node", "first")).toEqual(["ACTIVE", "SUCCEEDED"]);
  expect(walk("node", "second")).toEqual(["ACTIVE", "FAILED"]);
  expect(walk("task", "second")).toEqual(["READY"]);
});

// What retention removes and what it keeps, on a real database: each rule, two replicas at once, and a death in the middle.

import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { seededRandom } from "../../kit/random.ts";
import { DAY, HOUR } from "../../kit/units.ts";
import { removeExpiredAudit, removeExpiredRuns, removeLeftovers } from "../../server/commands/remove_expired.ts";
import { Retention } from "../../server/dispatch/retention.ts";
import { Sealer } from "../../server/dispatch/sealer.ts";
import { createStore, type Store } from "../../server/storage/store.ts";
import { problemsOf } from "../audit/trail_lines.ts";
import { commandStage, DONE, outcomeOf } from "./command_stage.ts";

const stage = await commandStage();
const { store, database } = stage;
const KEPT = { runsMs: 90 * DAY, deadLettersMs: 30 * DAY };
const query = async (text: string, values: unknown[] = []) => (await database.pool.query(text, values)).rows;

async function finished(days: number): Promise<string> {
  const runId = await stage.start("one");
  const { assigned } = await stage.claimAs("ses_a");
  await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)));
  await query("update run set end_time = clock_timestamp() - $2 * interval '1 day' where id = $1", [runId, days]);
  return runId;
}

const taskOf = async (runId: string) => (await stage.tasksOf(runId))[0]?.id as string;
const exists = async (runId: string) => (await query("select 1 from run where id = $1", [runId])).length === 1;
const sweep = async (kept = KEPT) => {
  while (await removeExpiredRuns(store, kept));
};

async function ledgerRow(runId: string, requestId: string, expire: string): Promise<void> {
  await query(
    `insert into tool_call (request_id, namespace, run_id, task_id, tool, tool_generation, effect, arguments_digest, state,
      attempt, grant_id, grant_token, grant_expire_time, expire_time, turn_sequence, call_index)
    values ($1, 'default', $2, $3, 't', 1, 'write', 'd', 'done', 1, 'g', 'k', clock_timestamp(), ${expire}, 1, 0)`,
    [requestId, runId, await taskOf(runId)],
  );
}

async function sealAll(): Promise<void> {
  const sealer = new Sealer(stage.context, systemClock());
  while ((await sealer.once()) !== "idle");
}

test("a finished run goes with its nodes, tasks, journal and ledger when it is over its time, and a record says so", async () => {
  const old = await finished(91);
  const young = await finished(89);
  const task = await taskOf(old);
  await query("insert into journal (task_id, sequence, kind, payload) values ($1, 1, 'turn', '{}')", [task]);
  await ledgerRow(old, "request_plain", "null");
  await sweep();
  expect([await exists(old), await exists(young)]).toEqual([false, true]);
  for (const [table, column, id] of [
    ...[
      ["node_state", "run_id", old],
      ["task", "run_id", old],
      ["tool_call", "run_id", old],
    ],
    ["journal", "task_id", task],
  ])
    expect(await query(`select 1 from ${table} where ${column} = $1`, [id])).toEqual([]);
  const [last] = await query(
    "select record from audit_event where kind = 'retention.removed' order by id desc limit 1",
  );
  expect(JSON.parse(last.record).detail).toMatchObject({ of: "runs", counts: { runs: 1, tasks: 1, toolCalls: 1 } });
});

test("a run that has not ended stays, however old", async () => {
  const runId = await stage.start("one");
  await query("update run set create_time = 'epoch', start_time = 'epoch' where id = $1", [runId]);
  await sweep({ runsMs: 0, deadLettersMs: 0 });
  expect(await exists(runId)).toBe(true);
  await stage.settle({ type: "stop", runId, cause: "cancelled", failure: { class: "C", message: "m" }, actor: "ana" });
});

test("a template's own retention counts, not the server's", async () => {
  const manifest = (name: string, retention: object) => ({
    ...{ apiVersion: "orloj.dev/v1", kind: "WorkflowTemplate", metadata: { name } },
    spec: { system: "one", retention },
  });
  await stage.applyAll([manifest("brief", { runs: "1h" }), manifest("lasting", { runs: "3650d" })]);
  const ended = async (workflow: string) => {
    const runId = await stage.start(workflow);
    const { assigned } = await stage.claimAs("ses_b");
    await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)));
    await query("update run set end_time = clock_timestamp() - interval '100 days' where id = $1", [runId]);
    return runId;
  };
  const brief = await ended("brief");
  const lasting = await ended("lasting");
  await sweep({ ...KEPT, runsMs: 3_000 * DAY });
  expect([await exists(brief), await exists(lasting)]).toEqual([false, true]);
  await sweep();
  expect(await exists(lasting)).toBe(true);
  await query("update run set end_time = 'epoch' where id = $1", [lasting]);
  await sweep();
  expect(await exists(lasting)).toBe(false);
});

test("a dead letter keeps its finished run until its own time is over", async () => {
  const runId = await finished(100);
  const parked = (days: number) =>
    query(
      "update task set state = 'DEAD_LETTERED', end_time = clock_timestamp() - $2 * interval '1 day' where run_id = $1",
      [runId, days],
    );
  await parked(29);
  await sweep();
  expect(await exists(runId)).toBe(true);
  await parked(31);
  await sweep();
  expect(await exists(runId)).toBe(false);
});

test("a run stays while a run that has not ended replays one of its tasks", async () => {
  const first = await finished(100);
  const replay = await finished(100);
  const live = await stage.start("one");
  for (const runId of [replay, live])
    await query("update task set origin_task_id = $2 where run_id = $1", [runId, await taskOf(first)]);
  await sweep();
  expect([await exists(first), await exists(replay)]).toEqual([true, true]);
  await stage.settle({
    type: "stop",
    runId: live,
    cause: "cancelled",
    failure: { class: "C", message: "m" },
    actor: "ana",
  });
  await sweep();
  expect([await exists(first), await exists(replay)]).toEqual([false, false]);
});

test("a declared key outlives its run until it expires", async () => {
  const runId = await finished(100);
  await ledgerRow(runId, "key:kept", "clock_timestamp() + interval '1 day'");
  await sweep();
  await removeLeftovers(store);
  expect(await query("select run_id from tool_call where request_id = 'key:kept'")).toEqual([{ run_id: runId }]);
  await query(
    "update tool_call set expire_time = clock_timestamp() - interval '1 second' where request_id = 'key:kept'",
  );
  await removeLeftovers(store);
  expect(await query("select 1 from tool_call where request_id = 'key:kept'")).toEqual([]);
});

test("a bundle that no run uses goes, and the next run of its workflow stores it again", async () => {
  const runId = await finished(100);
  const { bundle_digest: digest } = await stage.run(runId);
  await query("update bundle set create_time = clock_timestamp() - interval '2 hours'");
  await removeLeftovers(store);
  expect(await query("select 1 from bundle where digest = $1", [digest])).toHaveLength(1);
  await query("update run set end_time = 'epoch' where bundle_digest = $1 and end_time is not null", [digest]);
  await sweep();
  await removeLeftovers(store);
  expect(await query("select 1 from bundle where digest = $1", [digest])).toEqual([]);
  const next = await finished(0);
  expect(await stage.run(next)).toMatchObject({ bundle_digest: digest, state: "SUCCEEDED" });
});

test("a revoked token goes after a day; a live one stays", async () => {
  for (const [hash, revoked] of [
    ["live", null],
    ["fresh", "now"],
    ["old", "epoch"],
  ]) {
    await query(
      `insert into access_token (hash, principal_id, kind, groups, claims, roles, method, revoke_time)
      values ($1, 'p', 'user', '{}', '{}', '{}', 'm', $2)`,
      [hash, revoked],
    );
  }
  await removeLeftovers(store);
  expect(await query("select hash from access_token order by hash")).toEqual([{ hash: "fresh" }, { hash: "live" }]);
});

test("two replicas at once remove each run once", async () => {
  const ids = [];
  for (let count = 0; count < 6; count += 1) ids.push(await finished(100));
  const before = await query("select coalesce(max(id), 0)::text as id from audit_event");
  await Promise.all([sweep(), sweep(), sweep()]);
  for (const id of ids) expect(await exists(id)).toBe(false);
  const rows = await query("select record from audit_event where kind = 'retention.removed' and id > $1", [
    before[0].id,
  ]);
  const removed = rows.map(({ record }) => JSON.parse(record).detail.counts.runs as number);
  expect(removed.reduce((sum, count) => sum + count, 0)).toBe(ids.length);
});

test("a replica that dies in the middle of a batch leaves everything as it was", async () => {
  const runId = await finished(100);
  await sealAll();
  const before = await stage.everything();
  const real = createStore(database.db);
  const dying: Store = {
    ...real,
    transaction: (fn) =>
      real.transaction((tx) => fn({ ...tx, audit: { insert: () => Promise.reject(new Error("killed")) } })),
  };
  await expect(removeExpiredRuns(dying, KEPT)).rejects.toThrow();
  await expect(removeExpiredAudit(dying, 0)).rejects.toThrow();
  expect(await stage.everything()).toBe(before);
  expect(await store.read(({ segments }) => segments.beginning())).toMatchObject({ number: 0 });
  await sweep();
  expect(await exists(runId)).toBe(false);
});

test("the database refuses to change records, and to delete any but whole segments that retention marked and that are old", async () => {
  await finished(0);
  await sealAll();
  await finished(0);
  const refusals: [string, RegExp][] = [
    ["update audit_event set actor = 'x'", /append-only/],
    ["truncate audit_event", /append-only/],
    ["delete from audit_event where id = (select min(id) from audit_event)", /until retention marks/],
    ["update audit_segment set head = 'x'", /append-only/],
    ["truncate audit_segment", /append-only/],
    ["delete from audit_segment", /until retention marks/],
    ["delete from audit_removal", /append-only/],
    ["update audit_removal set head = 'x'", /only moves forward/],
    ["update audit_removal set number = 999999", /no rows/],
    [`update audit_removal set number = 1, retention_ms = ${HOUR}`, /younger than the audit retention/],
  ];
  for (const [statement, message] of refusals) await expect(query(statement), statement).rejects.toThrow(message);

  const mark = "update audit_removal set number = (select min(number) from audit_segment), retention_ms = 0";
  const inOne = async (...statements: string[]) => {
    const client = await database.pool.connect();
    try {
      await client.query("begin");
      for (const statement of statements) await client.query(statement);
    } finally {
      await client.query("rollback");
      client.release();
    }
  };
  const part = "delete from audit_event where id = (select min(id) from audit_event)";
  await expect(inOne(mark, part)).rejects.toThrow(/whole segments/);
  await expect(inOne(mark, "delete from audit_event")).rejects.toThrow(/until retention marks/);
  await expect(inOne(mark, "delete from audit_segment")).rejects.toThrow(/until retention marks/);
  await inOne(mark, "delete from audit_event where id <= (select last_id from audit_removal)");
});

test("growth is bounded: runs with a tiny retention leave every table, and the trail verifies from what is left of it", async () => {
  const tiny = { runsMs: 0, deadLettersMs: 0, auditMs: 0 };
  const retention = new Retention(stage.context, stage.store, systemClock(), seededRandom(1), tiny);
  const tables = [
    "run",
    "node_state",
    "task",
    "ready",
    "lease",
    "journal",
    "tool_call",
    "audit_event",
    "audit_segment",
    "audit_removal",
  ];
  const counts = async () => {
    const rows: Record<string, number> = {};
    for (const table of tables) rows[table] = (await query(`select count(*)::integer as n from ${table}`))[0].n;
    return rows;
  };
  const rounds = [];
  for (let round = 0; round < 4; round += 1) {
    for (let count = 0; count < 3; count += 1) await finished(0);
    await sealAll();
    await retention.sweep();
    rounds.push(await counts());
    const trail = await store.read(async ({ segments }) => {
      const start = await segments.beginning();
      return {
        ...{ start, segments: await segments.list(start.number, 100) },
        records: await segments.records("0", "999999999999999999", 1_000),
      };
    });
    expect(problemsOf(trail)).toEqual([]);
    expect(trail.start.number).toBeGreaterThan(round);
  }
  expect(rounds[3]).toEqual(rounds[1]);
  expect(rounds[3]).toMatchObject({ run: 0, node_state: 0, task: 0, audit_segment: 0, audit_removal: 1 });
  expect(rounds[3]?.["audit_event"]).toBeLessThanOrEqual(4);
});

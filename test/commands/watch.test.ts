// Watching runs and the audit trail on a real Postgres: everything once, nothing skipped, whatever order transactions commit in.

import type pg from "pg";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import type { AuditEvent } from "../../server/audit/events.ts";
import { auditRecord } from "../../server/audit/record.ts";
import { Caches } from "../../server/commands/caches.ts";
import { Changes } from "../../server/commands/changes.ts";
import { listAudit, watchAudit } from "../../server/commands/read_audit.ts";
import type { AuditFilterView, AuditRecordView, RunSnapshot } from "../../server/commands/views.ts";
import { EVENTS_MAX, watchRun } from "../../server/commands/watch_run.ts";
import { createStore } from "../../server/storage/store.ts";
import { testDatabase } from "../harness/database.ts";
import { ana } from "./command_stage.ts";
import { storeBundle, storeEvents, storeRun, storeTasks, turnEvent } from "./stored_run.ts";

const database = await testDatabase({ poolMax: 10 });
const store = createStore(database.db);
const changes = new Changes(systemClock());
const TURN: ReadonlySet<string> = new Set(["turn.recorded"]);
const context = { store, caches: new Caches(), changes };
const digest = await storeBundle(store);
const ANY: AuditFilterView = { namespace: "", runId: "", taskId: "", kinds: [] };

afterEach(() => expect(changes.size).toBe(0));

function sequencesOf(records: readonly AuditRecordView[]): number[] {
  return records.map((record) => (JSON.parse(record.recordJson) as { detail: { sequence: number } }).detail.sequence);
}

async function insert(client: pg.PoolClient, event: AuditEvent): Promise<void> {
  const { kind, namespace, run_id, task_id, actor, record } = auditRecord(event);
  const text =
    "insert into audit_event (kind, namespace, run_id, task_id, actor, record) values ($1, $2, $3, $4, $5, $6)";
  await client.query(text, [kind, namespace, run_id, task_id, actor, record]);
}

// Two transactions: the first one takes its id first and commits last.
async function overtaking(first: AuditEvent, second: AuditEvent, whileOpen: () => Promise<void>): Promise<void> {
  const client = await database.pool.connect();
  try {
    await client.query("begin");
    await insert(client, first);
    await storeEvents(store, [second]);
    await whileOpen();
    await client.query("commit");
  } finally {
    client.release();
  }
}

async function finish(runId: string, sequence: number): Promise<void> {
  await store.transaction(async (tx) => {
    await tx.runs.update([
      {
        id: runId,
        state: "SUCCEEDED",
        cause: null,
        conditions: [],
        output: '"ok"',
        failure_class: null,
        failure_message: null,
        stop_reason: null,
        start_time: new Date(),
        end_time: new Date(),
        due_time: null,
        remaining_ms: null,
        slot: null,
        queue_order: null,
      },
    ]);
    await tx.audit.insert([auditRecord(turnEvent(runId, sequence))]);
  });
}

test("watchRun sends a snapshot at once, one after each change, and ends with the run's last records", async () => {
  await storeRun(store, digest, { id: "run_w1" });
  await storeTasks(store, "run_w1", ["task_w1"]);
  await storeEvents(store, [turnEvent("run_w1", 1), turnEvent("run_w1", 2)]);
  const snapshots: RunSnapshot[] = [];
  for await (const snapshot of watchRun(context, "run_w1", new AbortController().signal)) {
    snapshots.push(snapshot);
    if (snapshots.length === 1) {
      await storeEvents(store, [turnEvent("run_w1", 3), turnEvent("run_other", 9)]);
      changes.runsChanged(["run_w1"]);
    } else if (snapshots.length === 2) {
      await finish("run_w1", 4);
      changes.runsChanged(["run_w1"]);
    }
  }
  expect(snapshots.map((snapshot) => sequencesOf(snapshot.events))).toEqual([[1, 2], [3], [4]]);
  expect(snapshots.map((snapshot) => snapshot.run.state)).toEqual(["RUNNING", "RUNNING", "SUCCEEDED"]);
  expect(snapshots.map((snapshot) => snapshot.run.edges.length)).toEqual([1, 0, 0]);
  expect(snapshots[0]?.tasks).toMatchObject([{ id: "task_w1", state: "READY" }]);
  expect(snapshots[2]?.run.outputJson).toBe('"ok"');
});

test("watchRun of a finished run sends all of its records, a thousand a snapshot, and ends", async () => {
  await storeRun(store, digest, { id: "run_w2" });
  await storeEvents(
    store,
    Array.from({ length: 2 * EVENTS_MAX + 5 }, (_, index) => turnEvent("run_w2", index)),
  );
  await finish("run_w2", 2 * EVENTS_MAX + 5);
  const sizes: number[] = [];
  const sequences: number[] = [];
  for await (const snapshot of watchRun(context, "run_w2", new AbortController().signal)) {
    sizes.push(snapshot.events.length);
    sequences.push(...sequencesOf(snapshot.events));
  }
  expect(sizes).toEqual([EVENTS_MAX, EVENTS_MAX, 6]);
  expect(sequences).toEqual(Array.from({ length: 2 * EVENTS_MAX + 6 }, (_, index) => index));
});

test("watchRun gives a record that commits late once, though a later one was given before", async () => {
  await storeRun(store, digest, { id: "run_w3" });
  const watched = watchRun(context, "run_w3", new AbortController().signal);
  expect((await watched.next()).value).toMatchObject({ events: [] });
  await overtaking(turnEvent("run_w3", 1), turnEvent("run_w3", 2), async () => {
    changes.runsChanged(["run_w3"]);
    expect(sequencesOf((await watched.next()).value?.events ?? [])).toEqual([2]);
  });
  changes.runsChanged(["run_w3"]);
  expect(sequencesOf((await watched.next()).value?.events ?? [])).toEqual([1]);
  await watched.return(undefined);
});

test("watchRun notices a change without any hint, stops at the abort, and refuses a run that is not there", async () => {
  await storeRun(store, digest, { id: "run_w4" });
  const abort = new AbortController();
  const watched = watchRun(context, "run_w4", abort.signal);
  await watched.next();
  const next = watched.next();
  await storeEvents(store, [turnEvent("run_w4", 1)]);
  expect(sequencesOf((await next).value?.events ?? [])).toEqual([1]);
  const last = watched.next();
  abort.abort();
  expect(await last).toMatchObject({ done: true });
  await expect(watchRun(context, "run_none", new AbortController().signal).next()).rejects.toMatchObject({
    reason: "RUN_NOT_FOUND",
  });
});

test("watchAudit skips no record of a transaction that commits after a later one, and repeats none", async () => {
  const abort = new AbortController();
  const seen: number[] = [];
  const watching = (async () => {
    for await (const batch of watchAudit(context, ana, { ...ANY, runId: "run_a1" }, undefined, abort.signal)) {
      seen.push(...sequencesOf(batch));
      if (seen.length >= 22) abort.abort();
    }
  })();
  await expect.poll(() => changes.size).toBe(1);
  for (let round = 0; round < 10; round += 1) {
    await overtaking(turnEvent("run_a1", 2 * round), turnEvent("run_a1", 2 * round + 1), async () =>
      changes.recorded(TURN),
    );
    changes.recorded(TURN);
  }
  await storeEvents(store, [turnEvent("run_a1", 20), turnEvent("run_a1", 21)]);
  await watching;
  expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 22 }, (_, index) => index));
});

test("watchAudit with many writers at once gives every record exactly once", async () => {
  const abort = new AbortController();
  const seen: number[] = [];
  const watching = (async () => {
    for await (const batch of watchAudit(context, ana, { ...ANY, namespace: "busy" }, undefined, abort.signal)) {
      seen.push(...sequencesOf(batch));
      if (seen.length >= 600) abort.abort();
    }
  })();
  await expect.poll(() => changes.size).toBe(1);
  await Promise.all(
    Array.from({ length: 6 }, async (_, writer) => {
      for (let batch = 0; batch < 20; batch += 1) {
        await storeEvents(
          store,
          Array.from({ length: 5 }, (_, index) => turnEvent("run_busy", writer * 100 + batch * 5 + index, "busy")),
        );
        changes.recorded(TURN);
      }
    }),
  );
  await watching;
  expect(new Set(seen).size).toBe(600);
  expect(seen.length).toBe(600);
});

test("watchAudit goes on after a given record, in batches, and starts from now without one", async () => {
  await storeEvents(
    store,
    Array.from({ length: 1_205 }, (_, index) => turnEvent("run_a2", index)),
  );
  const filter = { ...ANY, runId: "run_a2" };
  const first = (await listAudit(context, ana, filter, { pageSize: 3, pageToken: "" })).items;
  const watched = watchAudit(context, ana, filter, first[2]?.id, new AbortController().signal);
  const one = sequencesOf((await watched.next()).value ?? []);
  const two = sequencesOf((await watched.next()).value ?? []);
  await watched.return(undefined);
  expect(one.length).toBe(1_000);
  expect([...one, ...two]).toEqual(Array.from({ length: 1_202 }, (_, index) => index + 3));

  const fromNow = watchAudit(context, ana, filter, undefined, new AbortController().signal);
  const next = fromNow.next();
  await expect.poll(() => changes.size).toBe(1);
  await storeEvents(store, [turnEvent("run_a2", 7_777)]);
  expect(sequencesOf((await next).value ?? [])).toEqual([7_777]);
  await fromNow.return(undefined);
});

test("watchAudit repeats nothing before a given record though an older transaction is still open when it begins", async () => {
  const client = await database.pool.connect();
  await client.query("begin");
  await insert(client, turnEvent("run_open", 1));
  await storeEvents(
    store,
    [0, 1, 2, 3, 4].map((sequence) => turnEvent("run_a3", sequence)),
  );
  const filter = { ...ANY, runId: "run_a3" };
  const { items } = await listAudit(context, ana, filter, { pageSize: 3, pageToken: "" });
  const watched = watchAudit(context, ana, filter, items[2]?.id, new AbortController().signal);
  const next = watched.next();
  // It has looked, and looks again: the open transaction keeps everything back.
  const looked = new Promise((resolve) => setTimeout(resolve, 300, "kept back"));
  expect(await Promise.race([next, looked])).toBe("kept back");
  await client.query("rollback");
  client.release();
  expect(sequencesOf((await next).value ?? [])).toEqual([3, 4]);
  await watched.return(undefined);
});

test("listAudit filters by every field and pages in insertion order", async () => {
  await storeRun(store, digest, { id: "run_f" });
  await storeTasks(store, "run_f", ["task_of_run_f"]);
  await storeEvents(store, [
    {
      kind: "run.created",
      namespace: "filtered",
      runId: "run_f",
      actor: "ana",
      detail: {
        workflow: "flow",
        target: { generation: 1, digest: "sha256:00" },
        bundleDigest: digest,
        parametersDigest: "d",
        requester: { id: "ana", kind: "user", groups: [], claims: {}, method: "test" },
      },
    },
    { ...turnEvent("run_f", 1), namespace: "filtered" },
    { kind: "run.finished", namespace: "filtered", runId: "run_f", actor: "server", detail: { state: "SUCCEEDED" } },
    { ...turnEvent("run_g", 2), namespace: "filtered" },
  ]);
  const kinds = async (filter: Partial<AuditFilterView>, pageSize = 100, pageToken = "") =>
    (await listAudit(context, ana, { ...ANY, namespace: "filtered", ...filter }, { pageSize, pageToken })).items.map(
      (record) => record.kind,
    );
  expect(await kinds({})).toEqual(["run.created", "turn.recorded", "run.finished", "turn.recorded"]);
  expect(await kinds({ runId: "run_f" })).toEqual(["run.created", "turn.recorded", "run.finished"]);
  expect(await kinds({ taskId: "task_of_run_f" })).toEqual(["turn.recorded"]);
  expect(await kinds({ taskId: "task_of_run_g" })).toEqual(["turn.recorded"]);
  expect(await kinds({ kinds: ["run."] })).toEqual(["run.created", "run.finished"]);
  expect(await kinds({ kinds: ["run.created", "turn."] })).toEqual(["run.created", "turn.recorded", "turn.recorded"]);
  expect(await kinds({ kinds: ["run"] })).toEqual([]);
  expect(await kinds({ kinds: ["%."] })).toEqual([]);
  expect(await kinds({ startTime: new Date(Date.now() + 60_000) })).toEqual([]);
  expect(
    await kinds({ startTime: new Date(Date.now() - 60_000), endTime: new Date(Date.now() + 60_000) }),
  ).toHaveLength(4);
  const { items, nextPageToken } = await listAudit(
    context,
    ana,
    { ...ANY, namespace: "filtered" },
    { pageSize: 3, pageToken: "" },
  );
  expect(items).toMatchObject([
    { runId: "run_f", taskId: "", actor: "ana", namespace: "filtered" },
    { taskId: "task_of_run_f" },
    {},
  ]);
  expect(await kinds({}, 3, nextPageToken)).toEqual(["turn.recorded"]);
});

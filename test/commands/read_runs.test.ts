// Reading runs, tasks, workers and leases from a real Postgres: views, filters, pages, errors.

import { expect, test } from "vitest";
import { Caches } from "../../server/commands/caches.ts";
import { listLeases, listWorkers, readWorker } from "../../server/commands/read_fleet.ts";
import { listRuns, listTasks, readRun, readTask } from "../../server/commands/read_runs.ts";
import type { Page, PageRequest } from "../../server/commands/views.ts";
import { createStore } from "../../server/storage/store.ts";
import { testDatabase } from "../harness/database.ts";
import { NO_EDGES, storeBundle, storeRun, storeTasks } from "./stored_run.ts";

const database = await testDatabase();
const store = createStore(database.db);
const context = { store, caches: new Caches() };
const digest = await storeBundle(store);
const FIRST = { pageSize: 0, pageToken: "" };

async function everyPage<T>(size: number, read: (request: PageRequest) => Promise<Page<T>>): Promise<T[][]> {
  const pages: T[][] = [];
  let pageToken: string | undefined = "";
  while (pageToken !== undefined) {
    const page: Page<T> = await read({ pageSize: size, pageToken });
    pages.push([...page.items]);
    pageToken = page.nextPageToken;
  }
  return pages;
}

test("a run is read with nodes in manifest order, their outputs, and edges", async () => {
  await storeRun(store, digest, { id: "run_read" });
  await store.transaction((tx) =>
    tx.runs.updateNodes([
      {
        run_id: "run_read",
        node: "write",
        iteration: 0,
        state: "SUCCEEDED",
        unresolved: 0,
        taken: 0,
        open_tasks: 0,
        output: '{"text":"x"}',
        failure_class: null,
        failure_message: null,
        ...NO_EDGES,
      },
      {
        run_id: "run_read",
        node: "check",
        iteration: 0,
        state: "FAILED",
        unresolved: 0,
        taken: 1,
        open_tasks: 0,
        output: null,
        failure_class: "Timeout",
        failure_message: "too slow",
        ...NO_EDGES,
      },
    ]),
  );
  const run = await readRun(context, "run_read");
  expect(run).toMatchObject({
    id: "run_read",
    state: "RUNNING",
    conditions: [],
    requester: { id: "ana", kind: "user", groups: ["engineering"], claims: {}, method: "test" },
    tags: { team: "a" },
    parametersJson: "{}",
    bundleDigest: digest,
    nodes: [
      { name: "write", state: "SUCCEEDED", iteration: 0, target: "writer", outputJson: '{"text":"x"}' },
      { name: "check", state: "FAILED", target: "writer", failure: { class: "Timeout", message: "too slow" } },
    ],
    edges: [{ from: "write", to: "check", when: 'output.text != ""', otherwise: false, outcome: "succeeded" }],
  });
  expect(run.deadline?.getTime()).toBe((run.createTime as Date).getTime() + 60_000);
  expect(run).not.toHaveProperty("endTime");
  expect(run).not.toHaveProperty("outputJson");
  const lean = await readRun(context, "run_read", { edges: false, outputs: false });
  expect(lean.edges).toEqual([]);
  expect(lean.nodes[0]).not.toHaveProperty("outputJson");
});

test("the newest iteration of a node is shown", async () => {
  await storeRun(store, digest, { id: "run_loop" });
  await store.transaction((tx) =>
    tx.runs.updateNodes([
      {
        run_id: "run_loop",
        node: "write",
        iteration: 1,
        state: "PENDING",
        unresolved: 0,
        taken: 0,
        open_tasks: 0,
        output: null,
        failure_class: null,
        failure_message: null,
        ...NO_EDGES,
      },
    ]),
  );
  expect((await readRun(context, "run_loop")).nodes).toMatchObject([
    { name: "write", iteration: 1, state: "PENDING" },
    { name: "check", iteration: 0 },
  ]);
});

test("an absent run or task is told by its reason", async () => {
  await expect(readRun(context, "run_none")).rejects.toMatchObject({ reason: "RUN_NOT_FOUND" });
  await expect(listTasks(context, "run_none", FIRST)).rejects.toMatchObject({ reason: "RUN_NOT_FOUND" });
  await expect(readTask(context, "task_none")).rejects.toMatchObject({ reason: "TASK_NOT_FOUND" });
});

test("runs are listed newest first, by namespace, workflow and state, page by page", async () => {
  const ended = { state: "SUCCEEDED", end_time: new Date(), due_time: null, output: '"ok"' };
  await storeRun(store, digest, { id: "run_l1", namespace: "listed" });
  await storeRun(store, digest, { id: "run_l2", namespace: "listed", ...ended });
  await storeRun(store, digest, { id: "run_l3", namespace: "listed", workflow: "other" });
  await storeRun(store, digest, { id: "run_l4", namespace: "listed" });
  await storeRun(store, digest, { id: "run_l5", namespace: "unlisted" });
  const ids = async (filter: Parameters<typeof listRuns>[1], size = 50) =>
    (await everyPage(size, (request) => listRuns(context, filter, request))).map((page) => page.map((run) => run.id));
  expect(await ids({ namespace: "listed", states: [] })).toEqual([["run_l4", "run_l3", "run_l2", "run_l1"]]);
  expect(await ids({ namespace: "listed", states: [] }, 3)).toEqual([["run_l4", "run_l3", "run_l2"], ["run_l1"]]);
  expect(await ids({ namespace: "listed", states: [] }, 2)).toEqual([
    ["run_l4", "run_l3"],
    ["run_l2", "run_l1"],
  ]);
  expect(await ids({ namespace: "listed", workflow: "other", states: [] })).toEqual([["run_l3"]]);
  expect(await ids({ namespace: "listed", states: ["SUCCEEDED", "FAILED"] })).toEqual([["run_l2"]]);
  const [finished] = (await listRuns(context, { namespace: "listed", states: ["SUCCEEDED"] }, FIRST)).items;
  expect(finished).toMatchObject({ outputJson: '"ok"', nodes: [], edges: [], endTime: ended.end_time });
  expect(finished).not.toHaveProperty("deadline");
});

test("tasks are listed in creation order; one with a lease is LEASED and names its worker", async () => {
  await storeRun(store, digest, { id: "run_tasks" });
  await storeTasks(store, "run_tasks", ["task_b1", "task_b2", "task_b3"]);
  await store.transaction((tx) =>
    tx.leases.insert([
      {
        task_id: "task_b2",
        run_id: "run_tasks",
        token: "t",
        session_id: "ses_x",
        worker: "w1",
        attempt: 1,
        delivery: 1,
        journal_length: 0,
        withheld: [],
      },
    ]),
  );
  const pages = await everyPage(2, (request) => listTasks(context, "run_tasks", request));
  expect(pages.map((page) => page.map((task) => [task.id, task.state, task.worker]))).toEqual([
    [
      ["task_b1", "READY", ""],
      ["task_b2", "LEASED", "w1"],
    ],
    [["task_b3", "READY", ""]],
  ]);
});

test("a task is read with input, turns and tool calls", async () => {
  await storeRun(store, digest, { id: "run_task" });
  await storeTasks(store, "run_task", ["task_c1"]);
  await database.db
    .insertInto("journal")
    .values([
      { task_id: "task_c1", sequence: 1, kind: "turn", payload: '{"text":""}' },
      { task_id: "task_c1", sequence: 2, kind: "result", payload: "1", turn_sequence: 1, call_index: 0, tool: "t" },
      { task_id: "task_c1", sequence: 3, kind: "turn", payload: '{"text":"end"}' },
    ] as never)
    .execute();
  await database.db
    .insertInto("tool_call")
    .values({
      ...{
        request_id: "auto:task_c1/1/0",
        namespace: "default",
        run_id: "run_task",
        task_id: "task_c1",
        tool: "t",
        tool_generation: 1,
      },
      ...{
        effect: "read",
        arguments_digest: "sha256:11",
        state: "failed",
        attempt: 2,
        grant_id: "g",
        grant_token: "t",
      },
      ...{ turn_sequence: 1, call_index: 0 },
      ...{ grant_expire_time: new Date(), failure_class: "Http5xx", failure_message: "502", end_time: new Date() },
    })
    .execute();
  const { task, turns, toolCalls } = await readTask(context, "task_c1");
  expect(task).toMatchObject({
    id: "task_c1",
    runId: "run_task",
    inputJson: '{"topic":"x"}',
    item: -1,
    attempt: 1,
    deliveries: 0,
  });
  expect(turns.map((turn) => [turn.sequence, turn.turnJson])).toEqual([
    [1, '{"text":""}'],
    [3, '{"text":"end"}'],
  ]);
  expect(toolCalls).toMatchObject([
    {
      requestId: "auto:task_c1/1/0",
      tool: "t",
      state: "failed",
      attempt: 2,
      argumentsDigest: "sha256:11",
      failure: { class: "Http5xx" },
    },
  ]);
});

test("workers are found by session or name, with their leases; closed ones are gone", async () => {
  const session = {
    instance_id: "i",
    identity: "worker-token",
    labels: { region: "eu" },
    slots: 4,
    runtimes: ["model"],
    handlers: [],
    version: "1",
    replica_id: "rep_1",
  };
  await store.transaction(async (tx) => {
    for (const [id, name] of [
      ["ses_1", "alpha"],
      ["ses_2", "alpha"],
      ["ses_3", "beta"],
      ["ses_4", "gone"],
    ] as const) {
      await tx.sessions.open({ ...session, id, name }, "", 30_000);
    }
    await tx.sessions.setState("ses_4", "closed");
    await tx.sessions.setState("ses_3", "draining");
  });
  await storeRun(store, digest, { id: "run_fleet" });
  await storeTasks(store, "run_fleet", ["task_d1", "task_d2", "task_d3"]);
  const lease = (taskId: string, sessionId: string) => ({
    task_id: taskId,
    run_id: "run_fleet",
    token: taskId,
    session_id: sessionId,
    worker: "alpha",
    attempt: 1,
    delivery: 2,
    journal_length: 0,
    withheld: [],
  });
  await store.transaction((tx) =>
    tx.leases.insert([lease("task_d1", "ses_2"), lease("task_d2", "ses_2"), lease("task_d3", "ses_3")]),
  );

  const pages = await everyPage(2, (request) => listWorkers(context, request));
  expect(pages.flat().map((worker) => [worker.sessionId, worker.name, worker.state, worker.leases])).toEqual([
    ["ses_1", "alpha", "active", 0],
    ["ses_2", "alpha", "active", 2],
    ["ses_3", "beta", "draining", 1],
  ]);
  const found = await readWorker(context, "alpha");
  expect(found.worker).toMatchObject({ sessionId: "ses_2", labels: { region: "eu" }, slots: 4, replicaId: "rep_1" });
  expect(found.leases.map((one) => [one.taskId, one.node, one.delivery, one.accepted])).toEqual([
    ["task_d1", "write", 2, false],
    ["task_d2", "write", 2, false],
  ]);
  expect(found.leases[0]?.expireTime.getTime()).toBeGreaterThan(found.leases[0]?.claimTime.getTime() ?? 0);
  expect((await readWorker(context, "ses_1")).worker.sessionId).toBe("ses_1");
  for (const worker of ["gone", "ses_4", "nobody"])
    await expect(readWorker(context, worker)).rejects.toMatchObject({ reason: "WORKER_NOT_FOUND" });

  const ofRun = await everyPage(2, (request) => listLeases(context, { runId: "run_fleet" }, request));
  expect(ofRun.map((page) => page.map((one) => one.taskId))).toEqual([["task_d1", "task_d2"], ["task_d3"]]);
  expect((await listLeases(context, { runId: "run_none" }, FIRST)).items).toEqual([]);
});

test("a page token of another listing or filter, or a forged one, is refused", async () => {
  await storeRun(store, digest, { id: "run_p1", namespace: "paged" });
  await storeRun(store, digest, { id: "run_p2", namespace: "paged" });
  const { nextPageToken } = await listRuns(context, { namespace: "paged", states: [] }, { pageSize: 1, pageToken: "" });
  expect(nextPageToken).toBeTypeOf("string");
  const refused = { reason: "PAGE_TOKEN_INVALID" };
  const paged = { namespace: "paged", states: [] };
  await expect(
    listRuns(context, { namespace: "other", states: [] }, { pageSize: 1, pageToken: nextPageToken as string }),
  ).rejects.toMatchObject(refused);
  await expect(listWorkers(context, { pageSize: 1, pageToken: nextPageToken as string })).rejects.toMatchObject(
    refused,
  );
  const parts = JSON.parse(Buffer.from(nextPageToken as string, "base64url").toString()) as unknown[];
  const forged = [
    "x",
    "%%%",
    "W10",
    "x".repeat(5_000),
    ...[[...parts, "more"], parts.with(-1, 7), parts.with(-1, "\0"), parts.with(0, 2), { a: 1 }].map((value) =>
      Buffer.from(JSON.stringify(value)).toString("base64url"),
    ),
  ];
  for (const pageToken of forged)
    await expect(listRuns(context, paged, { pageSize: 1, pageToken })).rejects.toMatchObject(refused);
  expect(
    (await listRuns(context, paged, { pageSize: 1, pageToken: nextPageToken as string })).items.map((run) => run.id),
  ).toEqual(["run_p1"]);
});

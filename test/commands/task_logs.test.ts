// What is kept of the logs of tasks, on a real database: in order, bounded for each task, gone with the run, and followed without a gap.

import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { keepTaskLogs, TASK_LOG_BYTES_MAX, type TaskLogChunk } from "../../server/commands/keep_task_logs.ts";
import { listTaskLogs, watchTaskLogs } from "../../server/commands/read_task_logs.ts";
import { removeExpiredRuns } from "../../server/commands/remove_expired.ts";
import type { TaskLogChunkView, TaskLogsView } from "../../server/commands/task_log_views.ts";
import { commandStage, DONE, outcomeOf } from "./command_stage.ts";

const stage = await commandStage();
const { context } = stage;
const ALL = { pageSize: 0, pageToken: "" };

const line = (text: string) => `2026-01-02T03:04:05.678Z info ${text}`;

function chunk(taskId: string, lines: readonly string[], more: Partial<TaskLogChunk> = {}): TaskLogChunk {
  const text = lines.join("\n");
  return {
    ...{ task_id: taskId, attempt: 1, delivery: 0, worker: "w", lines: text, line_count: lines.length },
    ...{ bytes: text.length + 128, dropped: 0, isLater: false, ...more },
  };
}

async function started(workflow = "one") {
  const runId = await stage.start(workflow);
  const tasks = await stage.tasksOf(runId);
  return { runId, taskIds: tasks.map(({ id }) => id), taskId: tasks[0]?.id as string };
}

async function all(of: TaskLogsView, pageSize = 0): Promise<TaskLogChunkView[]> {
  const items: TaskLogChunkView[] = [];
  for (let pageToken = ""; ; ) {
    const page = await listTaskLogs(context, of, { pageSize, pageToken });
    items.push(...page.items);
    if (page.nextPageToken === undefined) return items;
    pageToken = page.nextPageToken;
  }
}

const texts = (chunks: readonly TaskLogChunkView[]) => chunks.flatMap(({ lines }) => lines.map(({ text }) => text));

test("chunks are read in the order in which they came, page by page, of a run or of one task", async () => {
  const { runId, taskId } = await started();
  for (let number = 0; number < 5; number += 1) {
    await keepTaskLogs(context, [chunk(taskId, [line(`a${number}`), line(`b${number}`)])]);
  }
  await keepTaskLogs(context, [chunk("task_nobody", [line("lost")]), chunk(taskId, [line("last")], { attempt: 2 })]);
  const expected = [0, 1, 2, 3, 4].flatMap((number) => [`a${number}`, `b${number}`]);
  expect(texts(await all({ runId }, 2))).toEqual([...expected, "last"]);
  expect(texts(await all({ taskId }))).toEqual([...expected, "last"]);
  const [first] = await all({ taskId });
  expect(first).toMatchObject({
    ...{ taskId, attempt: 1, delivery: 0, worker: "w", item: -1, dropped: 0 },
    lines: [{ time: new Date("2026-01-02T03:04:05.678Z"), level: "info", text: "a0" }, { text: "b0" }],
  });
  expect((await all({ taskId })).at(-1)?.attempt).toBe(2);
});

test("a line that is not of the form is shown as it came", async () => {
  const { taskId } = await started();
  await keepTaskLogs(context, [chunk(taskId, ["no time at all", "2026-99-99T00:00:00Z info bad", line("good")])]);
  const [read] = await all({ taskId });
  expect(read?.lines).toEqual([
    { level: "info", text: "no time at all" },
    { level: "info", text: "2026-99-99T00:00:00Z info bad" },
    { time: expect.any(Date), level: "info", text: "good" },
  ]);
});

test("a node narrows a run, and so does a time: that at which lines came, whatever the clock of their worker says", async () => {
  const { runId, taskId } = await started();
  await keepTaskLogs(context, [chunk(taskId, [line("old"), line("new")])]);
  const [{ node = "" } = {}] = await all({ runId });
  expect(texts(await all({ runId, node }))).toEqual(["old", "new"]);
  expect(await all({ runId, node: "another" })).toEqual([]);
  expect(texts(await all({ runId, since: new Date(Date.now() - 60_000) }))).toEqual(["old", "new"]);
  expect(await all({ runId, since: new Date(Date.now() + 60_000) })).toEqual([]);
});

test("a task keeps its newest 64 KiB: older chunks are emptied, and say how many lines are missing", async () => {
  const { taskId } = await started();
  const large = (mark: string) =>
    Array.from({ length: 400 }, (_, number) => line(`${mark}${number} ${"x".repeat(60)}`));
  await keepTaskLogs(context, [chunk(taskId, large("first"), { dropped: 3 })]);
  await keepTaskLogs(context, [chunk(taskId, large("second"), { attempt: 2, isLater: true })]);
  const chunks = await all({ taskId });
  expect(chunks.map(({ lines, dropped }) => [lines.length, dropped])).toEqual([
    [0, 403],
    [400, 0],
  ]);
  const { rows } = await stage.database.pool.query("select sum(bytes) from task_log where task_id = $1", [taskId]);
  expect(Number(rows[0].sum)).toBeLessThanOrEqual(TASK_LOG_BYTES_MAX);
});

test("a run or task without logs has none, one that is not there is an error", async () => {
  const { runId, taskId } = await started();
  expect(await listTaskLogs(context, { runId }, ALL)).toEqual({ items: [] });
  expect(await listTaskLogs(context, { taskId }, ALL)).toEqual({ items: [] });
  await expect(listTaskLogs(context, { runId: "run_none" }, ALL)).rejects.toMatchObject({ reason: "RUN_NOT_FOUND" });
  await expect(listTaskLogs(context, { taskId: "task_none" }, ALL)).rejects.toMatchObject({ reason: "TASK_NOT_FOUND" });
  const forged = { pageSize: 0, pageToken: Buffer.from("[1]").toString("base64url") };
  await expect(listTaskLogs(context, { runId }, forged)).rejects.toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
});

test("a watcher gets what is there, what comes, and what commits late, each once, and ends with the run", async () => {
  const { runId, taskId } = await started();
  await keepTaskLogs(context, [chunk(taskId, [line("there")])]);
  const seen: string[] = [];
  const arrived = new Map<string, () => void>();
  const waitFor = (text: string) =>
    new Promise<void>((resolve) => (seen.includes(text) ? resolve() : arrived.set(text, resolve)));
  const watching = (async () => {
    const clock = { ...systemClock(), sleep: () => systemClock().sleep(20) };
    for await (const chunks of watchTaskLogs({ ...context, clock }, { runId }, new AbortController().signal)) {
      for (const text of texts(chunks)) {
        seen.push(text);
        arrived.get(text)?.();
      }
    }
  })();
  await waitFor("there");
  // Its number is lower than that of the next chunk, and it commits after it.
  const late = await stage.database.pool.connect();
  await late.query("begin");
  const columns = "run_id, task_id, attempt, delivery, worker, lines, line_count, bytes, dropped";
  await late.query(`insert into task_log (${columns}) values ($1, $2, 1, 0, 'w', $3, 1, 1, 0)`, [
    runId,
    taskId,
    line("late"),
  ]);
  await keepTaskLogs(context, [chunk(taskId, [line("early")])]);
  await waitFor("early");
  await late.query("commit");
  late.release();
  await waitFor("late");
  const { assigned } = await stage.claimAs("ses_a");
  await keepTaskLogs(context, [chunk(taskId, [line("end")])]);
  await stage.settle(...assigned.filter(({ task }) => task.run_id === runId).map((one) => outcomeOf(one, DONE)));
  await watching;
  expect(seen).toEqual(["there", "early", "late", "end"]);
});

test("a watcher stops when it is told to, and tells of a run that is not there", async () => {
  const stop = new AbortController();
  const { runId } = await started();
  const watched = watchTaskLogs({ ...context, clock: systemClock() }, { runId }, stop.signal);
  const next = watched.next();
  stop.abort();
  expect((await next).done).toBe(true);
  const nobody = watchTaskLogs(
    { ...context, clock: systemClock() },
    { runId: "run_none" },
    new AbortController().signal,
  );
  await expect(nobody.next()).rejects.toMatchObject({ reason: "RUN_NOT_FOUND" });
});

test("logs go with their run", async () => {
  const { runId, taskId } = await started();
  await keepTaskLogs(context, [chunk(taskId, [line("kept")])]);
  const { assigned } = await stage.claimAs("ses_a");
  await stage.settle(...assigned.map((one) => outcomeOf(one, DONE)));
  await stage.database.pool.query("update run set end_time = clock_timestamp() - interval '91 days' where id = $1", [
    runId,
  ]);
  while (await removeExpiredRuns(stage.store, { runsMs: 90 * 86_400_000, deadLettersMs: 86_400_000 }));
  const { rows } = await stage.database.pool.query("select 1 from task_log where run_id = $1", [runId]);
  expect(rows).toEqual([]);
});

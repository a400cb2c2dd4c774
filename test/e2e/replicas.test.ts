// Three replicas on one database behind a plain TCP balancer, and the one that holds a lease is killed: its worker goes on at another with
// the lease that it had; retries, cancels, drains, and sealing go on with those that are left.

import { beforeAll, expect, test } from "vitest";
import { startBalancer } from "../harness/balancer.ts";
import { startCountingServer } from "../harness/counting_server.ts";
import { type TestDatabase, testDatabase } from "../harness/database.ts";
import { type ServerProcess, startServer } from "../harness/processes.ts";
import { agent, askingAgent, completion, httpTool, single } from "./documents.ts";
import { type Stage, stageOf } from "./stage.ts";

const RETRY_MS = 4_000;

let stage: Stage;
let database: TestDatabase;
const replicas: ServerProcess[] = [];

beforeAll(async () => {
  const sink = await startCountingServer();
  database = await testDatabase();
  const start = () =>
    startServer({
      ...{ databaseUrl: database.url, args: ["--lease-ttl", "9s"], env: { ORLOJ_SECRET_SINK_URL: sink.url } },
    });
  replicas.push(await start());
  replicas.push(...(await Promise.all([start(), start()])));
  const balanced = async (listener: "api" | "worker") =>
    (await startBalancer(replicas.map((replica) => Number(replica[listener].split(":").at(-1))))).port;
  const [api, worker] = [await balanced("api"), await balanced("worker")];
  const first = replicas[0] as ServerProcess;
  stage = stageOf({ ...first, api: `http://127.0.0.1:${api}`, worker: `127.0.0.1:${worker}` }, sink);
});

function caller(name: string) {
  stage.sink.hold(`/${name}`);
  return [
    httpTool(name, `/${name}`, { effect: "write" }),
    agent(name, [{ when: "turn == 1", toolCalls: [{ name, arguments: {} }] }, { output: { done: true } }], {
      tools: [name],
    }),
    ...single(name, { cancellation: { grace: "3s" } }),
  ];
}

async function session(worker: string): Promise<{ id: string; epoch: number; state: string }> {
  const { rows } = await database.pool.query(
    "select id, epoch::integer as epoch, state from worker_session where name = $1 order by last_seen_time desc limit 1",
    [worker],
  );
  return rows[0];
}

async function holdingReplica(worker: string): Promise<ServerProcess> {
  const { id } = await session(worker);
  const found = replicas.find(({ output }) =>
    output.stderr.split("\n").some((line) => line.includes("worker.connected") && line.includes(id)),
  );
  if (found === undefined) throw new Error(`no replica connected session ${id}`);
  return found;
}

/** Records that no segment holds. */
async function unsealed(): Promise<number> {
  const { rows } = await database.pool.query(
    "select count(*)::integer as count from audit_event where not id = any(coalesce((select array_agg(x) from audit_segment s, unnest(s.ids) x), '{}'))",
  );
  return rows[0].count;
}

test("kill -9 of the replica that holds a lease: the worker goes on elsewhere, and timers, cancels, drains, and seals go on", {
  timeout: 90_000,
}, async () => {
  const { client, sink } = stage;
  const w1 = await stage.worker("w1");
  let asked = 0;
  sink.respond("/later/chat/completions", () => {
    asked += 1;
    return asked === 1 ? { status: 503 } : completion({ content: '{"late": true}' });
  });
  const backoff = { initial: `${RETRY_MS}ms`, max: `${RETRY_MS}ms`, factor: 1, jitter: "none" };
  await stage.apply(
    ...["kept", "stopped", "after"].flatMap(caller),
    askingAgent("later", `${sink.url}/later`, {
      errorHandling: { retry: { on: ["ModelUnavailable"], maxAttempts: 2, backoff } },
    }),
    ...single("later"),
  );
  const kept = await client.workflow("kept").invoke();
  const stopped = await client.workflow("stopped").invoke();
  await Promise.all([sink.waitForCount("/kept", 1), sink.waitForCount("/stopped", 1)]);
  const later = await client.workflow("later").invoke();
  await stage.record("task.retrying", ({ runId }) => runId === later.id);
  const before = await session("w1");
  const killed = await holdingReplica("w1");
  killed.signal("SIGKILL");
  await killed.ended;

  await expect.poll(async () => (await session("w1")).epoch, { timeout: 9_000 }).toBeGreaterThan(before.epoch);
  expect((await session("w1")).id).toBe(before.id);
  sink.release("/kept");
  expect(await kept.result()).toEqual({ done: true });
  expect(sink.count("/kept")).toBe(1);

  await stopped.cancel("enough");
  await sink.waitForAbort("/stopped");
  await expect(stopped.result()).rejects.toMatchObject({ state: "CANCELLED" });
  expect(await later.result()).toEqual({ late: true });
  expect(asked).toBe(2);

  await client.fleet.drainWorker({ worker: "w1", window: { seconds: 30n, nanos: 0 } });
  // Whichever replica took the call, the tick of the one that has the stream tells the worker.
  await w1.waitFor(/drained by an operator/);
  const after = await client.workflow("after").invoke();
  await stage.worker("w2");
  await sink.waitForCount("/after", 1);
  expect(await stage.holder(after)).toBe("w2");
  sink.release("/after");
  expect(await after.result()).toEqual({ done: true });
  expect((await session("w1")).state).toBe("draining");

  await expect.poll(unsealed, { timeout: 10_000 }).toBe(0);
  for (const run of [kept, stopped, later, after]) {
    expect(await stage.trail(run, "lease.expired")).toEqual([]);
    expect((await client.workflows.listTasks({ runId: run.id })).tasks).toMatchObject([{ deliveries: 0 }]);
  }
});

// Links between workers and servers that are cut, reset, or silent, without root (test/netns has the same with hosts of their own):
// leases move on or stay as the rules say, no process ends, and a worker whose link heals is at work again within five seconds.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { systemRandom } from "../../kit/random.ts";
import type { RunHandle } from "../../sdk/index.ts";
import { CONNECTION_TIMES } from "../../worker/session/dial.ts";
import { assembleWorker } from "../../worker/worker.ts";
import { TcpProxy } from "../chaos/tcp_proxy.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { type RunningProcess, type ServerProcess, startServer, startWorker } from "../harness/processes.ts";
import { agent, httpTool, single } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

const BACK_MS_MAX = 5_000;
const PRIVATE = { ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8" };
const QUICK = { ...CONNECTION_TIMES, welcomeMs: 4_000, pingMs: 500, pingAnswerMs: 1_500 };

let stage: Stage;
const running: RunningProcess[] = [];
beforeAll(async () => {
  stage = await startStage();
  await stage.apply(...["probe", "slow", "steady", "quiet", "moved"].flatMap((name) => calling(name)));
});
afterEach(async () => {
  // Whatever broke, no worker has ended by itself.
  for (const worker of running.splice(0)) expect(await worker.stop()).toMatchObject({ code: 0 });
});

/** A workflow whose one call is a read of the counting server; `probe` runs on workers far away only. */
function calling(name: string): readonly object[] {
  const script = [{ when: "turn == 1", toolCalls: [{ name, arguments: {} }] }, { output: { done: true } }];
  const where = name === "probe" ? { requirements: { labels: { where: "far" } } } : {};
  return [
    httpTool(name, `/${name}`, { effect: "read" }),
    agent(name, script, { tools: [name], ...where }),
    ...single(name),
  ];
}

/** A link to the server's worker listener. */
async function linked(server: ServerProcess = stage.server) {
  const target = { host: "127.0.0.1", port: Number(server.worker.split(":").at(-1)) };
  const link = new TcpProxy(() => [target], Math.random);
  const endpoint = `127.0.0.1:${await link.listen()}`;
  atEndOfFile(() => link.close());
  return { link, endpoint };
}

async function worker(name: string, endpoint: string, where: string): Promise<RunningProcess> {
  const args = ["--name", name, "--label", `where=${where}`];
  const started = await startWorker({ home: stage.server.home, worker: endpoint }, { args, env: PRIVATE });
  running.push(started);
  return started;
}

/** Runs the workflow, and resolves once its call is held. */
async function held(name: string): Promise<RunHandle> {
  stage.sink.hold(`/${name}`);
  const run = await stage.client.workflow(name).invoke();
  await stage.sink.waitForCount(`/${name}`, 1);
  return run;
}

async function connections(name: string): Promise<number> {
  const { records } = await stage.client.audit.listAuditRecords({
    filter: { kinds: ["worker.connected"] },
    pageSize: 1_000,
  });
  return records.filter(({ actor }) => actor === `worker:${name}`).length;
}

/** Another worker takes the task over once; the one behind the broken link has its late word refused, and is soon back. */
async function takenOver(run: RunHandle, name: string, far: string, heal: () => void) {
  const { client, sink } = stage;
  const near = await worker(`near-${name}`, stage.server.worker, "near");
  await sink.waitForCount(`/${name}`, 2);
  sink.release(`/${name}`);
  expect(await run.result()).toEqual({ done: true });
  running.splice(running.indexOf(near), 1);
  expect(await near.stop()).toMatchObject({ code: 0 });
  const probe = await client.workflow("probe").invoke();
  const healedMs = performance.now();
  heal();
  expect(await probe.result()).toEqual({ done: true });
  expect(performance.now() - healedMs).toBeLessThan(BACK_MS_MAX);
  await stage.record("fact.refused", ({ actor }) => actor === `worker:${far}`);
  const { tasks } = await client.workflows.listTasks({ runId: run.id });
  expect(tasks).toMatchObject([{ worker: `near-${name}`, attempt: 1 }]);
  expect(await stage.trail(run, "task.succeeded")).toHaveLength(1);
}

test("a link that is cut for longer than a lease", { timeout: 60_000 }, async () => {
  const { link, endpoint } = await linked();
  await worker("far", endpoint, "far");
  const run = await held("slow");
  link.toxics = { refuse: true };
  link.cut();
  await takenOver(run, "slow", "far", () => {
    link.toxics = {};
  });
});

test("a link that is reset again and again: the worker keeps its lease, and nothing is called twice", {
  timeout: 60_000,
}, async () => {
  const { link, endpoint } = await linked();
  await worker("steady", endpoint, "far");
  const run = await held("steady");
  for (let count = 1; count <= 5; count += 1) {
    link.cut();
    await expect.poll(() => connections("steady"), { timeout: BACK_MS_MAX }).toBe(count + 1);
  }
  stage.sink.release("/steady");
  expect(await run.result()).toEqual({ done: true });
  expect(stage.sink.count("/steady")).toBe(1);
  expect(await stage.trail(run, "lease.expired")).toEqual([]);
});

test("a link that loses everything without a word, for longer than a lease", { timeout: 60_000 }, async () => {
  const { link, endpoint } = await linked();
  const { joinToken } = JSON.parse(readFileSync(join(stage.server.home, "config.json"), "utf8"));
  // In this process, so that its times can be short: a worker's own take 15 s to notice.
  const far = assembleWorker(
    { endpoints: [endpoint], joinToken, name: "quiet", labels: { where: "far" }, privateNetworks: ["127.0.0.0/8"] },
    systemClock(),
    systemRandom(),
    { times: QUICK },
  );
  atEndOfFile(() => far.abort());
  await far.start();
  const run = await held("quiet");
  link.toxics = { holdUp: true, holdDown: true };
  await takenOver(run, "quiet", "quiet", () => {
    link.toxics = {};
  });
  await far.stop();
});

test("the replica that holds a worker is killed: it goes on at its other endpoint with the lease that it had", {
  timeout: 60_000,
}, async () => {
  const env = { ORLOJ_SECRET_SINK_URL: stage.sink.url };
  const replica = await startServer({
    ...{ databaseUrl: stage.server.databaseUrl ?? "", args: ["--lease-ttl", "2s"], env },
  });
  const spare = await linked();
  spare.link.toxics = { refuse: true };
  await worker("both", `${replica.worker.replace(/^https?:\/\//, "")},${spare.endpoint}`, "far");
  const run = await held("moved");
  spare.link.toxics = {};
  replica.signal("SIGKILL");
  await expect.poll(() => connections("both"), { timeout: BACK_MS_MAX }).toBe(2);
  stage.sink.release("/moved");
  expect(await run.result()).toEqual({ done: true });
  expect(stage.sink.count("/moved")).toBe(1);
  expect(await stage.trail(run, "lease.expired")).toEqual([]);
});

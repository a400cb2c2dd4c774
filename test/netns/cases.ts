// What is broken in the lab, one after the other, and what has to hold: figures by name, and violations.
// Run by driver.ts. Every case begins and ends with all workers connected.

import type { RunHandle } from "../../sdk/index.ts";
import type { RunningProcess } from "../harness/processes.ts";
import { LEASE_TTL_MS, WORKERS, type WorkerName, type World } from "./world.ts";

/** After healing, a worker has a task again within it. */
const BACK_MS_MAX = 5_000;
/** A silent peer is left within it, with a second for the machine. */
const SILENT_MS_MAX = 16_000;
/** A lost task has another lease within it: the end of the lease, the sweep, and a second for the machine. */
const TAKEOVER_MS_MAX = LEASE_TTL_MS + 4_000;
const WAIT_MS = 60_000;

/** Figures of a case, in ms or counts. */
export type Figures = Readonly<Record<string, number | string>>;

/** What cases stand on. */
export interface Scene {
  readonly world: World;
  readonly cutMs: number;
  readonly violation: (what: string) => void;
}

/** Every case by name, in order. */
export const CASES: Readonly<Record<string, (scene: Scene) => Promise<Figures>>> = {
  reach,
  cut,
  silent_to_worker: (scene) => silent(scene, (lost) => scene.world.lab.loseToFar(lost)),
  silent_from_worker: (scene) => silent(scene, (lost) => scene.world.lab.loseFromFar(lost)),
  reset,
  address_change: addressChange,
  replica_moved: replicaMoved,
};

// Every worker runs a task from where it is: directly, behind the address of another machine, through the proxy alone.
async function reach({ world, violation }: Scene): Promise<Figures> {
  const startMs = performance.now();
  for (const name of WORKERS) await world.startWorker(name);
  const figures: Record<string, number | string> = { nat: world.lab.nat, started_ms: since(startMs) };
  for (const name of WORKERS) {
    const output = await (await world.invoke(`brief-${name}`)).result();
    if (JSON.stringify(output) !== '{"done":true}') violation(`reach: ${name} gave ${JSON.stringify(output)}`);
  }
  return figures;
}

// The cable of a worker that runs tasks is out for a minute: another takes them over once, and what it says late is refused.
async function cut({ world, cutMs, violation }: Scene): Promise<Figures> {
  const { client, lab } = world;
  await world.stop(world.workers.get("near") as RunningProcess);
  const runs = await Promise.all([1, 2, 3].map(() => world.invoke("shared")));
  for (const run of runs) await holds(world, run, "far");
  await world.startWorker("near");
  const cutAt = performance.now();
  await lab.cable("far", "down");
  for (const run of runs) await holds(world, run, "near");
  const takenOverMs = since(cutAt);
  if (takenOverMs > TAKEOVER_MS_MAX) violation(`cut: taken over after ${takenOverMs} ms`);
  await pass(cutMs - since(cutAt));
  const probe = await world.invoke("brief-far");
  const healedAt = performance.now();
  await lab.cable("far", "up");
  const backMs = await back(probe, healedAt, "cut", violation);
  let refused = 0;
  for (const run of runs) {
    await run.result();
    const { tasks } = await client.workflows.listTasks({ runId: run.id });
    const [task] = tasks;
    if (tasks.length !== 1 || task?.worker !== "near" || task.attempt !== 1)
      violation(`cut: ${run.id} has ${tasks.length} tasks, by ${task?.worker}, attempt ${task?.attempt}`);
    const { records } = await client.audit.listAuditRecords({ filter: { runId: run.id, kinds: ["task.succeeded"] } });
    if (records.length !== 1) violation(`cut: ${run.id} succeeded ${records.length} times`);
  }
  await until("the late facts of far are on record", async () => {
    refused = (await client.audit.listAuditRecords({ filter: { kinds: ["fact.refused"] }, pageSize: 100 })).records
      .length;
    return refused > 0;
  }).catch(() => violation("cut: nothing late was refused"));
  return { cut_ms: cutMs, taken_over_ms: takenOverMs, back_ms: backMs, late_refused: refused };
}

// Packets of one direction vanish: both ends leave the connection, and the worker is back soon after they do not any more.
async function silent({ world, violation }: Scene, lose: (lost: boolean) => Promise<void>): Promise<Figures> {
  const worker = world.workers.get("far") as RunningProcess;
  const server = world.servers[0] as RunningProcess;
  const [workerFrom, serverFrom] = [worker.output.stderr.length, server.output.stderr.length];
  const lostAt = performance.now();
  await lose(true);
  const noticed = async (process: RunningProcess, from: number, pattern: RegExp) => {
    await until(`${pattern} is logged`, async () => pattern.test(process.output.stderr.slice(from)));
    return since(lostAt);
  };
  const [byWorkerMs, byServerMs] = await Promise.all([
    noticed(worker, workerFrom, /not connected/),
    noticed(server, serverFrom, /worker\.disconnected[^\n]*"far"|"far"[^\n]*worker\.disconnected/),
  ]);
  for (const [end, ms] of Object.entries({ worker: byWorkerMs, server: byServerMs })) {
    if (ms > SILENT_MS_MAX) violation(`silent: the ${end} left after ${ms} ms`);
  }
  const probe = await world.invoke("brief-far");
  const healedAt = performance.now();
  await lose(false);
  return { worker_ms: byWorkerMs, server_ms: byServerMs, back_ms: await back(probe, healedAt, "silent", violation) };
}

// The proxy resets what it carries, ten times: the worker behind it keeps its lease.
async function reset({ world, violation }: Scene): Promise<Figures> {
  const run = await world.invoke("long-shut");
  await holds(world, run, "shut");
  let longestMs = 0;
  for (let count = 0; count < 10; count += 1) {
    const before = await connections(world, "shut");
    const startMs = performance.now();
    world.proxy.signal("SIGUSR2");
    await until("shut is connected again", async () => (await connections(world, "shut")) > before);
    longestMs = Math.max(longestMs, since(startMs));
  }
  if (longestMs > BACK_MS_MAX) violation(`reset: connected again after ${longestMs} ms`);
  return { resets: 10, longest_ms: longestMs, ...(await keptLease(world, run, "reset", violation)) };
}

// A worker gets another address in the middle of a task: it keeps its lease.
async function addressChange({ world, violation }: Scene): Promise<Figures> {
  const run = await world.invoke("long-far");
  await holds(world, run, "far");
  const before = await connections(world, "far");
  const startMs = performance.now();
  await world.lab.moveFar();
  await until("far is connected again", async () => (await connections(world, "far")) > before);
  const againMs = since(startMs);
  if (againMs > SILENT_MS_MAX + BACK_MS_MAX) violation(`address_change: connected again after ${againMs} ms`);
  return { again_ms: againMs, ...(await keptLease(world, run, "address_change", violation)) };
}

// A replica starts at another address, and the one of before shuts down: every worker moves, with its lease.
async function replicaMoved({ world, violation }: Scene): Promise<Figures> {
  const runs = await Promise.all(WORKERS.map((name) => world.invoke(`long-${name}`)));
  for (const [index, run] of runs.entries()) await holds(world, run, WORKERS[index] as WorkerName);
  const replicas = async () => new Set((await world.client.fleet.listWorkers({})).workers.map((one) => one.replicaId));
  const [old] = await replicas();
  await world.startReplica(1);
  const startMs = performance.now();
  const stopping = world.stopReplica(0);
  await until("every worker has moved", async () => !(await replicas()).has(old as string));
  const movedMs = since(startMs);
  await stopping;
  if (movedMs > BACK_MS_MAX) violation(`replica_moved: all had moved after ${movedMs} ms`);
  let lost = 0;
  for (const run of runs) lost += (await keptLease(world, run, "replica_moved", violation)).leases_lost;
  return { moved_ms: movedMs, leases_lost: lost };
}

/** The run ends well, and its lease was never lost. Asked of the replica of now: the one that took the run may be gone. */
async function keptLease({ client }: World, run: RunHandle, title: string, violation: Scene["violation"]) {
  await client.run(run.id).result();
  const filter = { runId: run.id, kinds: ["lease.expired", "task.requeued"] };
  const { records } = await client.audit.listAuditRecords({ filter });
  if (records.length > 0) violation(`${title}: ${run.id} lost its lease`);
  return { leases_lost: records.length };
}

/** Time from healing until a task that waited for that worker has ended well. */
async function back(probe: RunHandle, healedAt: number, title: string, violation: Scene["violation"]): Promise<number> {
  await probe.result();
  const ms = since(healedAt);
  if (ms > BACK_MS_MAX) violation(`${title}: back at work after ${ms} ms`);
  return ms;
}

async function holds({ client }: World, run: RunHandle, worker: WorkerName): Promise<void> {
  await until(`${worker} holds ${run.id}`, async () => {
    const { leases } = await client.fleet.listLeases({ runId: run.id });
    return leases.some((lease) => lease.worker === worker && lease.accepted);
  });
}

/** How often that worker was connected. */
async function connections({ client }: World, worker: WorkerName): Promise<number> {
  const { records } = await client.audit.listAuditRecords({ filter: { kinds: ["worker.connected"] }, pageSize: 1_000 });
  return records.filter(({ actor }) => actor === `worker:${worker}`).length;
}

async function until(what: string, holdsNow: () => Promise<boolean>): Promise<void> {
  const startMs = performance.now();
  while (!(await holdsNow())) {
    if (since(startMs) > WAIT_MS) throw new Error(`waited ${WAIT_MS / 1_000} s in vain until ${what}`);
    await pass(100);
  }
}

function since(startMs: number): number {
  return Math.round(performance.now() - startMs);
}

function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

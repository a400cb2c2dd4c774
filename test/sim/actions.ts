// What the commands of a history do: work, claims, time, and every way in which workers, replicas, clocks and wires fail.
// Each picks its target from what there is; false says that there was none.

import type { Driver, Fate } from "./driver.ts";
import { FLOWS, STEP_MS, TTL_MS } from "./flows.ts";
import type { Word } from "./schedule.ts";
import { type HeldTask, nextRequest, type Request, type Worker } from "./workers.ts";

export type Action = (driver: Driver, word: Word) => boolean;

/** Steps of time that the sweep's watch outlives. */
const GAP_STEPS = 3;

/** Actions with their weights in 128. */
export const ACTIONS: Readonly<Record<string, readonly [number, Action]>> = {
  work: [36, work],
  claim: [19, claim],
  invoke: [8, invoke],
  passTime: [9, passTime],
  tick: [8, tick],
  deliver: [8, deliver],
  renew: [6, renew],
  reconnect: [4, reconnect],
  fail: [6, fail],
  freeze: [4, freeze],
  crashWorker: [2, crashWorker],
  crashReplica: [2, crashReplica],
  stop: [3, stop],
  revoke: [1, revoke],
  lookOnly: [2, lookOnly],
  forge: [2, forge],
  jumpClock: [2, jumpClock],
  turnPolicies: [1, turnPolicies],
  drain: [1, drain],
  dieOften: [1, dieOften],
  replay: [2, replay],
  discard: [1, discard],
};

const pick = <T>(from: readonly T[], index: number): T | undefined => from[index % Math.max(1, from.length)];
const live = (driver: Driver) => driver.workers.filter((worker) => worker.connected && !worker.frozen);
const faultOf = (fate: Fate) => (fate === "abort" || fate === "lost_ack" ? fate : "");

function heldBy(workers: readonly Worker[]): readonly (readonly [Worker, HeldTask])[] {
  return workers.flatMap((worker) => [...worker.held.values()].map((held) => [worker, held] as const));
}

function work(driver: Driver, { a, b, fate }: Word): boolean {
  const found = pick(heldBy(live(driver)), a);
  if (found === undefined) return false;
  const [worker, held] = found;
  const request = nextRequest(worker, held, b, {
    nowMs: driver.tables.nowMs,
    models: driver.models,
    sink: driver.sink,
  });
  if (request === undefined) return false;
  driver.send(request, worker.replica, fate);
  return true;
}

function claim(driver: Driver, { a, b, c, fate }: Word): boolean {
  const worker = pick(live(driver), a);
  if (worker === undefined || driver.tables.ready.size === 0) return false;
  driver.claim(worker, 1 + (b % 2), fate, c === 1);
  return true;
}

function invoke(driver: Driver, { a, b, c, fate }: Word): boolean {
  if (driver.tables.runs.size >= 3) return false;
  // Some share a key, so that the same and another body meet it.
  const key = b % 4 === 0 ? `key${c % 2}` : "";
  driver.invoke({ op: "invoke", flow: a % FLOWS.length, key }, c % 2, faultOf(fate), pick(live(driver), a + b));
  return true;
}

function passTime(driver: Driver, { a, b }: Word): boolean {
  pass(driver, [1, 1, 2, 3, 4, 8, 9, 40][a % 8] ?? 1, b % 4 !== 0);
  return true;
}

// Watched: some replica looks all along, so that the sweep goes on; else all of them are away.
function pass(driver: Driver, steps: number, watched: boolean): void {
  const stride = watched ? GAP_STEPS : steps;
  for (let left = steps; left > 0; left -= stride) {
    driver.perform({ op: "time", ms: Math.min(left, stride) * STEP_MS }, 0);
    if (watched) driver.perform({ op: "find" }, 1);
  }
}

function tick(driver: Driver, { a, fate }: Word): boolean {
  const replica = a % 2;
  driver.find(replica);
  driver.settleFindings(replica, faultOf(fate));
  return true;
}

/** A replica is paused between what it found and what it does about it. */
function lookOnly(driver: Driver, { a, fate }: Word): boolean {
  const replica = a % 2;
  if (driver.replicas[replica]?.findings === undefined) {
    driver.faults.pause += 1;
    driver.find(replica);
  } else driver.settleFindings(replica, faultOf(fate));
  return true;
}

function deliver(driver: Driver, { a, b, c, fate }: Word): boolean {
  const { underway } = driver;
  if (underway.length === 0) return false;
  const batch: Request[] = [];
  for (let count = 1 + (b % 3); count > 0 && underway.length > 0; count -= 1) {
    const index = a % underway.length;
    if (index > 0) driver.faults.reorder += 1;
    batch.push(...underway.splice(index, 1));
  }
  driver.serve(batch, c % 2, faultOf(fate));
  return true;
}

function renew(driver: Driver, { a, fate }: Word): boolean {
  const worker = pick(live(driver), a);
  if (worker === undefined) return false;
  if (fate === "drop" || fate === "drop_reply") driver.faults.drop += 1;
  else driver.renew(worker, faultOf(fate));
  return true;
}

function reconnect(driver: Driver, { a, b, fate }: Word): boolean {
  const worker = pick(
    driver.workers.filter((one) => !one.frozen),
    a,
  );
  if (worker === undefined) return false;
  driver.connect(worker, b % 2, faultOf(fate));
  return true;
}

function fail(driver: Driver, { a, b, fate }: Word): boolean {
  const found = pick(heldBy(live(driver)), a);
  if (found === undefined || found[1].pending !== undefined) return false;
  const [worker, held] = found;
  const fact = { task: held.task, token: held.token, session: held.session };
  const outcomes = [
    { type: "failed", class: "Timeout" },
    { type: "failed", class: "Broken" },
    { type: "interrupted" },
    { type: "failed", class: "Timeout" },
  ] as const;
  const outcome = outcomes[b % 4] ?? outcomes[0];
  held.pending = { worker: worker.index, kind: "outcome", fact: { ...fact, outcome } };
  driver.send(held.pending, worker.replica, fate);
  return true;
}

/** A worker stops, for longer than its lease or not; or goes on. */
function freeze(driver: Driver, { a }: Word): boolean {
  const worker = pick(driver.workers, a);
  if (worker === undefined) return false;
  worker.frozen = !worker.frozen;
  if (worker.frozen) driver.faults.pause += 1;
  return true;
}

function crashWorker(driver: Driver, { a, b }: Word): boolean {
  const worker = pick(driver.workers, a);
  if (worker === undefined) return false;
  driver.faults.crash += 1;
  driver.startWorker(worker.index, b % 2);
  return true;
}

function crashReplica(driver: Driver, { a }: Word): boolean {
  const replica = a % 2;
  driver.faults.crash += 1;
  driver.replicas[replica] = { findings: undefined };
  for (const worker of driver.workers) if (worker.replica === replica) worker.connected = false;
  return true;
}

function stop(driver: Driver, { a, b, fate }: Word): boolean {
  const run = pick([...driver.tables.runs.keys()], a);
  if (run === undefined) return false;
  driver.perform({ op: "settle", items: [{ type: "stop", run, cause: "cancelled" }] }, b % 2, faultOf(fate));
  return true;
}

function revoke(driver: Driver, { a, b }: Word): boolean {
  const lease = pick([...driver.tables.leases.values()], a);
  if (lease === undefined) return false;
  const item = { type: "lost", task: lease.task.id, token: lease.token, reason: "revoked" } as const;
  driver.perform({ op: "settle", items: [item] }, b % 2);
  return true;
}

/** Somebody lies: with a token of his own, with another's, with other arguments. */
function forge(driver: Driver, { a, b, c }: Word): boolean {
  const leases = [...driver.tables.leases.values()];
  const lease = pick(leases, a);
  const worker = pick(live(driver), b);
  if (lease === undefined || worker === undefined) return false;
  const fact = { task: lease.task.id, token: c % 2 === 0 ? "forged" : lease.token, session: worker.session };
  const from = { worker: -1 };
  const turn = driver.tables.journal(fact.task).length;
  const requests: readonly Request[] = [
    { ...from, kind: "outcome", fact: { ...fact, outcome: { type: "succeeded", x: true } } },
    { ...from, kind: "turn", fact: { ...fact, sequence: turn + 1, body: { nonce: -1, tool: "", arg: 0 } } },
    { ...from, kind: "call", fact: { ...fact, turnSequence: Math.max(1, turn), tool: "write", arg: 99 } },
    { ...from, kind: "call", fact: { ...fact, turnSequence: Math.max(1, turn - 1), tool: "rewrite", arg: 98 } },
  ];
  driver.serve([requests[c % 4] as Request], worker.replica, "");
  return true;
}

function jumpClock(driver: Driver, { a, b }: Word): boolean {
  const worker = pick(driver.workers, a);
  if (worker === undefined) return false;
  driver.faults.clock += 1;
  worker.clockMs += [-3_600_000, -TTL_MS, TTL_MS, 3_600_000][b % 4] ?? 0;
  return true;
}

function turnPolicies(driver: Driver, { a }: Word): boolean {
  driver.perform({ op: "policy", denied: (["", "agent", "tool", ""] as const)[a % 4] ?? "" }, 0);
  return true;
}

function drain(driver: Driver, { a }: Word): boolean {
  const worker = pick(live(driver), a);
  if (worker === undefined) return false;
  driver.perform({ op: a % 2 === 0 ? "drain" : "close", session: worker.session }, worker.replica);
  if (a % 2 !== 0) {
    worker.held.clear();
    worker.session = "";
    worker.connected = false;
  }
  return true;
}

/** A task that takes its workers with it, again and again: no turn, no renewal, until it is a poison task or has enough. */
function dieOften(driver: Driver, { a, b }: Word): boolean {
  if (driver.tables.ready.size === 0) return false;
  for (let times = 1 + (a % 12); times > 0; times -= 1) {
    const index = times % driver.workers.length;
    driver.startWorker(index, b % 2);
    driver.claim(driver.workers[index] as Worker, 1, "clean");
    driver.faults.crash += 1;
    pass(driver, 9, true);
    driver.find(b % 2);
    driver.settleFindings(b % 2, "");
  }
  return true;
}

function letters(driver: Driver): string[] {
  return [...driver.tables.tasks.values()].filter((task) => task.letter !== undefined).map((task) => task.id);
}

/** A person looks at a dead letter, perhaps one that somebody has dealt with already. */
function replay(driver: Driver, { a, b, c, fate }: Word): boolean {
  const task = pick(letters(driver), a);
  if (task === undefined) return false;
  driver.perform({ op: "settle", items: [{ type: "replay", task, repeat: b % 2 === 0 }] }, c % 2, faultOf(fate));
  return true;
}

function discard(driver: Driver, { a, c, fate }: Word): boolean {
  const task = pick(letters(driver), a);
  if (task === undefined) return false;
  driver.perform({ op: "settle", items: [{ type: "discard", task }] }, c % 2, faultOf(fate));
  return true;
}

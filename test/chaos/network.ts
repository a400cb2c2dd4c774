// Faults of the links, through the proxies: partitions one way and both, slow and chopped links, resets, one after the other.
// Called by main.ts for each round. Each fault lasts a few seconds, longer or shorter than a lease, and is mended.

import type { Fleet } from "./fleet.ts";
import type { History } from "./history.ts";
import { LEASE_TTL_MS } from "./profiles.ts";
import type { TcpProxy, Toxics } from "./tcp_proxy.ts";
import { pass } from "./waiting.ts";

/** One fault of a link. */
interface NetworkFault {
  readonly fault: string;
  readonly what: string;
  readonly toxics: Toxics;
  readonly ms: number;
  /** Existing connections are reset when it begins. */
  readonly reset?: boolean;
}

const LINK_FAULTS: readonly NetworkFault[] = [
  { fault: "F7", what: "nothing from the worker arrives", toxics: { holdUp: true }, ms: 1.5 * LEASE_TTL_MS },
  { fault: "F7", what: "nothing reaches the worker", toxics: { holdDown: true }, ms: 1.5 * LEASE_TTL_MS },
  {
    fault: "F7",
    what: "cut off, new connections refused",
    toxics: { refuse: true },
    ms: 2 * LEASE_TTL_MS,
    reset: true,
  },
  { fault: "F8", what: "slow", toxics: { latencyMs: 80, jitterMs: 120 }, ms: LEASE_TTL_MS },
  { fault: "F8", what: "chopped and throttled", toxics: { sliceBytes: 7, bytesPerSecond: 40_000 }, ms: LEASE_TTL_MS },
  { fault: "F8", what: "reset", toxics: {}, ms: 200, reset: true },
];

const DATABASE_FAULTS: readonly NetworkFault[] = [
  { fault: "F7", what: "the database hears nothing", toxics: { holdUp: true }, ms: LEASE_TTL_MS },
  { fault: "F7", what: "the database is not heard", toxics: { holdDown: true }, ms: LEASE_TTL_MS },
  { fault: "F7", what: "the database refuses connections", toxics: { refuse: true }, ms: LEASE_TTL_MS, reset: true },
  { fault: "F8", what: "the database is slow", toxics: { latencyMs: 5, jitterMs: 20 }, ms: LEASE_TTL_MS },
];

/** Every fault once, on links of the random's choosing; then the links stopped one by one and freed in another order. */
export async function networkRound(fleet: Fleet, history: History, random: () => number): Promise<void> {
  for (const fault of LINK_FAULTS) {
    const workers = [...fleet.workers.values()].filter((worker) => !worker.frozen);
    const worker = workers[Math.floor(random() * workers.length)];
    if (worker !== undefined) await breakLink(worker.link, `worker ${worker.name}`, fault, history);
  }
  for (const fault of DATABASE_FAULTS) {
    await breakLink(fleet.toPostgres, "Postgres", fault, history);
    fleet.postgres.backAt = Date.now();
  }
  await swizzleClog(fleet, history, random);
}

async function breakLink(link: TcpProxy, name: string, fault: NetworkFault, history: History): Promise<void> {
  history.add({ type: "fault", fault: fault.fault, what: `${name}: ${fault.what}` });
  link.toxics = fault.toxics;
  if (fault.reset === true) link.cut();
  await pass(fault.ms);
  link.toxics = {};
  history.add({ type: "healed", fault: fault.fault, what: `${name}: ${fault.what}` });
}

// F15: stops every worker's link one by one in one order, and frees them in another.
async function swizzleClog(fleet: Fleet, history: History, random: () => number): Promise<void> {
  const links = [...fleet.workers.values()].map((worker) => worker.link);
  history.add({ type: "fault", fault: "F15", what: "links stopped one by one" });
  for (const link of shuffled(links, random)) {
    link.toxics = { holdUp: true, holdDown: true };
    await pass(LEASE_TTL_MS / 8);
  }
  for (const link of shuffled(links, random)) {
    link.toxics = {};
    await pass(LEASE_TTL_MS / 8);
  }
  history.add({ type: "healed", fault: "F15", what: "links freed in another order" });
}

/** F12: every worker frozen beyond the lease, then all woken at once. */
export async function massExpiry(fleet: Fleet, history: History): Promise<void> {
  const workers = [...fleet.workers.values()].filter((worker) => !worker.frozen);
  history.add({ type: "fault", fault: "F12", what: `${workers.length} workers frozen at once` });
  for (const worker of workers) {
    worker.frozen = true;
    worker.process.signal("SIGSTOP");
  }
  await pass(2 * LEASE_TTL_MS);
  for (const worker of workers) {
    worker.process.signal("SIGCONT");
    worker.frozen = false;
  }
  history.add({ type: "healed", fault: "F12", what: "all woken at once" });
}

/** F11: every connection that Postgres has left is held for a while. */
export async function exhaustPool(fleet: Fleet, history: History): Promise<void> {
  history.add({ type: "fault", fault: "F11", what: "run table locked: every connection of the replicas waits" });
  await fleet.postgres.query("begin; lock table run in access exclusive mode; select pg_sleep(2); commit");
  history.add({ type: "healed", fault: "F11", what: "lock released" });
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

// The floods: a real server, clients that do what is right, and one attack after the other on each listener from a process of its own.
// Called by main.ts. A second server has the API with TLS. Each attack: measured before, under attack, settled, measured after.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { constants, setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Cleanup } from "../../demo/fleet.ts";
import type { Clock } from "../../kit/clock.ts";
import { createClient, type OrlojClient } from "../../sdk/index.ts";
import { type FuzzServer, startFuzzServer } from "../fuzz/fuzz_server.ts";
import { createCa } from "../harness/certificates.ts";
import type { Tally } from "./attack.ts";
import type { Order } from "./attacker.ts";
import { ATTACKS, COMBINED } from "./attacks.ts";
import { CLIENTS, type ClientName, Healthy } from "./healthy.ts";
import { heldBy, watchMost } from "./process_watch.ts";
import { type Entry, FILES_SLACK, LEFT_MIB_MAX, SETTLE_MS_MAX } from "./verdict.ts";
import type { Target } from "./wire.ts";

const ATTACKER = join(import.meta.dirname, "attacker.ts");
/** An address of this machine that only the attacker has. */
const ATTACKERS_ADDRESS = "127.0.0.2";
const COMBINED_NAME = "combined";

/** What is run. */
export interface Plan {
  /** Names of attacks, "combined" among them. */
  readonly attacks: readonly string[];
  /** "api", "worker", "ops", "api-tls". */
  readonly listeners: readonly string[];
  /** Of an attack, and of each measurement beside it. */
  readonly seconds: number;
}

/** Every attack. */
export const ALL_ATTACKS: readonly string[] = [...Object.keys(ATTACKS), COMBINED_NAME];
/** Every listener. */
export const ALL_LISTENERS: readonly string[] = ["api", "worker", "ops", "api-tls"];

/** Runs the plan. */
export async function campaign(
  plan: Plan,
  clock: Clock,
  cleanup: Cleanup,
  say: (line: string) => void,
): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const tls of [false, true]) {
    const listeners = plan.listeners.filter((name) => (name === "api-tls") === tls);
    if (listeners.length === 0) continue;
    const stage = await startStage(tls, clock, cleanup);
    for (const attack of plan.attacks) {
      for (const listener of listeners) {
        if (!stage.server.alive()) return entries;
        const entry = await attackOn(stage, attack, listener, plan.seconds);
        if (entry === undefined) continue;
        say(told(entry));
        entries.push(entry);
      }
    }
    await stage.healthy.stop();
    await requireWorker(stage.client);
    for (const problem of stage.healthy.problems) say(`a healthy call failed: ${problem}`);
  }
  return entries;
}

interface Stage {
  readonly server: FuzzServer;
  readonly client: OrlojClient;
  readonly healthy: Healthy;
}

async function startStage(tls: boolean, clock: Clock, cleanup: Cleanup): Promise<Stage> {
  const certificates = tls ? await writeCertificates(cleanup) : undefined;
  const server = await startFuzzServer(clock, cleanup, certificates && { ORLOJ_CONFIG: certificates.config });
  await server.startWorker();
  const client = certificates
    ? createClient({ endpoint: server.api, token: server.token, tls: { ca: certificates.ca } })
    : server.client;
  const healthy = new Healthy({ client, worker: server.worker, ops: server.ops });
  cleanup.add(() => healthy.stop());
  // Code is compiled and pools are filled before anything is measured.
  await sleep(3_000);
  await server.sample();
  return { server, client, healthy };
}

async function writeCertificates(cleanup: Cleanup): Promise<{ config: string; ca: string }> {
  const folder = await mkdtemp(join(tmpdir(), "orloj-floods-"));
  cleanup.add(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  const ca = await createCa("floods");
  const { cert, key } = await ca.issue({ usages: ["server"], dnsNames: ["localhost"], ips: ["127.0.0.1"] });
  const config = join(folder, "config.yaml");
  await writeFile(join(folder, "api.crt"), cert);
  await writeFile(join(folder, "api.key"), key, { mode: 0o600 });
  await writeFile(config, "tls: {cert: api.crt, key: api.key}\n");
  return { config, ca: ca.cert };
}

async function attackOn(stage: Stage, name: string, listener: string, seconds: number): Promise<Entry | undefined> {
  const { server, healthy } = stage;
  const target = targetOf(server, listener);
  const wanted = name === COMBINED_NAME ? [...COMBINED] : [name];
  const attacks = wanted.filter((one) => ATTACKS[one]?.on(target));
  if (attacks.length === 0) return undefined;
  // Memory is compared with what cannot be freed; the sample collects first.
  await server.sample();
  const beforeMs = performance.now();
  await sleep(seconds * 1_000);
  const before = heldBy(server.pid);
  const most = watchMost(server.pid);
  const duringMs = performance.now();
  const tally = await runAttacker({ target, attacks, seconds });
  const overMs = performance.now();
  const { rss_mib: peak, files } = most.stop();
  const settledMs = await settle(server, before);
  const afterMs = performance.now();
  await sleep(seconds * 1_000);
  const after = heldBy(server.pid);
  const paces = {
    before: healthy.between(beforeMs, duringMs),
    during: healthy.between(duringMs, overMs),
    after: healthy.between(afterMs, performance.now()),
  };
  const of = (client: ClientName) => ({
    ...{ before: paces.before[client], during: paces.during[client], after: paces.after[client] },
  });
  return {
    ...{ attack: name, listener, offends: attacks.every((one) => ATTACKS[one]?.offends === true), seconds, ...tally },
    healthy: Object.fromEntries(CLIENTS.map((client) => [client, of(client)])) as Entry["healthy"],
    rss_growth_mib: Math.round(peak - before.rss_mib),
    rss_left_mib: Math.max(0, Math.round(after.rss_mib - before.rss_mib)),
    files: { before: before.files, most: files, after: after.files },
    settled_ms: settledMs,
    exits: server.alive() ? 0 : 1,
  };
}

function targetOf(server: FuzzServer, listener: string): Target {
  const name = listener === "api-tls" ? "api" : (listener as Target["listener"]);
  const { hostname, port } = new URL(server[name]);
  return {
    ...{ listener: name, host: hostname, port: Number(port), from: ATTACKERS_ADDRESS },
    ...{ tls: listener === "api-tls", http1: name !== "worker" },
    token: name === "worker" ? server.joinToken : server.token,
  };
}

// At a lower priority than the rest: it is the server that is measured, not how this machine is shared.
async function runAttacker(order: Order): Promise<Tally> {
  const child = spawn(process.execPath, [ATTACKER, JSON.stringify(order)], { stdio: ["ignore", "pipe", "inherit"] });
  const limit = AbortSignal.timeout((order.seconds + 60) * 1_000);
  limit.addEventListener("abort", () => child.kill("SIGKILL"), { once: true });
  if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0) throw new Error(`the attacker ended with ${code} in ${order.attacks.join(", ")}`);
  return JSON.parse(text) as Tally;
}

/** Waits for memory and open files to be back. @returns ms that it took; at most SETTLE_MS_MAX, and a look */
async function settle(server: FuzzServer, before: ReturnType<typeof heldBy>): Promise<number> {
  const began = performance.now();
  while (performance.now() - began < SETTLE_MS_MAX && server.alive()) {
    await server.sample();
    const { rss_mib, files } = heldBy(server.pid);
    if (rss_mib < before.rss_mib + LEFT_MIB_MAX && files <= before.files + FILES_SLACK) break;
    await sleep(500);
  }
  return Math.round(performance.now() - began);
}

// The worker that was there before is there still.
async function requireWorker(client: OrlojClient): Promise<void> {
  const { workers } = await client.fleet.listWorkers({ pageSize: 10 });
  if (!workers.some(({ name }) => name === "healthy")) throw new Error("the healthy worker is gone");
}

function told(entry: Entry): string {
  const { before, during } = entry.healthy[entry.listener === "api-tls" ? "api" : (entry.listener as ClientName)];
  const calls = `p99 ${before.p99_ms} → ${during.p99_ms} ms`;
  const files = `files ${entry.files.before} → ${entry.files.most} → ${entry.files.after}`;
  return `${entry.attack} on ${entry.listener}: ${entry.sent} sent on ${entry.connections}, ${calls}, memory +${entry.rss_growth_mib} MiB, ${files}, gone in ${entry.gone_ms_max} ms`;
}

// The frame half of the fuzz run: hostile sessions and calls against a real server, a client beside them that must be served all along,
// a share of the hostile documents through its API, and a normal run afterwards. Called by main.ts and the test.

import type { Cleanup } from "../../demo/fleet.ts";
import type { Clock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import { seededRandom } from "../../kit/random.ts";
import { hostileCall, UNDECODABLE } from "./api_calls.ts";
import { Documents } from "./documents.ts";
import { type FuzzServer, startFuzzServer } from "./fuzz_server.ts";
import { Dialer, hostileSession } from "./hostile_sessions.ts";
import type { Violation } from "./violations.ts";

const LANES = 8;
/** One in so many sessions is followed by a run to be leased, by calls and by a document. */
const RUN_EVERY = 3;
const CALLS_A_SESSION = 3;
/** Frames before memory is measured: code is compiled and pools are filled by then. */
const WARM_UP = 15_000;
const HEALTHY_WAIT_MS = 5_000;
const NORMAL_RUN_MS = 60_000;

export interface FrameReport {
  frames: number;
  sessions: number;
  calls: number;
  leased: number;
  healthyCalls: number;
  slowestHealthyMs: number;
  exits: number;
  block: number;
  delay: number;
  /** MiB since the warm-up; undefined when the run is not twice as long as that. */
  growth: number | undefined;
  readonly statuses: Record<string, number>;
  readonly violations: Violation[];
}

const MANIFESTS = ["fuzz-held", "fuzz-quick"].map(
  (name) => `apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: ${name}}
spec: {model: {provider: scripted, name: ${name}, script: [{text: done}]}}
---
apiVersion: orloj.dev/v1
kind: AgentSystem
metadata: {name: ${name}}
spec:
  nodes: [{name: only, agent: ${name}}]
  output: {value: "\${{ has(nodes.only.output) ? nodes.only.output : {} }}"}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: ${name}}
spec: {system: ${name}}
`,
);

/** Sends so many frames, API calls among them. */
export async function fuzzFrames(
  options: { seed: number; count: number; clock: Clock; env?: Readonly<Record<string, string>> },
  cleanup: Cleanup,
  say: (line: string) => void,
): Promise<FrameReport> {
  const { seed, count, clock, env } = options;
  const server = await startFuzzServer(clock, cleanup, env);
  await server.client.manifests.apply({ files: [{ name: "fuzz.yaml", content: MANIFESTS.join("---\n") }] });
  const report: FrameReport = {
    ...{ frames: 0, sessions: 0, calls: 0, leased: 0, healthyCalls: 0, slowestHealthyMs: 0, exits: 0 },
    ...{ block: 0, delay: 0, growth: undefined, statuses: {}, violations: [] },
  };
  const dialer = new Dialer(server.worker, server.joinToken);
  cleanup.add(async () => dialer.close());
  const stop = new AbortController();
  const healthy = serveHealthy(server, clock, report, stop.signal);
  const documents = new Documents(seed);
  const attack = async (until: number) => {
    const lane = async () => {
      while (report.frames < until && server.alive()) await round(server, dialer, documents, seed, report, say);
    };
    await Promise.all(Array.from({ length: LANES }, lane));
  };
  await attack(Math.min(count / 2, WARM_UP));
  if (server.alive()) await server.sample();
  await attack(count);
  stop.abort();
  await healthy;
  if (server.alive()) {
    const { block, delay, growth } = await server.sample();
    Object.assign(report, { block, delay, growth: count < 2 * WARM_UP ? undefined : growth });
    await normalRun(server, report);
  }
  if (!server.alive()) {
    report.exits += 1;
    report.violations.push({ problem: "the server ended", name: "frames", input: Buffer.alloc(0) });
  }
  return report;
}

async function round(
  server: FuzzServer,
  dialer: Dialer,
  documents: Documents,
  seed: number,
  report: FrameReport,
  say: (line: string) => void,
) {
  const number = report.sessions;
  report.sessions += 1;
  const random = seededRandom(Math.imul(seed + 7, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b));
  if (number % RUN_EVERY === 0) await quietly(server.client.workflow("fuzz-held").invoke());
  const session = await hostileSession(dialer, random, `fuzz-${number % 50}`);
  const before = report.frames;
  report.frames += session.frames;
  report.leased += session.leased;
  report.statuses[session.status] = (report.statuses[session.status] ?? 0) + 1;
  // Unknown, Internal and DataLoss are errors that nobody thought of, but for bytes that are no frame.
  if (["2", "13", "15", "timeout"].includes(session.status) && !UNDECODABLE.test(session.message)) {
    const problem = `session ${number} ended with ${session.status}: ${session.message}\n${server.failures()}`;
    report.violations.push({ problem, name: `session_${number}`, input: session.written });
  }
  for (let left = CALLS_A_SESSION; left > 0; left -= 1) {
    const problem = await hostileCall(server.api, server.token, random);
    report.calls += 1;
    report.frames += 1;
    if (problem !== undefined)
      report.violations.push({ problem, name: `call_${number}_${left}`, input: Buffer.alloc(0) });
  }
  const content = documents.at(number).toString();
  await quietly(server.client.manifests.validate({ files: [{ name: "fuzz.yaml", content }] }));
  if (Math.floor(before / 10_000) !== Math.floor(report.frames / 10_000)) say(`frames: ${report.frames}`);
}

// Refusals are what hostile input is for; that the server lives is checked elsewhere.
async function quietly(work: Promise<unknown>): Promise<void> {
  await work.catch(() => undefined);
}

async function serveHealthy(server: FuzzServer, clock: Clock, report: FrameReport, signal: AbortSignal) {
  while (!signal.aborted && server.alive()) {
    const started = performance.now();
    try {
      await server.client.workflows.listRuns({ pageSize: 1 }, { timeoutMs: HEALTHY_WAIT_MS });
      report.healthyCalls += 1;
    } catch (error) {
      const problem = `a healthy client was not served: ${messageOf(error)}`;
      report.violations.push({ problem, name: "healthy", input: Buffer.alloc(0) });
    }
    report.slowestHealthyMs = Math.max(report.slowestHealthyMs, performance.now() - started);
    await clock.sleep(50, signal).catch(() => undefined);
  }
}

async function normalRun(server: FuzzServer, report: FrameReport): Promise<void> {
  try {
    await server.startWorker();
    const run = await server.client.workflow("fuzz-quick").invoke();
    await run.result({ signal: AbortSignal.timeout(NORMAL_RUN_MS) });
  } catch (error) {
    const problem = `a normal run afterwards did not succeed: ${messageOf(error)}`;
    report.violations.push({ problem, name: "afterwards", input: Buffer.alloc(0) });
  }
}

// What a decision costs in this process, without a database: 100, 10 and 1 different policies attached to one tool.
// Called by bench/main.ts. Of ten policies eight match attributes, one is a time window, one is CEL; none decides by short cut.
// Time moves on by a second a decision and requesters change, so that nothing is remembered from the decision before but what may be.

import type { Clock } from "../kit/clock.ts";
import type { ConditionSpec } from "../server/manifests/specs.ts";
import { compilePolicies } from "../server/policy/compile.ts";
import { decide } from "../server/policy/evaluate.ts";
import { targetsOf } from "../server/policy/targets.ts";
import type { LivePolicy, PolicyInput } from "../server/policy/types.ts";
import { percentile } from "./percentile.ts";

/** Numbers of policies that are measured. */
export const ATTACHED = [100, 10, 1] as const;
/** Decisions before the measured ones: code is compiled by then. */
const WARM_UP = 3_000;
/** Parts of the measurement, one of which is the calmest. */
const ROUNDS = 10;
/** A Tuesday, 09:30 in Prague; the measured time stays within office hours. */
const START_MS = Date.parse("2026-03-03T08:30:00Z");
const OFFICE_SECONDS = 6 * 3_600;

/** Times of a decision, in µs. */
export interface DecideTimes {
  readonly attached: number;
  readonly p50_us: number;
  readonly p99_us: number;
  /** p99 of the tenth of the measurement in which it was lowest: what others on the machine disturbed least. */
  readonly calm_p99_us: number;
  /** Processor time of this thread for each decision, its document included, on average: what neighbours do not lengthen. */
  readonly cpu_mean_us: number;
}

/** Different policies on the tool `deploy`, all of which `documentAt` passes. */
export function benchPolicies(count: number): LivePolicy[] {
  return Array.from({ length: count }, (_, index) => {
    const name = `p${String(index).padStart(3, "0")}`;
    const spec = {
      ...({ description: "", mode: "enforce", message: "" } as const),
      attachTo: [{ kind: "Tool", name: "deploy" }] as const,
      checkpoints: ["tool.call"] as const,
      limits: [],
      ...conditionsOf(index),
    };
    return { namespace: "platform", name, generation: 1, digest: `sha256:${name}`, spec };
  });
}

function conditionsOf(index: number): { allow: ConditionSpec; deny?: ConditionSpec } {
  const own = `only-${index}`;
  if (index % 10 === 8)
    return {
      allow: {
        time: {
          in: [
            windowOf(index),
            { cron: `${index % 60} ${Math.floor(index / 60)} 1 1 *`, duration: "1m", timeZone: "UTC" },
          ],
        },
      },
    };
  if (index % 10 === 9) {
    return {
      allow: { cel: `args.amount <= ${1_000 + index} && ("${own}" in requester.groups || requester.kind == "user")` },
    };
  }
  return {
    allow: {
      any: [
        { match: { "requester.groups": [own, "engineering"], "workflow.names": ["release", own] } },
        { match: { "requester.claims": { team: [own] } } },
      ],
    },
    deny: {
      all: [
        { match: { "context.tags": { "customer-id": [own] } } },
        { match: { "tool.labels": { risk: ["low", own] } } },
      ],
    },
  };
}

function windowOf(index: number) {
  const timeZone = ["Europe/Prague", "Europe/London", "Africa/Cairo", "Europe/Athens", "UTC"][index % 5] as string;
  return { cron: `${index % 30} ${6 + (index % 2)} * * mon-fri`, duration: "12h", timeZone };
}

/** The document of the decision with this number. */
export function documentAt(index: number): PolicyInput {
  const labels = { tier: "prod", area: "delivery" };
  return {
    checkpoint: "tool.call",
    requester: {
      ...{ id: `user-${index % 64}`, kind: "user" },
      groups: ["developers", "engineering", `team-${index % 16}`],
      claims: { team: `team-${index % 16}`, customer_id: "123" },
    },
    workflow: { name: "release", namespace: "platform", labels },
    system: { name: "release", namespace: "platform", labels },
    run: { id: `run_${index}` },
    agent: { name: "releaser", namespace: "platform", labels: { team: "release" } },
    tool: {
      ...{ name: "deploy", namespace: "platform", type: "http", effect: "destructive" },
      ...{ labels: { risk: "high" }, guarded: true },
    },
    args: { service: "checkout", version: `v${index % 9}`, amount: index % 500 },
    context: { tags: { "customer-id": "123" }, labels, metadata: { ticket: `CHG-${index}` } },
    nowMs: START_MS + (index % OFFICE_SECONDS) * 1_000,
  };
}

/** Measures each number of policies. @throws Error if a decision is not what it must be */
export function measureDecisions(
  samples: number,
  { clock, progress }: { readonly clock: Clock; readonly progress: (line: string) => void },
): DecideTimes[] {
  return ATTACHED.map((attached) => {
    const set = compilePolicies(benchPolicies(attached), "1");
    progress(`decide: ${samples} decisions of ${attached} ${attached === 1 ? "policy" : "policies"}`);
    const times: number[] = [];
    let cpuBegin = process.threadCpuUsage();
    for (let index = 0; index < WARM_UP + samples; index += 1) {
      if (index === WARM_UP) cpuBegin = process.threadCpuUsage();
      const input = documentAt(index);
      const begin = clock.monotonic();
      const decision = decide(set, input, targetsOf(input));
      const took = clock.monotonic() - begin;
      if (!decision.allowed || decision.verdicts.length !== attached) {
        throw new Error(
          `decision ${index} is ${decision.reason} by ${decision.decidedBy} of ${decision.verdicts.length}`,
        );
      }
      if (index >= WARM_UP) times.push(took * 1_000);
    }
    const cpu = process.threadCpuUsage(cpuBegin);
    const length = Math.ceil(samples / ROUNDS);
    const rounds = Array.from({ length: ROUNDS }, (_, round) => times.slice(round * length, (round + 1) * length));
    const calm = Math.min(...rounds.filter((round) => round.length > 0).map((round) => percentile(round, 0.99)));
    const [p50, p99] = [percentile(times, 0.5), percentile(times, 0.99)];
    const clocked = { p50_us: tenths(p50), p99_us: tenths(p99), calm_p99_us: tenths(calm) };
    return { attached, ...clocked, cpu_mean_us: tenths((cpu.user + cpu.system) / samples) };
  });
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

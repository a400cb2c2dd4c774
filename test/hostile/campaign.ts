// A hostile run: clients that lie at a real server, beside a worker that does not, until so many attempts were made. Called by main.ts and the test.
// Tasks of victims are held from the beginning to the end; whatever was tried with them, their own right frames must succeed.

import { randomBytes } from "node:crypto";
import type { Cleanup } from "../../demo/fleet.ts";
import type { Clock } from "../../kit/clock.ts";
import type { ToolDecision, ToolGrant } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { Bait } from "./bait.ts";
import { elderLane } from "./elder_lane.ts";
import { lane } from "./lane.ts";
import { Link } from "./link.ts";
import { Report } from "./report.ts";
import { specialLane } from "./special_lane.ts";
import { countOf, lossesOf, signsOf } from "./trail.ts";
import { startWorld, type World } from "./world.ts";

/** Lanes at once, by attempts: one waits for commits most of the time. */
const lanesOf = (target: number) => Math.min(20, Math.max(4, Math.ceil(target / 500)));
const VICTIMS = 4;
/** Attempts for each round of the special lane. */
const ATTEMPTS_A_ROUND = 500;
/** Between two runs of the honest worker: it works beside the others, and leaves the machine to them. */
const HONEST_REST_MS = 250;
/** Records of refused tokens are written in the background; that is how long they may take. */
const TRAIL_MS = 20_000;

/** What every lane is given. */
export interface Cast {
  readonly world: World;
  readonly report: Report;
  readonly clock: Clock;
  readonly target: number;
  readonly victims: readonly Bait[];
  /** Opens a session of that name for the tasks of a side. */
  open(name: string, side: string): Promise<Link>;
  /** Makes the call that a grant is for. */
  spend(grant: ToolGrant): Promise<void>;
  /** Uses a grant that should not have been given. */
  use(decision: ToolDecision["decision"]): Promise<void>;
}

/** The figures of a run. */
export interface Verdict {
  readonly attempts: number;
  /** Calls of the counting service that no right frame made. */
  readonly effects: number;
  /** Attempts that were accepted. */
  readonly accepted: number;
  /** Attempts whose record is in the trail. */
  readonly audited: number;
  readonly by_kind: Readonly<Record<string, number>>;
  readonly replays: number;
  readonly accepted_twice: number;
  readonly legit: Report["legit"];
  readonly honest: Report["honest"];
  readonly problems: readonly string[];
}

/** Runs until so many attempts were made. */
export async function campaign(
  target: number,
  clock: Clock,
  cleanup: Cleanup,
  env: Readonly<Record<string, string>> = {},
): Promise<Verdict> {
  const world = await startWorld(clock, cleanup, env);
  const report = new Report();
  const links: Link[] = [];
  cleanup.add(async () => {
    for (const link of links) link.close();
  });
  const victims: Bait[] = [];
  const cast: Cast = {
    ...{ world, report, clock, target, victims },
    open: async (name, side) => {
      const link = await Link.open(world.dial(), { name, instanceId: randomBytes(16).toString("hex"), side });
      links.push(link);
      return link;
    },
    spend,
    use: async (decision) => {
      if (decision.case !== "granted") return;
      report.stolenGrants += 1;
      await spend(decision.value);
    },
  };
  for (let index = 0; index < VICTIMS; index += 1) {
    await world.client.workflow("bait").invoke();
    const link = await cast.open(`victim-${index}`, "bait");
    const victim = new Bait(link, await link.take(), report, spend);
    await victim.begin();
    victims.push(victim);
  }
  const over = new AbortController();
  const rounds = Math.max(2, Math.round(target / ATTEMPTS_A_ROUND));
  const lies = Promise.all([
    ...Array.from({ length: lanesOf(target) }, (_, index) => lane(cast, index)),
    specialLane(cast, rounds),
    elderLane(cast, Math.ceil(target / 200)),
  ]).finally(() => over.abort());
  await Promise.all([lies, honestRuns(cast, over.signal)]);
  for (const victim of victims) await victim.finish(0);
  return await judge(cast);
}

async function spend({ means }: ToolGrant): Promise<void> {
  if (means.case !== "http") throw new Error("the tools of a hostile run are http");
  const { method, url, headers, body, hasBody } = means.value;
  await fetch(url, { method, headers, ...(hasBody && { body: Buffer.from(body) }) });
}

async function honestRuns({ world, report, clock }: Cast, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    report.honest.runs += 1;
    const run = await world.client.workflow("honest").invoke();
    await run.result({ signal: AbortSignal.timeout(120_000) });
    report.honest.succeeded += 1;
    await clock.sleep(HONEST_REST_MS);
  }
}

async function judge({ world, report, clock }: Cast): Promise<Verdict> {
  const audited = await auditedOf(world, report, clock);
  const results = await countOf(world.client, "tool.result");
  const wanted = report.legit.results + report.honest.succeeded;
  report.demand(results === wanted, () => `the trail has ${results} tool results, not ${wanted}`);
  const losses = await lossesOf(world.client);
  report.demand(losses.length === 0, () => `${losses.length} leases were lost; the first: ${losses[0]}`);
  const hostile = world.sink.calls().filter(({ path }) => path !== "/steady").length;
  const steady = world.sink.count("/steady");
  report.demand(steady === report.honest.runs, () => `${steady} effects of ${report.honest.runs} honest runs`);
  const effects = hostile - report.legitUses;
  report.demand(effects === report.stolenGrants, () => `${effects} effects of ${report.stolenGrants} stolen grants`);
  return {
    ...{ attempts: report.attempts, effects, audited },
    accepted: [...report.accepted.values()].reduce((sum, count) => sum + count, 0),
    by_kind: Object.fromEntries([...report.byKind].sort()),
    ...{ replays: report.replays.told, accepted_twice: report.replays.acceptedTwice },
    ...{ legit: report.legit, honest: report.honest, problems: report.problems },
  };
}

// One record for each attempt, neither more nor less: what right frames leave has other signs.
async function auditedOf(world: World, report: Report, clock: Clock): Promise<number> {
  const deadline = clock.monotonic() + TRAIL_MS;
  for (;;) {
    const found = await signsOf(world.client);
    const short = [...report.expected].filter(([sign, count]) => (found.get(sign) ?? 0) < count);
    if (short.length > 0 && clock.monotonic() < deadline) {
      await clock.sleep(200);
      continue;
    }
    for (const [sign, count] of found) {
      const wanted = report.expected.get(sign) ?? 0;
      report.demand(count === wanted, () => `the trail has ${count} of "${sign}", not ${wanted}`);
    }
    for (const [sign, count] of short) {
      report.demand(found.has(sign), () => `the trail has none of the ${count} of "${sign}"`);
    }
    return [...report.expected].reduce((sum, [sign, count]) => sum + Math.min(count, found.get(sign) ?? 0), 0);
  }
}

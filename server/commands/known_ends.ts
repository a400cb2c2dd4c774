// Says how the nodes of a finished run ended, in the order in which they did, so that a new run may begin where it stopped.
// Called by restart_run.ts, in its transaction. Reads only.
// Of its newest iteration a node's success is known; of the rounds of a loop before that, also failures, for the loop went on from them.
// With other manifests a loop may go round otherwise: then nothing in or behind a loop is known.

import { DomainError } from "../../kit/errors.ts";
import type { Json } from "../../kit/json.ts";
import { gather } from "../graph/map_items.ts";
import type { KnownEnd } from "../graph/restart.ts";
import type { FailureValue, ItemResult, PlanMap } from "../graph/types.ts";
import { isToolAgent } from "../manifests/tool_agent.ts";
import { deadLetterReads, type ReplayableRow, type RoundRow } from "../storage/read_dead_letters.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";

type FinishedRun = Awaited<ReturnType<ReturnType<typeof deadLetterReads>["finishedRun"]>>;
type Timed = KnownEnd & { readonly timeMs: number };

/** Tasks of earlier rounds that are played again at most. */
const ROUNDS_TASKS_MAX = 2_000;

/** See the file header. @throws REQUEST_INVALID if there are too many rounds */
export async function knownEnds(
  tx: StoreQueries,
  letter: ReplayableRow,
  { run, done, tasks }: FinishedRun,
  bundle: CompiledBundle,
): Promise<KnownEnd[]> {
  const { loops } = bundle.plan;
  const endTimes = new Map(tasks.map((task) => [task.node, task.end_time?.getTime() ?? 0]));
  const newest = done.map(({ node, iteration, output }): Timed => {
    const end = { output: JSON.parse(output ?? "null") as Json };
    return { node, iteration, end, timeMs: endTimes.get(node) ?? 0 };
  });
  const isLetter = ({ node, iteration }: KnownEnd) => node === letter.node && iteration === letter.iteration;
  if (bundle.row.digest !== run.bundle_digest) {
    const looped = new Set([...loops.values()].flatMap((loop) => loop.again));
    return newest.filter((one) => !looped.has(one.node) && !isLetter(one));
  }
  const earlier = loops.size === 0 ? [] : await earlierRounds(tx, run.id, bundle);
  return [...earlier, ...newest].filter((one) => !isLetter(one)).sort((a, b) => a.timeMs - b.timeMs);
}

async function earlierRounds(tx: StoreQueries, runId: string, bundle: CompiledBundle): Promise<Timed[]> {
  const rows = await deadLetterReads(tx.db).earlierRounds(runId, ROUNDS_TASKS_MAX + 1);
  if (rows.length > ROUNDS_TASKS_MAX) {
    const message = `run ${runId} went round its loops with more than ${ROUNDS_TASKS_MAX} tasks, which is too much to go on from; invoke its workflow anew`;
    throw new DomainError("REQUEST_INVALID", message, { run: runId });
  }
  const failed = rows.filter((row) => isToolAgent(row.agent) && row.failure_class !== null).map((row) => row.id);
  const timedOut = new Set(await tx.ledger.timedOut(failed));
  return [...Map.groupBy(rows, ({ node, iteration }) => `${node} ${iteration}`).values()].flatMap((round): Timed[] => {
    const [first] = round as [RoundRow, ...RoundRow[]];
    const map = bundle.plan.nodes.get(first.node)?.map;
    const ends = round.map((row) => endOf(row, bundle, timedOut));
    const end = map === undefined ? ends[0] : endOfItems(map, round, ends);
    const timeMs = Math.max(...round.map((row) => row.end_time?.getTime() ?? 0));
    return end === undefined ? [] : [{ node: first.node, iteration: first.iteration, end, timeMs }];
  });
}

// Undefined for what ended without effect: a loop went round meanwhile.
function endOf(row: RoundRow, bundle: CompiledBundle, timedOut: ReadonlySet<string>): KnownEnd["end"] | undefined {
  const failure: FailureValue = {
    ...{ class: row.failure_class ?? "", message: row.failure_message ?? "" },
    ...(timedOut.has(row.id) && { timedOut: true }),
  };
  switch (row.state) {
    case "SUCCEEDED":
      return { output: JSON.parse(row.output ?? "null") as Json };
    case "FAILED": {
      const { onExhausted, fallback } = bundle.agents.get(row.agent)?.agent.spec.errorHandling ?? {};
      return { type: "failed", failure, ...(onExhausted === "continue" && fallback !== undefined && { fallback }) };
    }
    case "POLICY_DENIED":
      return { type: "denied", failure };
    case "DEAD_LETTERED":
      return { type: "parked", failure };
    default:
      return undefined;
  }
}

// The first item that fails a map ends it; else it has ended once all of its items have.
function endOfItems(
  map: PlanMap,
  rows: readonly RoundRow[],
  ends: readonly (KnownEnd["end"] | undefined)[],
): KnownEnd["end"] | undefined {
  const results = new Map<number, ItemResult>();
  for (const [index, { item }] of rows.entries()) {
    const end = ends[index];
    if (end === undefined) continue;
    if ("output" in end) results.set(item, { output: end.output });
    else if (end.type === "failed" && end.fallback !== undefined) results.set(item, { output: end.fallback });
    else if (map.onItemError === "fail") return end;
    else if ("failure" in end) results.set(item, { error: end.failure });
  }
  return results.size === rows.length ? { output: gather(map, results) } : undefined;
}

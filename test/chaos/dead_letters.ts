// After the faults, what was parked is decided as a person would who has asked the world outside: some are replayed, twice at once,
// the rest is given up. Called by campaign.ts; what was answered goes into the history, and the checker judges it.

import { type OrlojClient, OrlojError } from "../../sdk/index.ts";
import type { History } from "./history.ts";
import type { ChaosPostgres } from "./postgres.ts";
import type { Sink } from "./sink.ts";

const PAGE = 500;

/** What is needed. */
interface Desk {
  readonly client: OrlojClient;
  readonly postgres: ChaosPostgres;
  readonly sink: Sink;
  readonly history: History;
}

/** Two of three are replayed, every second of those by two callers at once; the others, and those of runs that ended, are discarded. */
export async function decideDeadLetters(desk: Desk): Promise<void> {
  const rows = await desk.postgres.query<{ task_id: string; alive: boolean }>(
    `select task_id, r.end_time is null as alive from dead_letter d join run r on r.id = d.run_id
     where d.state = 'open' order by task_id limit ${PAGE}`,
  );
  const [replayed, discarded] = [rows.filter(({ alive }, index) => alive && index % 3 !== 1), new Set(rows)];
  for (const [index, row] of replayed.entries()) {
    discarded.delete(row);
    await replay(desk, row.task_id, index % 2 === 0 ? 2 : 1);
    // What was decided stands.
    if (index % 2 === 0) await discard(desk, row.task_id);
  }
  for (const { task_id } of discarded) await discard(desk, task_id);
}

async function replay({ client, sink, history }: Desk, task: string, times: number): Promise<void> {
  const { deadLetter, inputJson, toolCalls } = await client.deadLetters.getDeadLetter({ taskId: task });
  const { op } = JSON.parse(inputJson) as { op: string };
  const receipt = sink.operations.get(`${op}/${deadLetter?.node}`)?.receipts[0];
  // What has no answer is as unknown as what was judged so.
  const unknown = toolCalls.filter(({ state }) => state === "unknown" || state === "granted");
  const found = receipt === undefined ? [] : unknown.map(({ requestId }) => [requestId, JSON.stringify({ receipt })]);
  const request = {
    selection: { taskIds: [task] },
    resultsJson: Object.fromEntries(found) as Record<string, string>,
    repeatEffects: unknown.length > 0 && receipt === undefined,
  };
  const ask = async () => {
    try {
      const { results } = await client.deadLetters.replayDeadLetters(request);
      const [answer] = results;
      if (answer?.result.case === "replay") {
        const { taskId, duplicate } = answer.result.value;
        history.add({ type: "replayed", task, replay: taskId, duplicate });
      } else refused(history, "replay", task, answer?.result.value?.message ?? "no answer");
    } catch (error) {
      refused(history, "replay", task, OrlojError.from(error).message);
    }
  };
  await Promise.all(Array.from({ length: times }, ask));
}

async function discard({ client, history }: Desk, task: string): Promise<void> {
  try {
    const request = { selection: { taskIds: [task] }, reason: "chaos" };
    const { results } = await client.deadLetters.discardDeadLetters(request);
    const [answer] = results;
    if (answer?.error === undefined) history.add({ type: "discarded", task });
    else refused(history, "discard", task, answer.error.message);
  } catch (error) {
    refused(history, "discard", task, OrlojError.from(error).message);
  }
}

function refused(history: History, asked: "replay" | "discard", task: string, error: string): void {
  history.add({ type: "refused", asked, task, error: error.slice(0, 200) });
}

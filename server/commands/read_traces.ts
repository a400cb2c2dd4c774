// Reads what the spans of tasks and runs are made of, as telemetry/run_spans.ts takes it.
// Called by telemetry/run_tracer.ts through replica.ts, once a second at most and only while tracing is on.

import { traceReads } from "../storage/read_traces.ts";
import { SPAN_KINDS, type TracedRecord, type TracedRun, type TracedTask } from "../telemetry/run_spans.ts";
import type { CommandContext } from "./context.ts";

/** Records of one batch at most: a task that has more of them is told in part. */
const RECORDS_MAX = 20_000;

/** Runs and tasks of these ids that are sampled. @throws STORAGE_UNAVAILABLE */
export async function readTraces(
  { store }: Pick<CommandContext, "store">,
  runIds: readonly string[],
  taskIds: readonly string[],
): Promise<{ readonly runs: TracedRun[]; readonly tasks: TracedTask[] }> {
  return await store.read(async ({ db }) => {
    const reads = traceReads(db);
    const runs = await reads.runs(runIds);
    const rows = await reads.tasks(taskIds);
    const records = Map.groupBy(await reads.records(rows, SPAN_KINDS, RECORDS_MAX), ({ task_id }) => task_id);
    return {
      runs: runs.map((row) => ({ ...told(row), replayOf: row.replay_of ?? "" })),
      tasks: rows.map((row) => {
        const { run_id: runId, node, iteration, item, agent } = row;
        const own = (records.get(row.id) ?? []).map(recordOf);
        return { ...told(row), runId, node, iteration, item, agent, replayOf: row.replay_of ?? "", records: own };
      }),
    };
  });
}

type ToldRow = Awaited<ReturnType<ReturnType<typeof traceReads>["runs"]>>[number];

function told(row: Omit<ToldRow, "replay_of">) {
  const { id, namespace, workflow, state } = row;
  return {
    ...{ id, namespace, workflow, state, traceId: row.trace_id },
    failureClass: row.failure_class ?? "",
    startMs: row.create_time.getTime(),
    endMs: (row.end_time ?? row.create_time).getTime(),
  };
}

function recordOf({ time, kind, record }: { time: Date; kind: TracedRecord["kind"]; record: string }): TracedRecord {
  return { kind, timeMs: time.getTime(), detail: detailOf(record) };
}

// A record that was too long for the trail has no detail that a span could tell.
function detailOf(record: string): TracedRecord["detail"] {
  const { detail } = JSON.parse(record) as { detail?: TracedRecord["detail"] };
  return detail ?? {};
}

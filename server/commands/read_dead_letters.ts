// Reads dead letters for people: pages by filter, and one with journal, calls, input and the manifests that its task used.
// Called by rpc/dead_letter_service, and for the filter of replays and discards. Never locks, never writes.

import type { Json } from "../../kit/json.ts";
import { type DeadLetterFilter, type DeadLetterReadRow, deadLetterReads } from "../storage/read_dead_letters.ts";
import { readPage } from "./page_token.ts";
import type { ReadContext } from "./read_runs.ts";
import { toolCallView } from "./run_views.ts";
import { notFound } from "./settle_replay.ts";
import type { DeadLetterDetailView, DeadLetterFilterView, DeadLetterView, Page, PageRequest } from "./views.ts";

const SIZES = { sizeDefault: 100, sizeMax: 500 };

/** A page of dead letters by task id, oldest first. @throws PAGE_TOKEN_INVALID */
export async function listDeadLetters(
  context: ReadContext,
  filter: DeadLetterFilterView,
  request: PageRequest,
): Promise<Page<DeadLetterView>> {
  const key = JSON.parse(JSON.stringify(filter)) as Json;
  const page = await readPage(
    { name: "dead_letters", filter: key, ...SIZES },
    request,
    (after, limit) => context.store.read(({ db }) => deadLetterReads(db).list(stored(filter), after?.[0] ?? "", limit)),
    (row) => [row.task_id],
  );
  return { ...page, items: page.items.map(letterView) };
}

/** One with everything that was kept. @throws DEAD_LETTER_NOT_FOUND */
export async function readDeadLetter(context: ReadContext, taskId: string): Promise<DeadLetterDetailView> {
  return await context.store.read(async (queries) => {
    const reads = deadLetterReads(queries.db);
    const row = await reads.one(taskId);
    if (row === undefined) throw notFound(taskId);
    const journal = await queries.ledger.journal([taskId]);
    const calls = await reads.lineageCalls(row.origin_task_id);
    const { bundle } = await context.caches.bundle(queries, row.bundle_digest);
    const systems = [bundle.system, ...(bundle.systems ?? [])];
    const used = [bundle.workflow, ...systems, ...Object.values(bundle.agents), ...Object.values(bundle.tools)];
    return {
      ...letterView(row),
      inputJson: row.input,
      originTaskId: row.origin_task_id,
      ...(row.replay_of !== null && { replayOf: row.replay_of }),
      journal: journal.map((entry) => ({
        sequence: entry.sequence,
        kind: entry.kind,
        payloadJson: entry.payload ?? "",
        tool: entry.tool ?? "",
        ...(entry.failure_class !== null && {
          failure: { class: entry.failure_class, message: entry.failure_message ?? "" },
        }),
      })),
      toolCalls: calls.map(toolCallView),
      bundleDigest: row.bundle_digest,
      manifestDigests: Object.fromEntries(used.map(({ namespace, name, digest }) => [`${namespace}/${name}`, digest])),
    };
  });
}

function stored(filter: DeadLetterFilterView): DeadLetterFilter {
  const { namespace, workflow, agent, cause, failureClass, runId } = filter;
  const set = (text: string) => (text === "" ? undefined : text);
  return {
    ...{ namespace: set(namespace), workflow: set(workflow), agent: set(agent), cause: set(cause) },
    ...{ failureClass: set(failureClass), runId: set(runId), open: !filter.resolved },
    ...{ parkedFrom: filter.parkedFrom, parkedBefore: filter.parkedBefore },
  };
}

function letterView(row: DeadLetterReadRow): DeadLetterView {
  return {
    taskId: row.task_id,
    runId: row.run_id,
    namespace: row.namespace,
    workflow: row.workflow,
    node: row.node,
    agent: row.agent,
    cause: row.cause,
    failure: { class: row.failure_class, message: row.failure_message },
    attempt: row.attempt,
    deliveries: row.deliveries,
    state: row.state,
    parkTime: row.park_time,
    ...(row.resolve_time !== null && { resolveTime: row.resolve_time }),
    resolvedBy: row.resolved_by ?? "",
    replayTaskId: row.replay_task_id ?? "",
    replayRunId: row.replay_run_id ?? "",
  };
}

// Answers what a worker asks for beside its facts: worker views by digest, and journals too long for an assignment.
// Called by worker_session.ts. A journal goes only to the session that holds the task's lease.

import type { FetchJournal, SessionResponse } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { CommandContext } from "../commands/context.ts";
import { inlineJournal } from "./assignment.ts";
import { FRAME_BYTES_MAX } from "./timing.ts";
import { frameOf } from "./wire.ts";

const VIEWS_MAX = 100;

/** Worker views by digest; one that is not stored is answered empty, so that the worker gives its task back. */
export async function fetchViews(context: CommandContext, digests: readonly string[]): Promise<SessionResponse> {
  const wanted = digests.slice(0, VIEWS_MAX);
  const rows = await context.store.read((queries) => queries.bundles.views(wanted));
  const documents = new Map(rows.map((row) => [row.view_digest, row.view_document]));
  const views = wanted.map((digest) => ({ digest, viewJson: documents.get(digest) ?? "" }));
  return frameOf({ case: "views", value: { views } });
}

/** The next page of a task's journal; empty if the token is not current. */
export async function fetchJournal(
  context: CommandContext,
  sessionId: string,
  wanted: FetchJournal,
): Promise<SessionResponse> {
  const { taskId, token, afterSequence } = wanted;
  const rows = await context.store.transaction(async (tx) => {
    const held = await tx.leases.hold([{ task_id: taskId, token, session_id: sessionId }]);
    return held.length === 0 ? [] : await tx.ledger.journal([taskId], afterSequence);
  });
  const { entries, more } = inlineJournal(rows, FRAME_BYTES_MAX / 2);
  return frameOf({ case: "journalPages", value: { taskId, entries, more } });
}

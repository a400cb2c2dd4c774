// From a claimed task to the frame that a worker gets.
// Called by worker_session.ts when it sends assignments. Never puts an endpoint or a secret of a tool into one; a model key, or how
// the agent itself is reached, goes along because agent.run allowed it.

import { create, toBinary } from "@bufbuild/protobuf";
import { KIB } from "../../kit/units.ts";
import {
  type Assignment,
  AssignmentSchema,
  type JournalEntry,
  JournalEntrySchema,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { Assigned } from "../commands/lease_tasks.ts";
import type { JournalRow } from "../storage/ledger_queries.ts";
import { wireAgent } from "./grant_wire.ts";
import { INLINE_PAYLOAD_BYTES_MAX } from "./timing.ts";
import { durationOf } from "./wire.ts";

/** A journal row as it travels. */
export function journalEntry(row: JournalRow): JournalEntry {
  if (row.kind === "turn") {
    return create(JournalEntrySchema, {
      sequence: row.sequence,
      entry: { case: "turnJson", value: row.payload ?? "" },
    });
  }
  return create(JournalEntrySchema, {
    sequence: row.sequence,
    entry: {
      case: "toolResult",
      value: {
        turnSequence: row.turn_sequence ?? 0,
        callIndex: row.call_index ?? 0,
        tool: row.tool ?? "",
        resultJson: row.payload ?? "",
        errorClass: row.failure_class ?? "",
        errorMessage: row.failure_message ?? "",
      },
    },
  });
}

/** Entries that fit inline, in order, and whether some are left. */
export function inlineJournal(
  rows: readonly JournalRow[],
  bytesMax = INLINE_PAYLOAD_BYTES_MAX,
): { entries: JournalEntry[]; more: boolean } {
  const entries: JournalEntry[] = [];
  let bytes = 0;
  for (const row of rows) {
    bytes += Buffer.byteLength(row.payload ?? "") + Buffer.byteLength(row.failure_message ?? "") + 64;
    if (bytes > bytesMax && entries.length > 0) return { entries, more: true };
    entries.push(journalEntry(row));
  }
  return { entries, more: false };
}

/** The frame of an assignment. */
export function assignmentFrame(assigned: Assigned, sequence: bigint): Assignment {
  const { task, bundle, token, journal, traceparent, modelKey, agentMeans } = assigned;
  const agent = bundle.agents.get(task.agent)?.agent.spec;
  const { entries, more } = inlineJournal(journal);
  return create(AssignmentSchema, {
    sequence,
    taskId: task.id,
    runId: task.run_id,
    namespace: task.namespace,
    node: task.node,
    iteration: task.iteration,
    item: task.item,
    attempt: task.attempt,
    delivery: task.deliveries,
    token,
    viewDigest: bundle.row.view_digest,
    agent: task.agent,
    inputJson: task.input,
    journal: entries,
    journalTruncated: more,
    // The run's own deadline is the server's to keep: a task that it ends is TIMED_OUT, not failed.
    ...(agent && { timeout: durationOf(agent.limits.timeoutMs) }),
    withheldTools: [...assigned.withheldTools],
    traceparent,
    modelSecret: modelKey?.reveal() ?? "",
    toolCallsSpent: journal.filter((row) => row.kind !== "turn").length,
    ...(agentMeans && wireAgent(agentMeans)),
  });
}

/** Characters of input and credential of an assignment that has nothing long, and what such a one takes at most. */
const SHORT = { characters: 1_000, bytes: 8 * KIB } as const;

/** Bytes of a frame's assignment, at most. What holds nothing long is not written only to be measured. */
export function assignmentBytes(assignment: Assignment): number {
  const { inputJson, modelSecret, journal, withheldTools, agentSecrets, agentMeans } = assignment;
  const isShort =
    inputJson.length + modelSecret.length <= SHORT.characters &&
    journal.length + withheldTools.length + agentSecrets.length === 0 &&
    agentMeans.case === undefined;
  return isShort ? SHORT.bytes : toBinary(AssignmentSchema, assignment).byteLength;
}

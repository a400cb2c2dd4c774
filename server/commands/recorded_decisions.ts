// Reads the decisions that the audit trail holds of a run or a task.
// Called by explain_decisions.ts, after the reading was recorded. Never locks, never writes.
// A decision is a member of the record of what it decided; a record without one is passed over.

import { isJsonObject, type Json } from "../../kit/json.ts";
import type { AuditKind, DecisionDetail } from "../audit/events.ts";
import type { Queryable } from "../storage/bulk.ts";
import { type AuditReadRow, auditReads } from "../storage/read_audit.ts";
import type { RecordedDecisionView } from "./decision_views.ts";

/** Records that are looked at for one explanation. */
const RECORDS_MAX = 1_000;
/** Kinds that may carry a decision about a run, and about tasks. */
const KINDS: readonly (AuditKind | "tool.")[] = ["run.created", "task.leased", "task.denied", "decision", "tool."];

/** The decisions of a run, or of one of its tasks, oldest first. */
export async function recordedDecisions(
  db: Queryable,
  of: { readonly runId: string; readonly taskId: string },
): Promise<RecordedDecisionView[]> {
  const rows = await auditReads(db).list({ ...of, kinds: KINDS }, "0", RECORDS_MAX);
  return rows.flatMap(decisionOf);
}

function decisionOf(row: AuditReadRow): RecordedDecisionView[] {
  const { detail } = JSON.parse(row.record) as { detail?: Json };
  const decision = row.kind === "decision" ? detail : isJsonObject(detail) ? detail["decision"] : undefined;
  // A decision that was too long for its record left its digest there.
  if (!isJsonObject(decision) || !Array.isArray(decision["verdicts"])) return [];
  return [
    {
      recordId: row.id,
      time: row.time,
      kind: row.kind,
      taskId: row.task_id,
      decision: decision as unknown as DecisionDetail,
    },
  ];
}

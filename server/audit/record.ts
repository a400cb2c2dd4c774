// Turns audit events into rows with canonical text, and decisions into their record.
// Called by commands; the rows are inserted in the transaction of the change. Time and id come from the database.
// A record is at most 64 KiB: what is too long is replaced by its digest and size, never cut, so that it can be matched.
// Text that Postgres refuses in its columns (U+0000, lone surrogates) is escaped; in canonical JSON it already is.

import { canonicalJson, type Json, type JsonObject, jsonDigest, sha256 } from "../../kit/json.ts";
import { KIB } from "../../kit/units.ts";
import type { Decision, PolicyInput } from "../policy/types.ts";
import type { AuditEvent, DecisionDetail, OmittedDetail, StoredRecord, TargetDetail } from "./events.ts";

/** Longest record, in bytes of UTF-8. */
export const RECORD_BYTES_MAX = 64 * KIB;
/** Longest actor, namespace or id in a record, in characters. */
export const COLUMN_CHARACTERS_MAX = 512;

/** The row of an event. */
export function auditRecord(event: AuditEvent): StoredRecord {
  const columns = {
    kind: event.kind,
    namespace: column(event.namespace),
    run_id: column(event.runId),
    task_id: column(event.taskId),
    actor: column(event.actor),
  };
  const subject: JsonObject = { kind: columns.kind, actor: columns.actor };
  if (columns.namespace !== "") subject["namespace"] = columns.namespace;
  if (columns.run_id !== "") subject["runId"] = columns.run_id;
  if (columns.task_id !== "") subject["taskId"] = columns.task_id;
  const record = recordText(subject, event.detail as JsonObject);
  return { ...columns, ...(event.traceId !== undefined && { trace_id: column(event.traceId) }), record, event };
}

/** What the trail keeps of a decision. Arguments are kept as their digest. */
export function decisionDetail(decision: Decision, input?: PolicyInput): DecisionDetail {
  const { checkpoint, allowed, reason, decidedBy, policyRevision, nowMs, inputDigest } = decision;
  const verdicts = decision.verdicts.map((verdict) => ({
    policy: `${verdict.namespace}/${verdict.name}`,
    generation: verdict.generation,
    digest: verdict.digest,
    mode: verdict.mode,
    reason: verdict.reason,
  }));
  const limits = decision.counted?.map(({ policy, limit, keyDigest, windowStartMs, windowMs, count, max }) => {
    return { policy, limit, keyDigest, windowStartMs, windowMs, count, max };
  });
  return {
    ...{ checkpoint, allowed, reason, decidedBy, policyRevision, nowMs, inputDigest, verdicts },
    ...(input && { requester: input.requester.id, workflow: input.workflow.name }),
    ...(input?.agent && { agent: input.agent.name }),
    ...(input?.tool && { tool: input.tool.name }),
    ...(input?.args !== undefined && { argumentsDigest: jsonDigest(input.args) }),
    ...(input?.argsDeferred && { argsDeferred: true }),
    ...(limits !== undefined && limits.length > 0 && { limits }),
  };
}

/** What a record says of the manifest that it is about. */
export function targetDetail({ generation, digest }: TargetDetail): TargetDetail {
  return { generation, digest };
}

/** Eight hex digits that stand for a lease token in records: enough to tell two apart, nothing to use. */
export function tokenHash(token: string): string {
  return sha256(token).slice("sha256:".length, "sha256:".length + 8);
}

function recordText(subject: JsonObject, detail: JsonObject): string {
  const text = canonicalJson({ ...subject, detail });
  if (Buffer.byteLength(text) <= RECORD_BYTES_MAX) return text;
  // The longest members go first, until the rest fits; short ones (reason, node, attempt) are what readers look for.
  const shrunk = { ...detail };
  const bySize = Object.entries(detail)
    .map(([key, value]) => ({ key, bytes: value === undefined ? 0 : Buffer.byteLength(canonicalJson(value)) }))
    .sort((a, b) => b.bytes - a.bytes);
  for (const { key } of bySize) {
    shrunk[key] = omitted(detail[key] as Json);
    const shorter = canonicalJson({ ...subject, detail: shrunk });
    if (Buffer.byteLength(shorter) <= RECORD_BYTES_MAX) return shorter;
  }
  return canonicalJson({ ...subject, detail: omitted(detail) });
}

function omitted(value: Json): OmittedDetail {
  const text = canonicalJson(value);
  return { omitted: true, digest: sha256(text), bytes: Buffer.byteLength(text) };
}

function column(value = ""): string {
  return value.slice(0, COLUMN_CHARACTERS_MAX).toWellFormed().replaceAll("\u0000", "\\u0000");
}

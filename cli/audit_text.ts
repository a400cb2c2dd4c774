// One audit record as words: what happened, to what, with which details.
// Called by the run view, describe and audit list. Pure.
// Knows no list of kinds: a record of a kind made later reads as well as one of today.

import { isJsonObject, type Json, type JsonObject } from "../kit/json.ts";
import type { AuditRecord } from "../sdk/index.ts";
import { cutTo, safeLine } from "./sanitize.ts";
import { lookOf, type Tone } from "./style.ts";

/** A record in words. */
export interface RecordText {
  readonly kind: string;
  /** Node and task that it is about; "" if none. */
  readonly subject: string;
  /** key=value of what is particular to it. */
  readonly detail: string;
  /** Changes of state that it caused, such as "node reply ACTIVE". */
  readonly transitions: readonly string[];
  readonly actor: string;
  readonly tone: Tone;
}

/** What a task id stands for, such as "triage" or "read[3]". */
export type TaskNames = ReadonlyMap<string, string>;

const PART_COLUMNS_MAX = 120;
// Told elsewhere on the line, or long without telling a person anything.
const LEFT_OUT =
  /^(v|id|kind|time|namespace|runId|taskId|actor|node|transitions|nowMs|policyRevision|grantId|sessionId|instanceId|generation|previousGeneration|target|.*[dD]igest)$/;
// Told first, in this order.
const FIRST = [
  "decision",
  "tool",
  "failure",
  "state",
  "cause",
  "reason",
  "workflow",
  "agent",
  "iteration",
  "item",
  "attempt",
  "delivery",
  "worker",
];
const GOOD = /\.(succeeded|granted|cached)$/;
const BAD = /\.(refused|failed|dead_lettered|timed_out|lost|expired|revoked|retrying)$/;

/** See the file header. */
export function describeRecord(record: AuditRecord, tasks: TaskNames): RecordText {
  const detail = detailOf(record);
  const node = typeof detail["node"] === "string" ? detail["node"] : "";
  const decision = record.kind === "decision" ? detail : detail["decision"];
  const words = isJsonObject(decision) ? [decisionWords(decision)] : [];
  const shown = record.kind === "decision" ? pick(detail, ["tool", "agent"]) : detail;
  return {
    kind: safeLine(record.kind),
    subject: safeLine(tasks.get(record.taskId) ?? (node || record.taskId)),
    detail: [...words, ...pairsOf(shown)].map((part) => cutTo(safeLine(part), PART_COLUMNS_MAX)).join("  "),
    transitions: transitionsOf(detail).map(safeLine),
    actor: safeLine(record.actor),
    tone: toneOf(record.kind, detail, decision),
  };
}

/** True for records about tool calls, and for those that carry a policy decision. */
export function isCallOrDecision(record: AuditRecord): boolean {
  return /^(tool\.|decision$)/.test(record.kind) || isJsonObject(detailOf(record)["decision"]);
}

function detailOf(record: AuditRecord): JsonObject {
  try {
    const body: unknown = JSON.parse(record.recordJson);
    const detail = isJsonObject(body) ? body["detail"] : undefined;
    return isJsonObject(detail) ? detail : {};
  } catch {
    return {};
  }
}

/** "DENIED forbidden at tool.call by platform/deploy (platform/deploy forbidden, platform/hours allowed)". */
function decisionWords(decision: JsonObject): string {
  const { allowed, reason, checkpoint, decidedBy, verdicts } = decision;
  const policies = (Array.isArray(verdicts) ? verdicts : []).filter(isJsonObject).map((verdict) => {
    const observed = verdict["mode"] === "observe" ? " observed" : "";
    return `${text(verdict["policy"])} ${text(verdict["reason"])}${observed}`;
  });
  const verdict = allowed === true ? "allowed" : `DENIED ${text(reason)}`;
  const by = allowed === true || isEmpty(decidedBy) ? "" : ` by ${text(decidedBy)}`;
  return `${verdict} at ${text(checkpoint)}${by}${policies.length === 0 ? "" : ` (${policies.join(", ")})`}`;
}

function transitionsOf(detail: JsonObject): string[] {
  const transitions = Array.isArray(detail["transitions"]) ? detail["transitions"] : [];
  return transitions.filter(isJsonObject).map((transition) => {
    const { of, node, from, to, cause, total, ready } = transition;
    const items = isEmpty(total) ? "" : `${text(total)} (${text(ready)} READY)`;
    const parts = [text(of), text(node), isEmpty(from) ? "" : `${text(from)} →`, text(to), text(cause), items];
    return parts.filter((part) => part !== "").join(" ");
  });
}

function pairsOf(detail: JsonObject): string[] {
  const rank = (key: string) => (FIRST.includes(key) ? FIRST.indexOf(key) : FIRST.length);
  return Object.entries(detail)
    .filter(([key, value]) => !LEFT_OUT.test(key) && key !== "decision" && !isEmpty(value))
    .sort(([a], [b]) => rank(a) - rank(b))
    .map(([key, value]) => `${key}=${valueWords(value)}`);
}

function valueWords(value: Json): string {
  if (!isJsonObject(value)) return text(value);
  if (typeof value["class"] === "string") return `${value["class"]}: ${text(value["message"])}`;
  return typeof value["id"] === "string" ? value["id"] : JSON.stringify(value);
}

function pick(detail: JsonObject, keys: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(detail).filter(([key]) => keys.includes(key)));
}

function isEmpty(value: Json | undefined): boolean {
  return value === undefined || value === null || value === "" || (Array.isArray(value) && value.length === 0);
}

function text(value: Json | undefined): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function toneOf(kind: string, detail: JsonObject, decision: Json | undefined): Tone {
  if (isJsonObject(decision) && decision["allowed"] !== true) return "denied";
  if (kind === "run.finished") return lookOf(text(detail["state"])).tone;
  if (BAD.test(kind) || detail["ok"] === false) return "bad";
  return GOOD.test(kind) || detail["ok"] === true || isJsonObject(decision) ? "good" : "plain";
}

// One audit record as words: what happened, to what, with which details.
// Called by the run view, describe and audit list. Pure.
// Knows no list of kinds: a record of a kind made later reads as well as one of today.

import { isJsonObject, type Json } from "../kit/json.ts";
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
  readonly actor: string;
  readonly tone: Tone;
}

/** What a task id stands for, such as "triage" or "read[3]". */
export type TaskNames = ReadonlyMap<string, string>;

const VALUE_COLUMNS_MAX = 80;
// Told elsewhere on the line, or long without telling a person anything.
const LEFT_OUT =
  /^(v|id|kind|time|namespace|run|runId|run_id|task|taskId|task_id|actor|node|token|.*[dD]igest|traceparent|trace|input|document)$/;
// Told first, in this order.
const FIRST = [
  "verdict",
  "decision",
  "from",
  "to",
  "state",
  "checkpoint",
  "tool",
  "agent",
  "code",
  "reason",
  "attempt",
  "delivery",
];
const BAD = /(deny|denied|forbidden|refused|failed|failure|dead_letter|timed_out|lost|error)/i;

/** See the file header. */
export function describeRecord(record: AuditRecord, tasks: TaskNames): RecordText {
  const body = bodyOf(record);
  const node = typeof body["node"] === "string" ? body["node"] : "";
  const details = flatten(body);
  return {
    kind: safeLine(record.kind),
    subject: safeLine(tasks.get(record.taskId) ?? (node || record.taskId)),
    detail: details.map(([key, value]) => `${safeLine(key)}=${cutTo(safeLine(value), VALUE_COLUMNS_MAX)}`).join(" "),
    actor: safeLine(record.actor),
    tone: toneOf(record.kind, body),
  };
}

/** True for records about tool calls and policy decisions. */
export function isCallOrDecision(record: AuditRecord): boolean {
  return /^(tool|decision|policy|grant)/.test(record.kind);
}

function bodyOf(record: AuditRecord): Record<string, Json> {
  try {
    const body: unknown = JSON.parse(record.recordJson);
    return isJsonObject(body) ? body : {};
  } catch {
    return {};
  }
}

// One level of nesting is enough to reach {detail: {…}} and {failure: {class, message}}.
function flatten(body: Record<string, Json>): [string, string][] {
  const entries: [string, string][] = [];
  for (const [key, value] of Object.entries(body)) {
    if (LEFT_OUT.test(key) || isEmpty(value)) continue;
    if (!isJsonObject(value)) entries.push([key, text(value)]);
    else {
      const prefix = key === "detail" || key === "details" || key === "data" ? "" : `${key}.`;
      for (const [inner, member] of Object.entries(value)) {
        if (!LEFT_OUT.test(inner) && !isEmpty(member)) entries.push([prefix + inner, text(member)]);
      }
    }
  }
  const rank = (key: string) => (FIRST.includes(key) ? FIRST.indexOf(key) : FIRST.length);
  return entries.sort(([a], [b]) => rank(a) - rank(b));
}

function isEmpty(value: Json): boolean {
  return value === null || value === "" || (Array.isArray(value) && value.length === 0);
}

function text(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function toneOf(kind: string, body: Record<string, Json>): Tone {
  const detail = isJsonObject(body["detail"]) ? body["detail"] : body;
  const verdict = detail["verdict"] ?? detail["decision"] ?? detail["allowed"] ?? detail["allow"];
  if (verdict === false || (typeof verdict === "string" && /^den/i.test(verdict))) return "denied";
  if (verdict === true || (typeof verdict === "string" && /^allow/i.test(verdict))) return "good";
  const state = detail["to"] ?? detail["state"];
  if (typeof state === "string" && lookOf(state.toUpperCase()).sign !== "?") return lookOf(state.toUpperCase()).tone;
  if (BAD.test(kind)) return "bad";
  return "plain";
}

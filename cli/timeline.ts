// The story of a run as lines: every audit record with the time since the run was created.
// Called by describe. Pure.
// Transitions, decisions, attempts, deliveries and tool calls all come from the trail, so nothing is guessed.

import type { AuditRecord, Run, Task, ToolCallStatus } from "../sdk/index.ts";
import { describeRecord } from "./audit_text.ts";
import { type Cell, duration, millis, span, table } from "./format.ts";
import { taskNames } from "./run_view.ts";
import { columnsOf } from "./sanitize.ts";
import type { Paint } from "./style.ts";

/** One line a record, oldest first, and under it one for each change of state that it caused. */
export function timelineLines(
  run: Run,
  tasks: readonly Task[],
  records: readonly AuditRecord[],
  paint: Paint,
): string[] {
  const startMs = millis(run.createTime) ?? millis(records[0]?.time) ?? 0;
  const names = taskNames(tasks);
  const texts = records.map((record) => ({ record, ...describeRecord(record, names) }));
  const kindColumns = Math.max(0, ...texts.map((text) => columnsOf(text.kind)));
  const subjectColumns = Math.max(0, ...texts.map((text) => columnsOf(text.subject)));
  return texts.flatMap(({ record, kind, subject, detail, transitions, actor, tone }) => {
    const since = `+${duration((millis(record.time) ?? startMs) - startMs)}`;
    const by = actor === "" || actor === "server" ? "" : paint("dim", `  by ${actor}`);
    const head = `${since.padStart(9)}  ${paint(tone, kind.padEnd(kindColumns))}  ${subject.padEnd(subjectColumns)}`;
    const caused = transitions.map((change) => `${" ".repeat(11 + kindColumns + 2)}${paint("dim", `↳ ${change}`)}`);
    return [`${head}  ${detail}${by}`.trimEnd(), ...caused];
  });
}

/** Tool calls of several tasks as a table. */
export function toolCallTable(
  calls: readonly { readonly task: Task; readonly call: ToolCallStatus }[],
  nowMs: number,
  paint: Paint,
): string[] {
  const names = taskNames(calls.map(({ task }) => task));
  const rows = calls.map(({ task, call }): Cell[] => [
    names.get(task.id) ?? task.id,
    call.tool,
    call.state,
    String(call.attempt),
    span(call.createTime, call.endTime, nowMs),
    call.requestId,
    call.failure === undefined ? "-" : `${call.failure.class}: ${call.failure.message}`,
  ]);
  return table(["NODE", "TOOL", "STATE", "ATTEMPT", "DURATION", "REQUEST ID", "FAILURE"], rows, paint);
}

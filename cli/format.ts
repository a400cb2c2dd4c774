// Words for values: states, times, durations, maps, and tables of them.
// Called by the verbs and the renderers. Pure: now comes in as a value.
// Every cell is made safe for a terminal here, so no verb can forget it.

import { type Timestamp, timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import { DAY, HOUR, MINUTE, SECOND } from "../kit/units.ts";
import { NodeState, RunState, TaskState } from "../sdk/index.ts";
import { columnsOf, cutTo, safeLine } from "./sanitize.ts";
import { lookOf, type Paint } from "./style.ts";

/** Name of a node state. */
export const nodeStateName = namesOf(NodeState);
/** Name of a task state. */
export const taskStateName = namesOf(TaskState);
/** Name of a run state. */
export const runStateName = namesOf(RunState);

function namesOf(states: Readonly<Record<string, number>>): (state: number) => string {
  const names = new Map(Object.entries(states).map(([name, value]) => [value, name]));
  return (state) => names.get(state) ?? "UNSPECIFIED";
}

/** Milliseconds of a timestamp; undefined when absent. */
export function millis(time: Timestamp | undefined): number | undefined {
  return time === undefined ? undefined : timestampMs(time);
}

/** RFC 3339 with milliseconds; "-" when absent. */
export function instant(time: Timestamp | undefined): string {
  return time === undefined ? "-" : timestampDate(time).toISOString();
}

/** Wall-clock time of day in UTC with milliseconds. */
export function timeOfDay(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23);
}

/** A duration for people: 12ms, 3.4s, 2m05s, 3h10m, 4d2h. */
export function duration(ms: number): string {
  if (ms < 0) return "0ms";
  if (ms < SECOND) return `${Math.round(ms)}ms`;
  if (ms < MINUTE) return `${(Math.floor(ms / 100) / 10).toFixed(1)}s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)}m${pad(Math.floor((ms % MINUTE) / SECOND))}s`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)}h${pad(Math.floor((ms % HOUR) / MINUTE))}m`;
  return `${Math.floor(ms / DAY)}d${Math.floor((ms % DAY) / HOUR)}h`;
}

/** Time since a moment; "-" when absent. */
export function age(time: Timestamp | undefined, nowMs: number): string {
  const ms = millis(time);
  return ms === undefined ? "-" : duration(nowMs - ms);
}

/** Time between two moments, up to now while the second is absent; "-" when the first is. */
export function span(start: Timestamp | undefined, end: Timestamp | undefined, nowMs: number): string {
  const startMs = millis(start);
  return startMs === undefined ? "-" : duration((millis(end) ?? nowMs) - startMs);
}

/** key=value,… sorted; "-" when empty. */
export function pairs(map: Readonly<Record<string, string>>): string {
  const keys = Object.keys(map).sort();
  return keys.length === 0 ? "-" : keys.map((key) => `${key}=${map[key]}`).join(",");
}

/** A cell: its text, and the state whose colour it takes. */
export type Cell = string | { readonly state: string };

/**
 * A table with upper-case headers and aligned columns.
 *
 * @param widest columns of one cell at most; longer text is cut.
 */
export function table(
  headers: readonly string[],
  rows: readonly (readonly Cell[])[],
  paint: Paint,
  widest = 60,
): string[] {
  const texts = rows.map((row) =>
    row.map((cell) => cutTo(safeLine(typeof cell === "string" ? cell : cell.state), widest)),
  );
  const widths = headers.map((header, column) =>
    Math.max(columnsOf(header), ...texts.map((row) => columnsOf(row[column] ?? ""))),
  );
  const line = (cells: readonly string[], paintCell: (text: string, column: number) => string) =>
    cells
      .map((text, column) => {
        const last = column === headers.length - 1;
        const fill = last ? "" : " ".repeat((widths[column] ?? 0) - columnsOf(text));
        return paintCell(text, column) + fill;
      })
      .join("  ")
      .trimEnd();
  return [
    line(headers, (text) => paint("bold", text)),
    ...rows.map((row, index) =>
      line(texts[index] ?? [], (text, column) => {
        const cell = row[column];
        return typeof cell === "object" ? paint(lookOf(cell.state).tone, text) : text;
      }),
    ),
  ];
}

/** "Name   value" lines with the values aligned; empty values are left out. */
export function facts(entries: readonly (readonly [string, string])[], paint: Paint): string[] {
  const shown = entries.filter(([, value]) => value !== "" && value !== "-");
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${paint("bold", name.padEnd(width))}  ${value}`);
}

function pad(value: number): string {
  return String(value).padStart(2, "0");
}

// Tells a history to a person: one line an operation, without those that did nothing.

import type { Op, Traced } from "./rows.ts";

/** Lines that are printed at most; the last ones matter. */
const LINES_MAX = 40;

export function witnessOf(trace: readonly Traced[]): string[] {
  const lines = trace.filter(didSomething).map(lineOf);
  const left = lines.length - LINES_MAX;
  return left > 0 ? [`… ${left} operations before`, ...lines.slice(left)] : lines;
}

function didSomething({ op, result }: Traced): boolean {
  switch (op.op) {
    case "open":
    case "find":
      return false;
    case "renew":
      return result?.alive !== true;
    case "claim":
      return result === undefined || (result.assigned?.length ?? 0) + (result.settle?.length ?? 0) > 0;
    default:
      return true;
  }
}

/** One operation, such as "replica 0 settle outcome t4 k6 s2 succeeded → committed". */
export function lineOf({ op, replica, fault, result }: Traced): string {
  const end = result === undefined ? "never committed" : toldOf(result);
  return `replica ${replica} ${op.op}${wordsOf(op)}${fault === "" ? "" : ` [${fault}]`}${end === "" ? "" : ` → ${end}`}`;
}

function wordsOf(op: Op): string {
  const { op: _op, ...rest } = op;
  const items = "items" in rest ? rest.items : "facts" in rest ? rest.facts : [rest];
  return items.map((item) => ` ${Object.values(item).map(plain).join(" ")}`).join(",");
}

function plain(value: unknown): string {
  if (Array.isArray(value)) return `(${value.map(plain).join(", ")})`;
  if (typeof value === "object" && value !== null) return Object.values(value).map(plain).join("/");
  return String(value);
}

function toldOf(result: NonNullable<Traced["result"]>): string {
  const parts = [
    ...(result.verdicts ?? []),
    ...(result.answers ?? []).map(plain),
    ...(result.assigned ?? []).map(({ task, token, journal }) => `${task} with ${token}, journal of ${journal.length}`),
    ...(result.run === undefined ? [] : [result.run]),
    ...(result.alive === false ? ["not alive"] : []),
  ];
  return parts.join(", ");
}

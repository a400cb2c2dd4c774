// The numbers of a fleet as lines: sums first, then queues by route, then replicas.
// Called by top.ts. Pure.
// A number that the server does not send is left out: an older server has fewer.

import { SECOND } from "../kit/units.ts";
import type { GetStatusResponse, StatusNumber } from "../sdk/index.ts";
import { duration, facts, instant, table } from "./format.ts";
import { safeLine } from "./sanitize.ts";
import type { Paint } from "./style.ts";

const RATES: readonly (readonly [string, string])[] = [
  ["run.created", "runs created"],
  ["task.leased", "tasks leased"],
  ["task.succeeded", "tasks succeeded"],
  ["task.failed", "failed"],
  ["task.retrying", "retried"],
  ["tool.granted", "tool calls"],
  ["lease.expired", "leases lost"],
];

/** The lines of one moment. */
export function statusLines(status: GetStatusResponse, paint: Paint): string[] {
  const numbers = new Numbers(status.numbers);
  const sums = facts(
    [
      ["Server", safeLine(`${status.version}, ${status.replicaId}, ${instant(status.readTime)}`)],
      ["Runs", runs(numbers)],
      ["Tasks", numbers.byLabel("tasks", "state")],
      ["Workers", workers(numbers)],
      ["Dead letters", numbers.byLabel("dead_letters", "cause") || "none"],
      ["Rates", rates(numbers)],
      ["Lag", lag(numbers)],
    ],
    paint,
  );
  return [...sums, ...section(queues(numbers), paint), ...section(replicas(numbers), paint)];
}

interface Part {
  readonly headers: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

function section({ headers, rows }: Part, paint: Paint): string[] {
  return rows.length === 0 ? [] : ["", ...table(headers, rows, paint)];
}

function runs(numbers: Numbers): string {
  const states = numbers.byLabel("runs", "state") || "none";
  const waiting = numbers.sum("runs_waiting_for_slot");
  return waiting === 0 ? states : `${states}  (${waiting} wait for their turn)`;
}

function workers(numbers: Numbers): string {
  const sessions = numbers.byLabel("sessions", "state") || "none";
  return `${sessions}  slots ${numbers.sum("tasks", { state: "LEASED" })} of ${numbers.sum("slots")} taken`;
}

function rates(numbers: Numbers): string {
  const known = RATES.map(([kind, words]) => [words, numbers.sum("events_per_second", { kind })] as const);
  return known
    .filter(([, value], place) => value > 0 || place < 3)
    .map(([words, value]) => `${words} ${value.toFixed(1)}/s`)
    .join("  ");
}

function lag(numbers: Numbers): string {
  const ms = (seconds: number) => duration(seconds * SECOND);
  return [
    `event loop ${ms(numbers.sum("event_loop_lag_seconds", { quantile: "0.99" }))}`,
    `this read ${ms(numbers.sum("status_read_seconds"))}`,
    `waiting writes ${numbers.sum("batch_waiting_items")}`,
    `unsealed records ${ms(numbers.sum("audit_unsealed_age_seconds"))}`,
  ].join("  ");
}

function queues(numbers: Numbers): Part {
  const rows = numbers
    .all("queue_tasks")
    .sort((a, b) => b.value - a.value)
    .map(({ labels, value }) => {
      const route = labels["route"] ?? "";
      const first = numbers.sum("queue_first_age_seconds", { route });
      const runtime = route === "_other" ? "(other routes)" : (labels["runtime"] ?? "");
      return [runtime, labels["handler"] || "-", labels["labels"] || "-", String(value), duration(first * SECOND)];
    });
  return { headers: ["QUEUE", "HANDLER", "LABELS", "TASKS", "OLDEST"], rows };
}

function replicas(numbers: Numbers): Part {
  const rows = numbers.all("replica_sessions").map(({ labels, value }) => {
    const replica = labels["replica"] ?? "";
    const of = (name: string) => String(numbers.sum(name, { replica }));
    return [replica, String(value), of("replica_slots"), of("replica_leases")];
  });
  return { headers: ["REPLICA", "SESSIONS", "SLOTS", "LEASES"], rows };
}

class Numbers {
  readonly #numbers: readonly StatusNumber[];

  constructor(numbers: readonly StatusNumber[]) {
    this.#numbers = numbers;
  }

  all(name: string): StatusNumber[] {
    return this.#numbers.filter((one) => one.name === name);
  }

  /** Of those that have these labels; 0 for none. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.all(name)
      .filter((one) => Object.entries(labels).every(([key, value]) => one.labels[key] === value))
      .reduce((sum, { value }) => sum + value, 0);
  }

  /** "3 RUNNING  1 PENDING"; empty when all are 0. */
  byLabel(name: string, label: string): string {
    return this.all(name)
      .filter(({ value }) => value > 0)
      .sort((a, b) => b.value - a.value)
      .map(({ labels, value }) => safeLine(`${value} ${labels[label] ?? ""}`))
      .join("  ");
  }
}

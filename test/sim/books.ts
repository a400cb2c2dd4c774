// The books that the model keeps, and how it complains. Filled by oracle.ts; compared with the tables by oracle_state.ts.

import type { JournalRow } from "./rows.ts";

export class Violation extends Error {
  readonly rule: string;

  constructor(rule: string, detail: string) {
    super(`${rule}: ${detail}`);
    this.rule = rule;
  }
}

export function demand(holds: boolean, rule: string, detail: () => string): void {
  if (!holds) throw new Violation(rule, detail());
}

/** Who may speak for a task: the holder of its lease, or the last one until the next claim. */
export interface Holder {
  readonly token: string;
  readonly session: string;
  late: boolean;
  accepted: boolean;
}

/** A tool call as the model has heard of it. */
export interface Call {
  readonly task: string;
  readonly args: string;
  readonly tool: string;
  grant: string;
  token: string;
  state: "open" | "done" | "failed" | "unknown";
  value: string;
  failure: string;
  attempt: number;
}

export interface TaskBook {
  readonly id: string;
  readonly run: string;
  readonly origin: string;
  holder: Holder | undefined;
  attempt: number;
  deliveries: number;
  readonly journal: JournalRow[];
  state: string;
  /** Before then a task that waits is not woken. */
  dueMs: number;
  succeeded: boolean;
  /** Attempts for which an outcome was accepted. */
  readonly decided: Set<number>;
  readonly accepted: Map<string, string>;
  /** What the last look saw, so that every change is noticed. */
  seen: string;
}

export interface Books {
  readonly tasks: ReadonlyMap<string, TaskBook>;
  /** Run states as they were seen last. */
  readonly runStates: Map<string, string>;
}

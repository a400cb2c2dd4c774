// Asks again for an answer that does not fit the agent's outputSchema, as often as `repairAttempts` says; and what the model is told then.
// Called by loop.ts when the journal ends with an answer, and when it makes the conversation. Pure: equal journals give equal steps, so a
// task that moves to another worker goes on with the same repair.

import { outputOf } from "./output.ts";
import type { JournalEntry, TaskEnd } from "./task.ts";
import type { AgentView } from "./view.ts";

/** The turn that a repair takes. */
export interface RepairTurn {
  /** From 1. */
  readonly turn: number;
  readonly sequence: number;
}

/** The turn in which an answer is asked for again; undefined if the end stands. */
export function repairTurn(agent: AgentView, journal: readonly JournalEntry[], end: TaskEnd): RepairTurn | undefined {
  if (end.kind !== "failed" || end.class !== "OutputInvalid") return undefined;
  const turns = journal.filter((entry) => entry.kind === "turn");
  const answers = turns.filter((entry) => entry.turn.toolCalls.length === 0);
  if (answers.length > agent.repairAttempts || turns.length >= agent.limits.maxTurns) return undefined;
  return { turn: turns.length + 1, sequence: journal.length + 1 };
}

/** What a model is told of an answer that was not accepted. */
export function repairRequest(agent: AgentView, answer: string): string {
  const end = outputOf(agent, answer);
  const why = end.kind === "failed" ? end.message : "it was not accepted";
  return `Your answer cannot be used: ${why}. Answer again with nothing but the corrected answer.`;
}

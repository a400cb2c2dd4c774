// Decides what an agent does next, from its journal alone: ask the model, call a tool, finish or fail.
// Called by loop.ts after every recorded fact, so that a resumed task and an uninterrupted one take the same steps.
// Pure: equal journal and limits give equal actions. Never reads a clock, the network or a log.
// Invariant: a turn that is in the journal is not asked again; a result that is in the journal is not called again.

import type { JournalEntry, RequestedCall } from "./task.ts";
import type { LimitsView } from "./view.ts";

/** The next thing to do. */
export type NextAction =
  /** Ask the model for its turn number `turn` (from 1); the answer takes `sequence`. */
  | { readonly kind: "ask"; readonly turn: number; readonly sequence: number }
  /** Call a tool; its final result takes `sequence`. */
  | {
      readonly kind: "call";
      readonly turnSequence: number;
      readonly callIndex: number;
      readonly call: RequestedCall;
      readonly sequence: number;
    }
  /** The model's last turn asked for no tool: its text is the answer. */
  | { readonly kind: "finish"; readonly text: string }
  | {
      readonly kind: "fail";
      readonly class: "TurnLimit" | "ToolCallLimit" | "JournalInvalid";
      readonly message: string;
    };

/**
 * The next action.
 *
 * @param toolCallsLost calls that count towards maxToolCalls though the journal no longer holds them.
 */
export function nextAction(
  journal: readonly JournalEntry[],
  limits: Pick<LimitsView, "maxTurns" | "maxToolCalls">,
  toolCallsLost = 0,
): NextAction {
  const sequence = journal.length + 1;
  let turns = 0;
  let calls = toolCallsLost;
  let last: Extract<JournalEntry, { kind: "turn" }> | undefined;
  let answered = 0;
  for (const [index, entry] of journal.entries()) {
    if (entry.sequence !== index + 1) return invalid(`entry ${index + 1} has sequence ${entry.sequence}`);
    if (entry.kind === "turn") {
      if (last !== undefined && answered < last.turn.toolCalls.length) {
        return invalid(`turn ${entry.sequence} came before every call of turn ${last.sequence} had its result`);
      }
      turns += 1;
      last = entry;
      answered = 0;
    } else {
      if (last === undefined || entry.turnSequence !== last.sequence || entry.callIndex !== answered) {
        return invalid(`result ${entry.sequence} belongs to no call that waits for one`);
      }
      if (answered >= last.turn.toolCalls.length) return invalid(`result ${entry.sequence} was not asked for`);
      answered += 1;
      calls += 1;
    }
  }
  if (last !== undefined && last.turn.toolCalls.length === 0) return { kind: "finish", text: last.turn.text };
  const call = last?.turn.toolCalls[answered];
  if (last !== undefined && call !== undefined) {
    if (calls >= limits.maxToolCalls) {
      return { kind: "fail", class: "ToolCallLimit", message: `the agent used its ${limits.maxToolCalls} tool calls` };
    }
    return { kind: "call", turnSequence: last.sequence, callIndex: answered, call, sequence };
  }
  if (turns >= limits.maxTurns) {
    return {
      kind: "fail",
      class: "TurnLimit",
      message: `the agent used its ${limits.maxTurns} turns without an answer`,
    };
  }
  return { kind: "ask", turn: turns + 1, sequence };
}

function invalid(what: string): NextAction {
  return { kind: "fail", class: "JournalInvalid", message: `the journal is not in order: ${what}` };
}

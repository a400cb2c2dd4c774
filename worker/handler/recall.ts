// What the journal of a task holds for a handler that begins again: calls with their results, and recorded values, each taken once.
// Made by run_handler.ts from the assignment, asked by tool_calls.ts and records.ts before anything is done anew.
// A call is the recorded one if tool and arguments are equal; of equal ones the first that was not taken. So code that does the same again gets
// the same answers, in whatever order it asks. Never writes.

import { canonicalJson, isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";
import { REDACTED } from "../../kit/redactor.ts";
import type { JournalEntry, RecordedResult } from "../agent/task.ts";

/** A call that the journal asks for. */
export interface RecordedCall {
  readonly turnSequence: number;
  readonly callIndex: number;
  readonly name: string;
  readonly arguments: JsonObject;
  /** Absent: it was asked for, and its result is not in the journal. */
  readonly outcome?: RecordedResult;
}

/** See the file header. */
export class Recall {
  readonly #calls = new Map<string, RecordedCall[]>();
  readonly #values = new Map<string, string[]>();
  /** Results in the journal. */
  readonly results: number;
  /** Recorded values in the journal. */
  readonly values: number;

  constructor(journal: readonly JournalEntry[]) {
    const outcomes = new Map<string, RecordedResult>();
    for (const entry of journal) {
      if (entry.kind === "result") outcomes.set(`${entry.turnSequence}/${entry.callIndex}`, entry.outcome);
    }
    this.results = outcomes.size;
    let values = 0;
    for (const entry of journal) {
      if (entry.kind !== "turn") continue;
      const { sequence: turnSequence, turn } = entry;
      if (turn.record !== undefined) {
        values += 1;
        listed(this.#values, turn.record).push(turn.text);
      }
      for (const [callIndex, call] of turn.toolCalls.entries()) {
        const outcome = outcomes.get(`${turnSequence}/${callIndex}`);
        listed(this.#calls, call.name).push({ turnSequence, callIndex, ...call, ...(outcome && { outcome }) });
      }
    }
    this.values = values;
  }

  /** Takes the recorded call of that tool with these arguments. */
  takeCall(name: string, args: JsonObject): RecordedCall | undefined {
    const calls = this.#calls.get(name) ?? [];
    const text = canonicalJson(args);
    const equal = calls.findIndex((call) => canonicalJson(call.arguments) === text);
    // A secret in the arguments may have been known where they were recorded, and not here.
    const at = equal >= 0 ? equal : calls.findIndex((call) => differOnlyInSecrets(call.arguments, args));
    return at < 0 ? undefined : calls.splice(at, 1)[0];
  }

  /** Takes the JSON text of the next recorded value of that name. */
  takeValue(name: string): string | undefined {
    return this.#values.get(name)?.shift();
  }
}

function listed<Item>(lists: Map<string, Item[]>, key: string): Item[] {
  const list = lists.get(key) ?? [];
  lists.set(key, list);
  return list;
}

function differOnlyInSecrets(recorded: Json, made: Json): boolean {
  if (typeof recorded === "string") return typeof made === "string" && fits(recorded.split(REDACTED), made);
  if (Array.isArray(recorded)) {
    if (!Array.isArray(made) || made.length !== recorded.length) return false;
    return recorded.every((item, index) => differOnlyInSecrets(item, made[index] as Json));
  }
  if (!isJsonObject(recorded)) return recorded === made;
  if (!isJsonObject(made) || Object.keys(made).length !== Object.keys(recorded).length) return false;
  return Object.entries(recorded).every(([name, member]) => {
    return Object.hasOwn(made, name) && differOnlyInSecrets(member, made[name] as Json);
  });
}

// The pieces stand in the text in their order, the first at its beginning and the last at its end.
function fits(pieces: readonly string[], text: string): boolean {
  const [first = "", ...rest] = pieces;
  const last = rest.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}

// Decides whether a recorded turn asked for a tool call: the same place, the same tool, the same arguments.
// Called by commands/authorize_tool_call.ts, under the lock of the lease; the simulation mirrors it.
// Pure. What the journal does not ask for is never decided, however good its arguments are: a worker may not make calls up.
// Arguments are compared as values: the order of keys and white space do not matter, every character of a text does.

import { canonicalJson, isJsonObject, JSON_DEPTH_MAX, type Json, parseJson } from "../../kit/json.ts";

/** Levels that a turn puts around the arguments of a call. */
const TURN_LEVELS = 8;

/** A call as a worker presents it. */
export interface PresentedCall {
  /** Index in the turn, from 0. */
  readonly callIndex: number;
  /** Name as the agent declares it. */
  readonly tool: string;
  readonly argumentsJson: string;
}

/**
 * True if the turn asked for exactly this call.
 *
 * @param turnJson text of the journal's entry at the call's turn; null if there is none, or if it is no turn.
 */
export function isAskedFor(turnJson: string | null, { callIndex, tool, argumentsJson }: PresentedCall): boolean {
  const calls = callsOf(turnJson);
  const asked = callIndex < 0 ? undefined : calls[callIndex];
  if (!isJsonObject(asked) || asked["name"] !== tool) return false;
  const { arguments: wanted } = asked;
  return wanted !== undefined && canonicalText(argumentsJson) === canonicalJson(wanted);
}

/**
 * True if a call is that of its task's node: a tool that is a node is called with the node's input, whatever the turn says.
 *
 * @param toolInput input of a task whose node is a tool; null for an agent's task, whose model chooses the arguments.
 */
export function isOfNode(toolInput: string | null, { argumentsJson }: Pick<PresentedCall, "argumentsJson">): boolean {
  return toolInput === null || canonicalText(argumentsJson) === canonicalText(toolInput);
}

/** Arguments of a call in a turn, as canonical JSON; undefined if the turn has no such call. */
export function argumentsAsked(turnJson: string | null, callIndex: number): string | undefined {
  const asked = callsOf(turnJson)[callIndex];
  return isJsonObject(asked) && asked["arguments"] !== undefined ? canonicalJson(asked["arguments"]) : undefined;
}

function callsOf(turnJson: string | null): readonly Json[] {
  if (turnJson === null) return [];
  const turn = parsed(turnJson);
  const calls = isJsonObject(turn) ? turn["toolCalls"] : undefined;
  return Array.isArray(calls) ? calls : [];
}

// Text that is not JSON, or nests too deep for arguments, is compared as it is; what follows refuses it by name.
function canonicalText(text: string): string {
  const value = parsed(text);
  return value === undefined ? text : canonicalJson(value);
}

function parsed(text: string): Json | undefined {
  try {
    return parseJson(text, JSON_DEPTH_MAX + TURN_LEVELS);
  } catch {
    return undefined;
  }
}

// What a recorded turn must look like: the server asks before it records one, the worker when it reads a journal.
// One check for both: a turn that a worker could not read again would come back to the queue for ever.
// Called by server/dispatch and worker/session. Pure.

import { isJsonObject, type Json, type JsonObject } from "./json.ts";

/** The part of a turn that replay needs; more members, such as `usage`, are on record and decide nothing. */
export interface RecordedTurn {
  readonly text: string;
  readonly toolCalls: readonly { readonly name: string; readonly arguments: JsonObject }[];
  /** Name under which handler code recorded a value, which `text` then holds as JSON. */
  readonly record?: string;
}

/** Reads a parsed turn. @throws Error that names the member which is not as it must be */
export function readTurn(value: Json): RecordedTurn {
  if (!isJsonObject(value)) throw new Error("not an object");
  const { text, toolCalls, record } = value;
  if (typeof text !== "string") throw new Error("text is not a string");
  if (!Array.isArray(toolCalls)) throw new Error("toolCalls is not a list");
  if (record !== undefined && typeof record !== "string") throw new Error("record is not a string");
  return { text, toolCalls: toolCalls.map(readCall), ...(record !== undefined && { record }) };
}

function readCall(call: Json, index: number): RecordedTurn["toolCalls"][number] {
  if (!isJsonObject(call)) throw new Error(`toolCalls[${index}] is not an object`);
  const { name, arguments: args } = call;
  if (typeof name !== "string") throw new Error(`toolCalls[${index}].name is not a string`);
  if (!isJsonObject(args)) throw new Error(`toolCalls[${index}].arguments is not an object`);
  return { name, arguments: args };
}

// The identity of a tool call: the same for every repetition, whoever runs the task. Derived by the server, never taken from a model.
// Called by commands/authorize_tool_call.ts. Pure.
// A declared key is shared by every task of that tool; without one, a call is named by the lineage of its task and its place in the journal.

import type { Evaluated } from "../../language/types.ts";

/** Characters of a declared key at most. */
export const DECLARED_KEY_CHARACTERS_MAX = 256;

/** The request id of a call without a declared key. */
export function placedRequestId(originTaskId: string, turnSequence: number, callIndex: number): string {
  return `auto:${originTaskId}/${turnSequence}/${callIndex}`;
}

/** The request id of a declared key: a text, number or boolean. Escaped, so that no key reaches into another tool's or namespace's. */
export function declaredRequestId(namespace: string, tool: string, key: unknown): Evaluated<string> {
  if (typeof key !== "string" && typeof key !== "number" && typeof key !== "boolean") {
    return {
      ok: false,
      error: `idempotency.key is ${key === null ? "null" : typeof key}, not a text, number or boolean`,
    };
  }
  const text = String(key);
  if (text === "") return { ok: false, error: "idempotency.key is empty" };
  if (text.length > DECLARED_KEY_CHARACTERS_MAX) {
    return { ok: false, error: `idempotency.key is longer than ${DECLARED_KEY_CHARACTERS_MAX} characters` };
  }
  return { ok: true, value: `key:${namespace}/${tool}/${encodeURIComponent(text.toWellFormed())}` };
}

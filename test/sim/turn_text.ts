// A turn as the journal holds it: the same text for the commands over Postgres and for what the world in memory asks the pure rules.

import type { TurnFact } from "./rows.ts";

/** Text of a turn. */
export function turnText({ nonce, tool, arg }: TurnFact["body"]): string {
  return JSON.stringify({ text: `${nonce}`, toolCalls: tool === "" ? [] : [{ name: tool, arguments: { n: arg } }] });
}

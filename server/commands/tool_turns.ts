// The limited tools of one batch of calls: locked, counted in memory while it decides, and what waits written once.
// Used by authorize_tool_call.ts. Lock order: after the ledger, before counters of limits; tools ascending.
// Without a limited tool there is no query. A grant counts while it is neither answered nor expired.

import { type ToolTurn, takeTurn, WAITER_FRESH_MS } from "../queue/tool_turns.ts";
import type { ToolCallRow } from "../storage/ledger_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { LimitedTool } from "../storage/tool_turn_queries.ts";

interface Waiting {
  readonly tool: string;
  readonly request_id: string;
}

/** See the file header. */
export class ToolTurns {
  readonly #turns = new Map<string, ToolTurn>();
  /** Of those that waited when the batch began. */
  readonly #waited = new Set<string>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #left = new Map<string, Waiting>();
  /** Calls that took a turn in this batch. */
  readonly #taken = new Set<string>();

  /** Locks the tools of calls that may be granted, and reads how they stand. */
  async lock(tx: StoreQueries, tools: readonly LimitedTool[]): Promise<void> {
    const limited = new Map(tools.map((one) => [one.tool, one]));
    if (limited.size === 0) return;
    await tx.toolTurns.lock([...limited.keys()]);
    for (const { tool, open, waiters } of await tx.toolTurns.read([...limited.values()], WAITER_FRESH_MS)) {
      this.#turns.set(tool, { max: limited.get(tool)?.max ?? 1, open, waiters });
      for (const requestId of waiters) this.#waited.add(`${tool} ${requestId}`);
    }
  }

  /**
   * Takes a turn for a call that is to be granted.
   *
   * @param row its ledger row: a grant of it that is open counts already.
   * @returns how long it has to wait before it asks again; undefined: it may be granted
   */
  take(tool: string, requestId: string, row: ToolCallRow | undefined, nowMs: number): number | undefined {
    const turn = this.#turns.get(tool);
    const isOpen = row?.state === "granted" && row.grant_expire_time.getTime() > nowMs;
    if (turn === undefined || (isOpen && row.limited_tool === tool)) return undefined;
    const wait = takeTurn(turn, requestId);
    const key = `${tool} ${requestId}`;
    const entry = { tool, request_id: requestId };
    if (wait !== undefined) this.#waiting.set(key, entry);
    else {
      this.#taken.add(key);
      if (this.#waited.has(key)) this.#left.set(key, entry);
    }
    return wait?.delayMs;
  }

  /** Gives the turn of a call back, if it took one: nothing was granted after all. */
  giveBack(tool: string, requestId: string): void {
    const turn = this.#turns.get(tool);
    if (turn !== undefined && this.#taken.delete(`${tool} ${requestId}`)) turn.open -= 1;
  }

  /** Stores who waits now, and who waits no more. */
  async write(tx: StoreQueries): Promise<void> {
    await tx.toolTurns.leave([...this.#left.values()]);
    await tx.toolTurns.wait([...this.#waiting.values()]);
  }
}

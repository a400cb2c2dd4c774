// The groups of one transaction: locked, counted in memory while it plans, and written once.
// Used by invoke.ts, restart_run.ts, settle.ts and start_queued.ts. Lock order: after everything of runs and tasks, before limits.
// Invariant: a group counts exactly the runs whose rows say that they hold a slot of it, or wait for one.

import { assert } from "../../kit/errors.ts";
import type { ConcurrencyDetail } from "../audit/events.ts";
import { freeSlots, type GroupCount, type Slot } from "../queue/concurrency.ts";
import type { GroupRow, NewGroup } from "../storage/group_queries.ts";
import type { StoreQueries } from "../storage/store.ts";

interface Counting {
  readonly row: GroupRow;
  running: number;
  waiting: number;
}

/** See the file header. */
export class Slots {
  readonly #groups = new Map<string, Counting>();

  /** Locks groups, making those that are missing. True if one may have been waited for. */
  async make(tx: StoreQueries, groups: readonly NewGroup[]): Promise<boolean> {
    const wanted = new Map(groups.map((group) => [group.id, group]));
    this.#take(await tx.groups.make([...wanted.values()]));
    return wanted.size > 0;
  }

  /** Locks groups that runs are counted in already. */
  async lock(tx: StoreQueries, ids: readonly string[]): Promise<void> {
    this.#take(await tx.groups.lock([...new Set(ids)]));
  }

  #take(rows: readonly GroupRow[]): void {
    // Locked again after a change of the catalog, a group is the one that it was, with another limit.
    for (const row of rows) this.#groups.set(row.id, { row, running: row.running, waiting: row.waiting });
  }

  /** A group as it is after what this transaction planned so far. */
  group(id: string): GroupCount & { readonly key: string } {
    const { row, running, waiting } = this.#of(id);
    return { key: row.key, max: row.max_running, running, waiting };
  }

  /** What a record says of a group. */
  detail(id: string): ConcurrencyDetail {
    const { key, max, running, waiting } = this.group(id);
    return { ...(key !== "" && { key }), ...(max !== null && { max }), running, waiting };
  }

  /** A run changes from one to the other. */
  move(id: string, from: Slot, to: Slot): void {
    const group = this.#of(id);
    group.running += Number(to === "held") - Number(from === "held");
    group.waiting += Number(to === "waiting") - Number(from === "waiting");
  }

  /** Stores what is counted now. @returns groups in which a run waits although a slot is free */
  async write(tx: StoreQueries): Promise<string[]> {
    const all = [...this.#groups.values()];
    const changed = all.filter(
      ({ row, running, waiting }) =>
        running !== row.running || waiting !== row.waiting || (running === 0 && waiting === 0),
    );
    await tx.groups.put(changed.map(({ row: { id }, running, waiting }) => ({ id, running, waiting })));
    return all
      .filter(({ row, running, waiting }) => waiting > 0 && freeSlots({ max: row.max_running, running }) > 0)
      .map(({ row }) => row.id);
  }

  #of(id: string): Counting {
    const group = this.#groups.get(id);
    assert(group !== undefined, `group ${id} is locked`);
    return group;
  }
}

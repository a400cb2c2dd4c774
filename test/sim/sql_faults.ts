// Breaks the connections of a pool at chosen points: before the n-th statement, before a commit, after it.
// It stands between the driver and the product, so that the product's own handling of a lost database is what is tried.

import type pg from "pg";

/** What the next statements meet. */
export type Plan =
  | { readonly type: "none" }
  /** The process dies before its n-th statement, from 1; a commit counts as one. */
  | { readonly type: "die_before"; readonly statement: number }
  /** It dies before its commit, or before its first statement outside a transaction. */
  | { readonly type: "die_before_commit" }
  /** It dies after the commit, or after the first statement outside a transaction that wrote something. */
  | { readonly type: "die_after_commit" }
  /** The commit happens and its acknowledgement is lost; everything after it works. */
  | { readonly type: "lose_ack" };

type Query = (...args: unknown[]) => Promise<unknown>;

export class Faults {
  #plan: Plan = { type: "none" };
  #dead = false;
  #fired = false;
  /** True when something broke since the plan was set. */
  get fired(): boolean {
    return this.#fired;
  }

  /** Statements since the plan was set, commits among them. */
  statements = 0;

  set(plan: Plan): void {
    this.#plan = plan;
    this.#dead = false;
    this.#fired = false;
    this.statements = 0;
  }

  /** Breaks nothing from here on; what was counted stays. */
  rest(): void {
    this.#plan = { type: "none" };
    this.#dead = false;
  }

  /** Wraps each client that the pool hands out. */
  install(pool: pg.Pool): void {
    const wrapped = new WeakSet<object>();
    const connect = pool.connect.bind(pool) as unknown as () => Promise<pg.PoolClient>;
    (pool as { connect: unknown }).connect = async () => {
      const client = await connect();
      if (!wrapped.has(client)) {
        wrapped.add(client);
        this.#wrap(client as unknown as { query: Query });
      }
      return client;
    };
  }

  #wrap(client: { query: Query }): void {
    const query = client.query.bind(client);
    let inTransaction = false;
    client.query = async (...args) => {
      const text = typeof args[0] === "string" ? args[0] : ((args[0] as { text?: string }).text ?? "");
      const isCommit = /^commit/i.test(text);
      if (/^rollback/i.test(text)) {
        inTransaction = false;
        return await query(...args);
      }
      const isBegin = /^(begin|start transaction)/i.test(text);
      if (!isBegin) this.#before(isCommit || !inTransaction);
      const result = await query(...args);
      const isAlone = !inTransaction && !isBegin && wrote(result);
      if (isBegin) inTransaction = true;
      if (isCommit) inTransaction = false;
      if (isCommit || isAlone) this.#after();
      return result;
    };
  }

  #before(makesDurable: boolean): void {
    if (this.#dead) throw lost();
    this.statements += 1;
    const { type } = this.#plan;
    const dies =
      type === "die_before" ? this.statements === this.#plan.statement : type === "die_before_commit" && makesDurable;
    if (!dies) return;
    this.#fired = true;
    this.#dead = true;
    throw lost();
  }

  #after(): void {
    if (this.#fired || (this.#plan.type !== "die_after_commit" && this.#plan.type !== "lose_ack")) return;
    this.#fired = true;
    if (this.#plan.type === "die_after_commit") this.#dead = true;
    throw lost();
  }
}

function wrote(result: unknown): boolean {
  const { command, rowCount } = result as { command?: string; rowCount?: number | null };
  return command !== "SELECT" && (rowCount ?? 0) > 0;
}

function lost(): Error {
  return new Error("Connection terminated unexpectedly");
}

// A replica on the database of a command stage whose connections break where a test says: between the driver and the product, or for real,
// by ending the backend. It has a pool of its own, so that the test itself still reaches the database.

import type pg from "pg";
import { systemClock } from "../../kit/clock.ts";
import type { CommandContext } from "../../server/commands/context.ts";
import { openDatabase } from "../../server/storage/database.ts";
import { createStore } from "../../server/storage/store.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { Faults } from "../sim/sql_faults.ts";
import type { CommandStage } from "./command_stage.ts";

/** A replica and what breaks it. Reading back: it looks up commits that were not answered, as the product does. */
export function faultyReplica(stage: CommandStage, options: { readBack?: boolean } = {}) {
  const open = openDatabase({ url: stage.database.url, poolMax: 2, applicationName: "orloj-faulty" });
  atEndOfFile(() => open.close());
  const faults = new Faults();
  faults.install(open.pool);
  const cuts = new Cuts(stage.database.pool);
  cuts.install(open.pool);
  const store = createStore(open.db, options.readBack === true ? systemClock() : undefined);
  const context: CommandContext = { ...stage.replica(), store };
  return { context, faults, cuts };
}

type Query = (...args: unknown[]) => Promise<unknown>;

/** Ends the backend of a connection before its n-th statement, from 1; begin and commit count as one each. */
export class Cuts {
  readonly #others: pg.Pool;
  #left = 0;
  fired = false;

  constructor(others: pg.Pool) {
    this.#others = others;
  }

  /** 0: none. */
  before(statement: number): void {
    this.#left = statement;
    this.fired = false;
  }

  install(pool: pg.Pool): void {
    const wrapped = new WeakSet<object>();
    const connect = pool.connect.bind(pool) as unknown as () => Promise<pg.PoolClient>;
    (pool as { connect: unknown }).connect = async () => {
      const client = await connect();
      if (!wrapped.has(client)) {
        wrapped.add(client);
        const inner = client as unknown as { query: Query; processID: number };
        const query = inner.query.bind(client);
        // What is sent together keeps its order: nothing overtakes the statement that waits for the cut.
        let before: Promise<void> = Promise.resolve();
        inner.query = (...args) => {
          before = before.then(() => this.#meet(inner.processID));
          return before.then(() => query(...args));
        };
      }
      return client;
    };
  }

  async #meet(backend: number): Promise<void> {
    if (this.#left === 0) return;
    this.#left -= 1;
    if (this.#left > 0) return;
    this.fired = true;
    await this.#others.query("select pg_terminate_backend($1, 5000)", [backend]);
  }
}

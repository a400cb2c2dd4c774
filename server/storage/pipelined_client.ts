// A connection on which statements do not wait for the answers of those before: what is asked for together costs one round trip.
// Made by the pool of database.ts. Answers come in the order of the statements; one that fails inside a transaction fails those after it, for the
// same reason, whoever of them is heard first.
// BEGIN waits for the first statement of its transaction and leaves with it, in one group: if it fails, the statement is not run either,
// so that nothing is ever written outside of the transaction that it was meant for. A transaction without a statement costs nothing.
// Inside a transaction, statements that come again are planned once, without looking at their values, and by indexes alone: such a plan is as
// good for a table of a million rows as for the empty one that it was made on.

import type { Socket } from "node:net";
import pg from "pg";
import { sqlState } from "./sql_errors.ts";
import { StatementNames } from "./statement_names.ts";

/** What the driver of Kysely reads of an answer. */
interface Answer {
  readonly command: string;
  readonly rowCount: number | null;
  readonly rows: readonly unknown[];
}

/** The messages of the protocol that are sent here, and what pg knows of names; pg does not type them. */
interface Wire {
  readonly submittedNamedStatements: Record<string, string>;
  parse(statement: { readonly text: string }): void;
  bind(values: object): void;
  execute(portal: object): void;
}

// What a pg.Query has beside its types.
interface QueryInside {
  name: string | undefined;
  callback: (error: Error | null, answer: Answer) => void;
  requiresPreparation(): boolean;
  prepare(wire: Wire): void;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, wire: Wire): void;
  handleError(error: Error, wire: Wire): void;
}
const Query = pg.Query as unknown as new (text: string, values: readonly unknown[]) => QueryInside;

interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
  readonly name: string | undefined;
}

// For the transaction alone. Without statistics Postgres takes small tables to be worth reading whole, and would go on when they have grown.
const PLANS = ["enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin"]
  .map((name) => `set_config('${name}', 'off', true)`)
  .join(", ");
const OPENING = ["begin", `select set_config('plan_cache_mode', 'force_generic_plan', true), ${PLANS}`];
/** Transactions for which the plans of a connection last; while they are few, until they have doubled. */
const PLANS_LAST = 1_024;

// Which of two indexes is better is seen once there are rows.
function makesPlansAnew(transactions: number): boolean {
  return transactions % PLANS_LAST === 0 || (transactions < PLANS_LAST && Number.isInteger(Math.log2(transactions)));
}

// BEGIN, its settings and a statement, up to one Sync: when one fails, Postgres skips what follows.
class OpeningQuery extends Query {
  readonly #name: string | undefined;
  readonly #opening: readonly string[];
  #done = 0;

  constructor({ text, values, name }: Statement, number: number) {
    super(text, values);
    this.name = name;
    this.#name = name;
    this.#opening = makesPlansAnew(number) ? ["discard plans", ...OPENING] : OPENING;
  }

  override requiresPreparation(): boolean {
    return true;
  }

  override prepare(wire: Wire): void {
    for (const text of this.#opening) {
      wire.parse({ text });
      wire.bind({});
      wire.execute({});
    }
    super.prepare(wire);
    // What pg is told to have been parsed next is not this statement yet.
    this.name = undefined;
  }

  override handleDataRow(message: unknown): void {
    if (this.#isOpen()) super.handleDataRow(message);
  }

  override handleCommandComplete(message: unknown, wire: Wire): void {
    if (this.#isOpen()) super.handleCommandComplete(message, wire);
    else {
      this.#done += 1;
      if (this.#isOpen()) this.name = this.#name;
    }
  }

  override handleError(error: Error, wire: Wire): void {
    if (this.#name !== undefined) delete wire.submittedNamedStatements[this.#name];
    super.handleError(error, wire);
  }

  #isOpen(): boolean {
    return this.#done === this.#opening.length;
  }
}

/** See the file header. A server that stops answering is cut off after query_timeout: a client that waits for it is of no use to a pool. */
export class PipelinedClient extends pg.Client {
  readonly #names = new StatementNames();
  #isOpening = false;
  #isInside = false;
  #isHolding = false;
  #transactions = 0;
  /** Why the transaction failed: Postgres answers that to one statement, and to those that were under way behind it only that they were skipped. */
  #failure: Error | undefined;

  constructor(config?: pg.ClientConfig) {
    super({ ...config, pipeline: true });
  }

  // The overloads of pg cannot be repeated here. Only what Kysely sends, a text with its values, is ever changed: who writes BEGIN by hand, or
  // through the pool, which adds a callback, may go on with several statements in one text, which cannot be sent in a group.
  override query(...args: never[]): never {
    const [text, values] = args as unknown as readonly [unknown, (readonly unknown[])?];
    if (args.length !== 2 || typeof text !== "string" || !Array.isArray(values)) return this.#send(args) as never;
    if (text === "begin") {
      this.#isOpening = true;
      this.#isInside = true;
      this.#failure = undefined;
      return answered("BEGIN") as never;
    }
    const isOpening = this.#isOpening;
    this.#isOpening = false;
    if (text === "commit" || text === "rollback") {
      this.#isInside = false;
      return (isOpening ? answered(text.toUpperCase()) : this.#send(args)) as never;
    }
    if (!this.#isInside) return this.#send(args) as never;
    return this.#ask({ text, values, name: this.#names.nameOf(text) }, isOpening) as never;
  }

  #ask(statement: Statement, isOpening: boolean): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (isOpening) this.#transactions += 1;
      const query = isOpening ? new OpeningQuery(statement, this.#transactions) : namedQuery(statement);
      query.callback = (error, answer) => {
        if (error === null) return resolve(answer);
        if (this.#failure === undefined && statement.name !== undefined)
          this.#names.failed(statement.text, sqlState(error));
        this.#failure ??= error;
        reject(this.#failure);
      };
      this.#send([query as never]);
    });
  }

  // What is asked for in one turn, and COMMIT if it follows in the next one, is written at once: Postgres is woken once for it, and not for
  // each statement.
  #send(args: never[]): unknown {
    if (!this.#isHolding) {
      const { stream } = (this as unknown as { readonly connection: { readonly stream: Socket } }).connection;
      this.#isHolding = true;
      stream.cork();
      afterNextTurn(() => {
        this.#isHolding = false;
        stream.uncork();
      });
    }
    return (super.query as (...all: never[]) => unknown).apply(this, args);
  }
}

// Given as an object, pg would copy it member by member.
function namedQuery({ text, values, name }: Statement): QueryInside {
  const query = new Query(text, values);
  query.name = name;
  return query;
}

// Ticks that are due all come before the promises that they resolve.
function afterNextTurn(act: () => void): void {
  process.nextTick(() => queueMicrotask(() => process.nextTick(act)));
}

function answered(command: string): Promise<Answer> {
  return Promise.resolve({ command, rowCount: null, rows: [] });
}

// A connection on which statements do not wait for the answers of those before: what is asked for together costs one round trip.
// Made by the pool of database.ts. Answers come in the order of the statements; one that fails inside a transaction fails those after it.
// BEGIN waits for the first statement of its transaction and leaves with it, in one group: if it fails, the statement is not run either,
// so that nothing is ever written outside of the transaction that it was meant for. A transaction without a statement costs nothing.

import pg from "pg";

/** What the driver of Kysely reads of an answer. */
interface Answer {
  readonly command: string;
  readonly rowCount: number | null;
  readonly rows: readonly unknown[];
}

/** The messages of the protocol that are sent here; pg does not type them. */
interface Wire {
  parse(statement: { readonly text: string }): void;
  bind(values: object): void;
  execute(portal: object): void;
}

// What a pg.Query has beside its types.
interface QueryInside {
  callback: (error: Error | null, answer: Answer) => void;
  requiresPreparation(): boolean;
  prepare(wire: Wire): void;
  handleCommandComplete(message: unknown, wire: Wire): void;
}
const Query = pg.Query as unknown as new (text: string, values: readonly unknown[]) => QueryInside;

// BEGIN and a statement, up to one Sync: when the first fails, Postgres skips the second.
class OpeningQuery extends Query {
  #began = false;

  override requiresPreparation(): boolean {
    return true;
  }

  override prepare(wire: Wire): void {
    wire.parse({ text: "begin" });
    wire.bind({});
    wire.execute({});
    super.prepare(wire);
  }

  override handleCommandComplete(message: unknown, wire: Wire): void {
    if (this.#began) super.handleCommandComplete(message, wire);
    this.#began = true;
  }
}

/** See the file header. A server that stops answering is cut off after query_timeout: a client that waits for it is of no use to a pool. */
export class PipelinedClient extends pg.Client {
  #opening = false;

  constructor(config?: pg.ClientConfig) {
    super({ ...config, pipeline: true });
  }

  // The overloads of pg cannot be repeated here. Only what Kysely sends, a text with its values, is ever changed: who writes BEGIN by hand
  // may go on with several statements in one text, which cannot be sent in a group.
  override query(...args: never[]): never {
    const [text, values] = args as unknown as readonly [unknown, (readonly unknown[])?];
    const isOpening = this.#opening;
    this.#opening = text === "begin" && Array.isArray(values);
    if (this.#opening) return answered("BEGIN") as never;
    if (!isOpening || typeof text !== "string") return this.#send(args) as never;
    if (text === "commit" || text === "rollback") return answered(text.toUpperCase()) as never;
    return new Promise<Answer>((resolve, reject) => {
      const query = new OpeningQuery(text, values ?? []);
      query.callback = (error, answer) => (error === null ? resolve(answer) : reject(error));
      this.#send([query as never]);
    }) as never;
  }

  #send(args: never[]): unknown {
    return (super.query as (...all: never[]) => unknown).apply(this, args);
  }
}

function answered(command: string): Promise<Answer> {
  return Promise.resolve({ command, rowCount: null, rows: [] });
}

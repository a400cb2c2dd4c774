// What a transaction gives together with its last statements, which are on their way: COMMIT follows them without waiting for answers.
// Made by commands at the end of a transaction; taken apart by store.ts. If one of the statements fails, nothing is committed.
// Each is sent by then: a function that runs a second query once the first one is answered has no place here.

/** See the file header. */
export class Lastly<Value> {
  readonly value: Value;
  readonly statements: readonly Promise<unknown>[];
  #failed: { readonly error: unknown } | undefined;

  constructor(value: Value, statements: readonly Promise<unknown>[]) {
    this.value = value;
    this.statements = statements;
    for (const statement of statements) {
      statement.catch((error: unknown) => {
        this.#failed ??= { error };
      });
    }
  }

  /**
   * The statements, once they were handed to the connection. @throws what kept one from being sent, such as a value that cannot be
   * written: Postgres would know nothing of it, and commit the others.
   */
  async onTheirWay(): Promise<readonly Promise<unknown>[]> {
    await onTheirWay();
    if (this.#failed !== undefined) throw this.#failed.error;
    return this.statements;
  }
}

/** Resolves when everything has happened that does not wait for the network: statements that were asked for by now are sent. */
export function onTheirWay(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

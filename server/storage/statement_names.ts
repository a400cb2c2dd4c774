// Which statements of a connection have a name, so that Postgres parses and plans them once: texts that come again.
// Used by pipelined_client.ts inside transactions. One set of names a connection; Postgres forgets them with it.

/** Times that a text comes before it gets a name: what is asked for once is not worth keeping. */
const COMES_MIN = 3;
/** Names at most: each costs the server a plan, some 50 KiB. */
const NAMES_MAX = 100;
/** Texts that are counted at most; then counting begins anew. */
const COUNTED_MAX = 500;

// 0A000 its result is another one since a migration, 26000 nobody knows the name, 42P05 somebody has it already.
const CHANGED = "0A000";
const FOREIGN: ReadonlySet<string> = new Set(["26000", "42P05"]);

/** See the file header. */
export class StatementNames {
  readonly #names = new Map<string, string>();
  readonly #counts = new Map<string, number>();
  #given = 0;
  #isOff = false;

  /** The name under which a text is to be sent; undefined: none yet. */
  nameOf(text: string): string | undefined {
    if (this.#isOff) return undefined;
    const known = this.#names.get(text);
    if (known !== undefined || this.#names.size >= NAMES_MAX) return known;
    const comes = (this.#counts.get(text) ?? 0) + 1;
    if (comes < COMES_MIN) {
      if (this.#counts.size >= COUNTED_MAX) this.#counts.clear();
      this.#counts.set(text, comes);
      return undefined;
    }
    this.#counts.delete(text);
    this.#given += 1;
    const name = `orloj_${this.#given}`;
    this.#names.set(text, name);
    return name;
  }

  /**
   * Learns that a named statement failed. One whose tables changed gets another name. When the server lacks a name, or has it from
   * somebody else, a pooler in between gives every transaction another connection: then nothing has a name any more.
   */
  failed(text: string, sqlstate: string | undefined): void {
    if (sqlstate === CHANGED) this.#names.delete(text);
    else if (FOREIGN.has(sqlstate ?? "")) this.#isOff = true;
  }
}

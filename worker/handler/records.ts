// The recorded values of handler code: made once, written into the journal as a turn with a name, and given back after a crash.
// Behind `ctx.record`; made by run_handler.ts for each task. A recorded value counts as a turn of the agent: `maxTurns` bounds them.
// What the code gets is what was recorded, without secrets, so that it sees the same in every life of the task.

import { canonicalJson, type Json, parseJson } from "../../kit/json.ts";
import type { Redactor } from "../../kit/redactor.ts";
import { orStopped } from "../agent/stop.ts";
import type { AgentTask } from "../agent/task.ts";
import type { JournalWriter } from "./journal_writer.ts";
import { plainJson } from "./plain_json.ts";
import type { Recall } from "./recall.ts";
import type { Scope } from "./scope.ts";

const NAME_CHARACTERS_MAX = 128;

/** What the records of one task need. */
export interface RecordsOptions {
  readonly task: AgentTask;
  readonly scope: Scope;
  readonly recall: Recall;
  readonly writer: JournalWriter;
  readonly redactor: Redactor;
  /** Aborts when the task stops. */
  readonly signal: AbortSignal;
}

/** See the file header. */
export class Records {
  readonly #options: RecordsOptions;
  readonly #making = new Set<string>();
  #turns: number;

  constructor(options: RecordsOptions) {
    this.#options = options;
    this.#turns = options.recall.values;
  }

  /**
   * The recorded value of that name, or the one that `make` makes, once it is recorded.
   *
   * @throws what `make` throws: then nothing is recorded; TypeError for a bad name, or a value that is no JSON.
   */
  async record(name: unknown, make: () => unknown): Promise<Json | undefined> {
    const { recall, writer, redactor, scope, signal } = this.#options;
    if (typeof name !== "string" || name === "" || name.length > NAME_CHARACTERS_MAX) {
      throw new TypeError(`the name of a record has 1 to ${NAME_CHARACTERS_MAX} characters`);
    }
    const recorded = recall.takeValue(name);
    if (recorded !== undefined) return recorded === "" ? undefined : parseJson(recorded);
    // Which of the two is which could not be told after a crash.
    if (this.#making.has(name)) throw new TypeError(`two records of the name "${name}" are made at the same time`);
    this.#count();
    this.#making.add(name);
    try {
      await writer.leaseSound(signal);
      const made = await orStopped(
        Promise.resolve().then(() => make()),
        scope.signal,
      );
      const value = made === undefined ? undefined : redactor.json(plainJson(made, `the record "${name}"`));
      const text = value === undefined ? "" : canonicalJson(value);
      await writer.appendTurn({ record: name, text, toolCalls: [] });
      return value;
    } finally {
      this.#making.delete(name);
    }
  }

  #count(): void {
    const { task, scope } = this.#options;
    const { maxTurns } = task.agent.limits;
    if (this.#turns >= maxTurns) {
      const message = `the agent used its ${maxTurns} turns without an answer`;
      throw scope.end({ kind: "failed", class: "TurnLimit", message, retryable: false });
    }
    this.#turns += 1;
  }
}

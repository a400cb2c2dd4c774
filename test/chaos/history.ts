// What the harness did and saw, one JSON line an event, in order: the checker's first witness.
// Written by driver and nemesis. Times are wall-clock ms of this machine, which Postgres shares.

import { createWriteStream, type WriteStream } from "node:fs";

/** One event. */
export type HistoryEvent =
  | { readonly type: "invoke"; readonly key: string; readonly workflow: string; readonly op: string }
  /** The invocation was acknowledged. */
  | { readonly type: "ok"; readonly key: string; readonly run: string; readonly duplicate: boolean }
  /** Nobody knows whether it happened. */
  | { readonly type: "info"; readonly key: string; readonly error: string }
  /** Nobody will ever know: it was asked for as long as the run had time. */
  | { readonly type: "given_up"; readonly key: string }
  | { readonly type: "cancel"; readonly run: string; readonly ok: boolean; readonly error?: string }
  | {
      readonly type: "worker_killed";
      /** When it was struck; what it held is asked after that. */
      readonly at: number;
      readonly worker: string;
      readonly phase: string;
      /** Tasks that it held. */
      readonly tasks: readonly string[];
      /** More than a ttl after the last start of a replica or return of the database. */
      readonly settled: boolean;
    }
  | { readonly type: "worker_frozen" | "worker_woken"; readonly worker: string; readonly tasks: readonly string[] }
  /** A person's request about a dead letter, and what was answered. */
  | { readonly type: "replayed"; readonly task: string; readonly replay: string; readonly duplicate: boolean }
  | { readonly type: "discarded"; readonly task: string }
  | { readonly type: "refused"; readonly asked: "replay" | "discard"; readonly task: string; readonly error: string }
  | { readonly type: "fault"; readonly fault: string; readonly what: string }
  | { readonly type: "healed"; readonly fault: string; readonly what: string };

/** See the file header. */
export class History {
  readonly #stream: WriteStream;

  constructor(path: string) {
    this.#stream = createWriteStream(path);
  }

  add(event: HistoryEvent): void {
    this.#stream.write(`${JSON.stringify({ at: Date.now(), ...event })}\n`);
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.#stream.end(resolve));
  }
}

// Fetches what an assignment only names: worker views (kept, by digest) and the rest of long journals.
// Asked by task_table.ts; session.ts hands the answers in and repeats unanswered questions after a reconnect.
// Bounded: the least recently used view is forgotten first.

import { DomainError } from "../../kit/errors.ts";
import type { JournalPages, WorkerViews } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { JournalEntry } from "../agent/task.ts";
import { parseWorkerView, type WorkerView } from "../agent/view.ts";
import type { Outbox } from "./outbox.ts";
import { journalEntryOf } from "./translate.ts";

/** Views kept. */
export const VIEWS_MAX = 64;

interface Asked<Answer> {
  readonly promise: Promise<Answer>;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** Worker views by digest. */
export class Views {
  readonly #outbox: Outbox;
  readonly #kept = new Map<string, WorkerView>();
  readonly #asked = new Map<string, Asked<WorkerView>>();

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /**
   * The view with that digest, from the cache or the server.
   *
   * @throws DomainError PROTOCOL_VIOLATION if the server's document has a wrong shape.
   */
  get(digest: string): Promise<WorkerView> {
    const kept = this.#kept.get(digest);
    if (kept !== undefined) {
      this.#keep(digest, kept);
      return Promise.resolve(kept);
    }
    let asked = this.#asked.get(digest);
    if (asked === undefined) {
      asked = Promise.withResolvers<WorkerView>();
      this.#asked.set(digest, asked);
      this.#outbox.add({ kind: "fetchView", digest });
    }
    return asked.promise;
  }

  /** Views came. */
  deliver(message: WorkerViews): void {
    for (const { digest, viewJson } of message.views) {
      const asked = this.#asked.get(digest);
      this.#asked.delete(digest);
      try {
        const view = parseWorkerView(viewJson);
        this.#keep(digest, view);
        asked?.resolve(view);
      } catch (error) {
        asked?.reject(error);
      }
    }
  }

  /** Asks again for what is still missing. */
  resend(): void {
    for (const digest of this.#asked.keys()) this.#outbox.add({ kind: "fetchView", digest });
  }

  #keep(digest: string, view: WorkerView): void {
    this.#kept.delete(digest);
    this.#kept.set(digest, view);
    if (this.#kept.size > VIEWS_MAX) this.#kept.delete(this.#kept.keys().next().value as string);
  }
}

interface JournalQuestion extends Asked<JournalPages> {
  readonly taskId: string;
  readonly token: string;
  readonly afterSequence: number;
}

/** Rests of journals, by task; one question a task at a time. */
export class JournalFetches {
  readonly #outbox: Outbox;
  readonly #asked = new Map<string, JournalQuestion>();

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /** Every entry after that sequence, in order. */
  async rest(taskId: string, token: string, afterSequence: number): Promise<JournalEntry[]> {
    const entries: JournalEntry[] = [];
    let after = afterSequence;
    for (;;) {
      const page = await this.#ask(taskId, token, after);
      entries.push(...page.entries.map(journalEntryOf));
      if (!page.more) return entries;
      const last = page.entries.at(-1)?.sequence ?? 0;
      if (last <= after)
        throw new DomainError("PROTOCOL_VIOLATION", "a journal page says that there is more but brings nothing");
      after = last;
    }
  }

  /** A page came. */
  deliver(page: JournalPages): void {
    const asked = this.#asked.get(page.taskId);
    this.#asked.delete(page.taskId);
    asked?.resolve(page);
  }

  /** Asks again for what is still missing. */
  resend(): void {
    for (const question of this.#asked.values()) this.#offer(question);
  }

  #ask(taskId: string, token: string, afterSequence: number): Promise<JournalPages> {
    const question = { taskId, token, afterSequence, ...Promise.withResolvers<JournalPages>() };
    this.#asked.set(taskId, question);
    this.#offer(question);
    return question.promise;
  }

  #offer({ taskId, token, afterSequence }: JournalQuestion): void {
    this.#outbox.add({ kind: "fetchJournal", taskId, token, afterSequence });
  }
}

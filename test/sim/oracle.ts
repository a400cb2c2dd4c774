// The model: what must be true after each operation, written from the pages and never by calling the product's rules.
// It keeps books of its own (who holds what, what is recorded, what was granted) from what it hears, judges each verdict by them,
// and then holds the tables against them (oracle_state.ts). The sink of effects is the ground truth.

import { type Books, demand, type TaskBook, Violation } from "./books.ts";
import type { Driver } from "./driver.ts";
import { ATTEMPTS_MAX, FLOWS, GAP_MS, RETRY_DELAY_MS, TTL_MS } from "./flows.ts";
import { FactBooks, type Heard } from "./oracle_facts.ts";
import { checkState } from "./oracle_state.ts";
import type { Assigned, Findings, Item, Outcome, Presented, TaskRow, Traced } from "./rows.ts";

export class Oracle implements Books {
  readonly tasks = new Map<string, TaskBook>();
  readonly #facts = new FactBooks();
  readonly runStates = new Map<string, string>();
  #lookedMs = Number.NEGATIVE_INFINITY;
  #quietUntilMs = 0;
  readonly #expiry = new Map<string, number>();

  /** After each operation. @throws Violation */
  observe(traced: Traced, driver: Driver): void {
    const { tables } = driver;
    for (const task of tables.tasks.values()) {
      if (!this.tasks.has(task.id)) this.#open(task);
    }
    if (traced.result !== undefined) this.#hear(traced, driver);
    checkState(this, traced, driver);
  }

  #open({ id, run, origin, replayOf }: TaskRow): void {
    this.tasks.set(id, {
      ...{ id, run: run.id, origin, holder: undefined, attempt: 1, deliveries: 0, succeeded: false, dueMs: 0 },
      ...{ journal: replayOf === "" ? [] : this.#facts.inherited(this.#book(replayOf)), state: "READY" },
      ...{ decided: new Set(), accepted: new Map(), seen: "" },
    });
  }

  #book(task: string): TaskBook {
    const book = this.tasks.get(task);
    if (book === undefined) throw new Violation("known task", task);
    return book;
  }

  #hear({ op, result }: Traced, driver: Driver): void {
    const { nowMs } = driver.tables;
    switch (op.op) {
      case "open":
        this.#expiry.set(result?.session ?? "", nowMs + TTL_MS);
        return;
      case "renew":
        if (result?.alive === true) this.#expiry.set(op.session, nowMs + TTL_MS);
        return;
      case "close":
        this.#expiry.delete(op.session);
        return;
      case "mark_lost":
        for (const id of op.sessions) {
          if (driver.tables.sessions.get(id)?.state === "lost") {
            demand((this.#expiry.get(id) ?? 0) < nowMs, "a session seen within the ttl is never lost", () => id);
            this.#expiry.delete(id);
          }
        }
        return;
      case "find":
        this.#looked(result?.found, nowMs);
        return;
      case "accept": {
        const holder = this.#book(op.task).holder;
        if (holder?.token === op.token && !holder.late) holder.accepted = true;
        return;
      }
      case "claim":
        for (const { task, token, session } of deniedOf(result?.settle)) this.#claimed(task, token, session, driver);
        this.#assigned(result?.assigned, driver);
        return;
      case "invoke":
        this.#assigned(result?.assigned, driver);
        return;
      case "turns":
        for (const [index, fact] of op.facts.entries())
          this.#facts.turn(this.#counting(fact), result?.verdicts?.[index] ?? "");
        return;
      case "calls":
        for (const [index, fact] of op.facts.entries())
          this.#facts.call(this.#counting(fact), result?.answers?.[index], driver);
        return;
      case "results":
        for (const [index, fact] of op.facts.entries())
          this.#facts.result(this.#counting(fact), result?.verdicts?.[index] ?? "");
        return;
      case "settle":
        this.#settled(op.items, result?.verdicts ?? [], driver);
        this.#assigned(result?.assigned, driver);
        return;
      default:
    }
  }

  // After a time in which nobody looked, workers get one ttl to renew. (The watch may be a tenth of a ttl behind.)
  #looked(found: Findings | undefined, nowMs: number): void {
    if (nowMs - this.#lookedMs > GAP_MS + TTL_MS / 10) this.#quietUntilMs = nowMs + TTL_MS;
    this.#lookedMs = nowMs;
    const taken = (found?.lost.length ?? 0) + (found?.expired.length ?? 0);
    demand(taken === 0 || nowMs >= this.#quietUntilMs, "nothing is swept before workers could renew", () => `${taken}`);
  }

  #assigned(assigned: readonly Assigned[] | undefined, driver: Driver): void {
    for (const { task, token, session, journal } of assigned ?? []) {
      this.#claimed(task, token, session, driver);
      const kept = JSON.stringify(this.#book(task).journal) === JSON.stringify(journal);
      demand(kept, "an assignment carries the whole journal", () => task);
    }
  }

  #claimed(task: string, token: string, session: string, driver: Driver): void {
    const book = this.#book(task);
    const { holder } = book;
    demand(holder === undefined || holder.late, "a task is leased once at a time", () => `${task} ${token}`);
    const run = this.runStates.get(book.run);
    demand(run === "RUNNING" || run === undefined, "no lease follows a cancel", () => `${task} of a ${run} run`);
    const order = driver.tables.task(task).claimOrder;
    const before = [...driver.tables.ready.values()].find((other) => other.task.claimOrder < order);
    demand(before === undefined, "tasks are claimed in their order", () => `${task} before ${before?.task.id}`);
    book.holder = { token, session, late: false, accepted: false };
  }

  #counting<Fact extends Presented>(fact: Fact): Heard<Fact> {
    const counts = this.#counts(fact);
    return { fact, counts, book: this.#book(fact.task), run: this.runStates.get(this.#book(fact.task).run) };
  }

  /** True if a fact counts; a late token becomes the lease again. */
  #counts(fact: { task: string; token: string; session: string }): boolean {
    const { holder } = this.#book(fact.task);
    if (holder?.token !== fact.token || holder.session !== fact.session) return false;
    if (holder.late) Object.assign(holder, { late: false, accepted: true });
    return true;
  }

  #settled(items: readonly Item[], verdicts: readonly string[], driver: Driver): void {
    for (const late of [false, true]) {
      for (const [index, item] of items.entries()) {
        if (item.type === "wake") {
          if (!late && verdicts[index] === "committed") this.#woken(item.task, driver);
          continue;
        }
        if (item.type === "replay" || item.type === "discard") {
          if (!late) this.#decided(item, verdicts[index] ?? "", driver);
          continue;
        }
        if ("run" in item || (item.type === "lost") !== late) continue;
        if (item.type === "lost") this.#lost(item, verdicts[index] ?? "", driver);
        else this.#ended(item, verdicts[index] ?? "", driver);
      }
    }
  }

  #decided(item: Extract<Item, { type: "replay" | "discard" }>, verdict: string, driver: Driver): void {
    const book = this.#book(item.task);
    const made = [...driver.tables.tasks.values()].filter((task) => task.replayOf === item.task);
    demand(made.length <= 1, "a dead letter is replayed once", () => `${item.task}: ${made.map(({ id }) => id)}`);
    if (verdict !== "committed") return;
    demand(book.state === "DEAD_LETTERED", "only what is parked is decided about", () => `${item.task} ${book.state}`);
    if (item.type === "discard") return;
    const open = this.#facts.undecided(book.origin);
    demand(item.repeat || open.length === 0, "what nobody knows is not repeated unasked", () => open.join());
    this.#facts.renew(book.origin);
    // Somebody said that it may happen again.
    for (const request of open) driver.sink.allowAgain(request);
  }

  #woken(task: string, driver: Driver): void {
    const { dueMs } = this.#book(task);
    demand(dueMs <= driver.tables.nowMs, "a retry waits for its delay", () => task);
  }

  #ended(
    item: Exclude<Item, { run: string } | { type: "wake" | "lost" | "replay" | "discard" }>,
    verdict: string,
    driver: Driver,
  ): void {
    const book = this.#book(item.task);
    if (!this.#counts(item)) {
      demand(verdict !== "committed", "a stale token changes nothing", () => `${item.type} ${item.task} ${item.token}`);
      const told = item.type === "outcome" ? JSON.stringify(item.outcome) : "";
      const isRepeated = item.type === "outcome" && book.accepted.get(item.token) === told;
      demand(
        isRepeated === (verdict === "duplicate"),
        "a resent outcome is a duplicate",
        () => `${item.task} ${verdict}`,
      );
      return;
    }
    demand(
      verdict === "committed",
      "the holder's word counts",
      () => `${item.type} ${item.task} ${item.token}: ${verdict}`,
    );
    book.holder = undefined;
    // Only the last accepted token of a task is remembered.
    book.accepted.clear();
    if (item.type !== "outcome") return;
    book.accepted.set(item.token, JSON.stringify(item.outcome));
    this.#accepted(book, item.outcome, driver);
  }

  #accepted(book: TaskBook, outcome: Outcome, driver: Driver): void {
    const task = driver.tables.task(book.id);
    if (outcome.type === "interrupted" || outcome.type === "cancelled") return;
    demand(
      !book.decided.has(book.attempt),
      "one accepted outcome an attempt",
      () => `${book.id} attempt ${book.attempt}`,
    );
    book.decided.add(book.attempt);
    if (outcome.type === "succeeded") {
      demand(!book.succeeded, "a task succeeds once", () => book.id);
      demand(task.state === "SUCCEEDED", "an accepted success ends its task", () => `${book.id} ${task.state}`);
      book.succeeded = true;
      return;
    }
    const { onExhausted } = FLOWS[task.run.flow] ?? { onExhausted: "fail" };
    const runs = task.run.graph.run === "RUNNING";
    const retries = outcome.class === "Timeout" && book.attempt < ATTEMPTS_MAX;
    if (retries && task.state === "WAITING") {
      book.attempt += 1;
      book.deliveries = 0;
      book.dueMs = driver.tables.nowMs + RETRY_DELAY_MS;
      this.#newAttempt(book);
    }
    if (!runs) return;
    const expected = retries ? "WAITING" : onExhausted === "fail" ? "FAILED" : "DEAD_LETTERED";
    demand(task.state === expected, "a failure spends an attempt, or ends the task", () => `${book.id} ${task.state}`);
  }

  // A new attempt drops the last turn, with what followed it, unless one of its calls was granted.
  #newAttempt(book: TaskBook): void {
    const last = book.journal.findLastIndex((row) => row.kind === "turn");
    if (last >= 0 && !this.#facts.calls.has(`${book.origin}/${last + 1}/0`)) book.journal.splice(last);
  }

  #lost(item: Extract<Item, { type: "lost" }>, verdict: string, driver: Driver): void {
    const book = this.#book(item.task);
    const { holder } = book;
    if (holder === undefined || holder.late || holder.token !== item.token) {
      demand(
        verdict === "lease_lost",
        "a task that moved on is not taken back",
        () => `${item.task} ${item.token}: ${verdict}`,
      );
      return;
    }
    const seen = (this.#expiry.get(holder.session) ?? 0) >= driver.tables.nowMs;
    const kept = (item.reason === "unaccepted" && holder.accepted) || (item.reason === "expired" && seen);
    demand(
      kept === (verdict === "duplicate"),
      "only a lost worker loses its lease",
      () => `${item.task} ${item.reason}`,
    );
    if (kept) return;
    const task = driver.tables.task(item.task);
    if (item.reason !== "expired" || task.state !== "READY") book.holder = undefined;
    else holder.late = true;
    if (this.runStates.get(book.run) !== "RUNNING") {
      demand(task.state !== "READY", "a stopping run requeues nothing", () => `${item.task} ${task.state}`);
      return;
    }
    if (item.reason !== "expired" || task.state === "CANCELLED" || task.state === "TIMED_OUT") return;
    book.deliveries += 1;
    if (task.state === "DEAD_LETTERED") book.accepted.clear();
    if (book.deliveries >= 10) demand(task.state !== "READY", "ten losses end a task", () => item.task);
  }
}

function deniedOf(items: readonly Item[] | undefined) {
  return (items ?? []).flatMap((item) => (item.type === "denied" ? [item] : []));
}

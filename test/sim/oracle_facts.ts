// The model's judgement of turns, tool calls and results: the journal and the ledger as their page describes them.
// Called by oracle.ts, which says whose word counts.

import { type Call, demand, type TaskBook } from "./books.ts";
import type { Driver } from "./driver.ts";
import { TOOL_ATTEMPTS_MAX } from "./flows.ts";
import type { Answer, CallFact, JournalRow, Presented, ResultFact, TurnFact } from "./rows.ts";

/** A fact with what the books say of its sender. */
export interface Heard<Fact extends Presented> {
  readonly fact: Fact;
  readonly counts: boolean;
  readonly book: TaskBook;
  readonly run: string | undefined;
}

export class FactBooks {
  readonly calls = new Map<string, Call>();
  /** Tokens by the grants that were made for them. */
  readonly #granted = new Map<string, string>();
  readonly #answered = new Set<string>();

  /** The journal of a replay: what its predecessor recorded, without what made it end. */
  inherited({ origin, journal }: TaskBook): JournalRow[] {
    const last = journal.findLastIndex((row) => row.kind === "turn");
    if (last >= 0 && !this.calls.has(`${origin}/${last + 1}/0`)) return journal.slice(0, last);
    const end = journal.at(-1);
    const isOpen = end?.kind === "failure" && this.calls.get(`${origin}/${end.turnSequence}/0`)?.state !== "done";
    return journal.slice(0, isOpen ? -1 : undefined);
  }

  /** Requests of a lineage of which nobody knows whether they had their effect. */
  undecided(origin: string): string[] {
    const mayHave = (call: Call) => call.state === "unknown" || (call.state === "open" && call.tool !== "look");
    return this.#of(origin).flatMap(([request, call]) => (mayHave(call) ? [request] : []));
  }

  /** A replay tries again what did not end well. */
  renew(origin: string): void {
    for (const [, call] of this.#of(origin))
      if (call.state !== "done") Object.assign(call, { state: "failed", attempt: 0 });
  }

  #of(origin: string): [string, Call][] {
    return [...this.calls].filter(([request]) => request.startsWith(`${origin}/`));
  }

  turn({ fact, counts, book }: Heard<TurnFact>, verdict: string): void {
    const fenced = !counts;
    demand(
      fenced === (verdict === "lease_lost"),
      "a stale token changes nothing",
      () => `turn ${fact.token}: ${verdict}`,
    );
    const there = book.journal[fact.sequence - 1];
    if (fenced) return;
    const isNext = fact.sequence === book.journal.length + 1;
    demand(isNext === (verdict === "committed"), "a turn takes the next entry, once", () => `${fact.task}: ${verdict}`);
    if (isNext) {
      book.journal.push({ kind: "turn", turn: fact.body });
      book.deliveries = 0;
    } else if (there?.turn?.nonce !== fact.body.nonce) {
      demand(verdict === "refused", "a recorded turn stays as it is", () => `${fact.task}: ${verdict}`);
    }
  }

  call({ fact, counts, book, run }: Heard<CallFact>, answer: Answer | undefined, driver: Driver): void {
    const request = `${book.origin}/${fact.turnSequence}/0`;
    const call = this.calls.get(request);
    const type = answer?.type ?? "";
    const expected = !counts
      ? ["lease_lost"]
      : isAsked(fact, book.journal)
        ? expectedAnswer(fact, call, run, driver)
        : ["not_asked"];
    const rule = expected.includes("lease_lost")
      ? "a stale token changes nothing"
      : "the ledger answers as its page says";
    demand(expected.includes(type), rule, () => `${request} got ${type}, not ${expected.join(" or ")}`);
    if (answer?.type === "cached") {
      demand(answer.result === call?.value, "a stored result is the one that was recorded", () => request);
      if (!book.journal.some((row) => row.turnSequence === fact.turnSequence)) {
        book.journal.push({ kind: "result", turnSequence: fact.turnSequence, result: answer.result });
      }
    }
    if (type === "unknown_outcome" && call !== undefined) call.state = "unknown";
    if (answer?.type !== "granted") return;
    this.#granted.set(answer.grant, fact.token);
    const attempt = call === undefined ? 1 : call.attempt + (call.state === "failed" ? 1 : 0);
    const args = `${fact.tool}(${fact.arg})`;
    const open = { task: fact.task, args, tool: fact.tool, grant: answer.grant, token: fact.token, attempt };
    this.calls.set(request, { ...open, state: "open", value: "", failure: "" });
  }

  result({ fact, counts, book }: Heard<ResultFact>, verdict: string): void {
    const found = [...this.calls].find(
      ([id, one]) => one.grant === fact.grant && id.startsWith(`${book.origin}/`) && one.task === fact.task,
    );
    const [request = "", call] = found ?? [];
    const known = fact.ok || !fact.ambiguous;
    const takes = call !== undefined && (call.state === "open" || (call.state === "unknown" && known));
    if (call === undefined || !takes) {
      const isRefused = verdict === "refused" || verdict === "duplicate";
      demand(isRefused, "a grant takes one result", () => `${request} ${fact.grant}: ${verdict}`);
      const isFirst = this.#granted.get(fact.grant) === fact.token && !this.#answered.has(fact.grant);
      demand(!isFirst || !counts, "a grant that its holder has stays good", () => `${fact.grant}: ${verdict}`);
      return;
    }
    this.#answered.add(fact.grant);
    Object.assign(call, { state: fact.ok ? "done" : "failed", value: fact.value });
    if (counts && fact.sequence === book.journal.length + 1) {
      const turnSequence = Number(request.split("/")[1]);
      book.journal.push({ kind: fact.ok ? "result" : "failure", turnSequence, result: fact.value });
    }
    const needsPerson = !known && call.tool === "write";
    if (needsPerson) call.state = "unknown";
    demand(
      (verdict === "committed") === (counts && !(needsPerson && verdict === "lease_lost")),
      "a result counts for its holder",
      () => request,
    );
  }
}

// Only what the recorded turn asked for is decided at all.
function isAsked(fact: CallFact, journal: readonly JournalRow[]): boolean {
  const turn = journal[fact.turnSequence - 1]?.turn;
  return turn?.tool === fact.tool && turn.arg === fact.arg;
}

function expectedAnswer(
  fact: CallFact,
  call: Call | undefined,
  run: string | undefined,
  driver: Driver,
): readonly string[] {
  if (run !== "RUNNING") return ["retry_after"];
  if (driver.tables.denied === "tool") return ["denied"];
  if (call === undefined) return ["granted"];
  if (call.args !== `${fact.tool}(${fact.arg})`) return ["conflict"];
  const maySendAgain = call.tool !== "write";
  if (call.state === "done") return ["cached"];
  if (call.state === "unknown") return ["unknown_outcome"];
  // How often a task was begun decides how often a tool may fail: between once and every attempt and delivery of it.
  if (call.state === "failed") return call.attempt < TOOL_ATTEMPTS_MAX ? ["granted"] : ["granted", "failed"];
  return [call.token === fact.token || maySendAgain ? "granted" : "unknown_outcome"];
}

// Simulated workers: what each believes, the next thing it does with a task, and what an answer makes it believe.
// As the real one: nothing before it is recorded, nothing called without a grant, unanswered facts are sent again.

import { TOOL_ATTEMPTS_MAX, TOOL_NAMES, TTL_MS } from "./flows.ts";
import type { Answer, Assigned, CallFact, JournalRow, Outcome, Presented, ResultFact, TurnFact } from "./rows.ts";
import type { Sink } from "./sink.ts";

/** A fact on its way, of one worker. */
export type Request = { readonly worker: number } & (
  | { readonly kind: "accept"; readonly fact: Presented }
  | { readonly kind: "turn"; readonly fact: TurnFact }
  | { readonly kind: "call"; readonly fact: CallFact }
  | { readonly kind: "result"; readonly fact: ResultFact }
  | { readonly kind: "outcome"; readonly fact: Presented & { readonly outcome: Outcome } }
  | { readonly kind: "yield"; readonly fact: Presented }
);

export type Kind = Request["kind"];

/** A task as the worker that holds it sees it. */
export interface HeldTask extends Presented {
  readonly journal: JournalRow[];
  /** Waits for its acknowledgement. */
  pending: Request | undefined;
  grant: { readonly grant: string; readonly request: string } | undefined;
  callAttempt: number;
  toldToStop: boolean;
}

export interface Worker {
  readonly index: number;
  instance: string;
  session: string;
  epoch: number;
  replica: number;
  connected: boolean;
  frozen: boolean;
  /** Its own monotonic clock beside that of the world, in ms. */
  clockMs: number;
  /** By that clock, until when it may begin something. */
  soundUntilMs: number;
  readonly held: Map<string, HeldTask>;
}

/** Turns with tool calls that a task may ask for. */
const TOOL_TURNS_MAX = 2;

export class Models {
  #answers = 0;

  /** Nobody's model answers twice alike. */
  answer(journal: readonly JournalRow[], arg: number): { nonce: number; tool: string; arg: number } {
    this.#answers += 1;
    const asked = journal.filter((row) => row.kind === "turn").length;
    const tool = asked >= TOOL_TURNS_MAX ? "" : (TOOL_NAMES[arg % (TOOL_NAMES.length + 1)] ?? "");
    return { nonce: this.#answers, tool, arg: arg >> 2 };
  }
}

/** The next fact of a task, or undefined if the worker must not begin anything. */
export function nextRequest(
  worker: Worker,
  held: HeldTask,
  arg: number,
  world: { readonly nowMs: number; readonly models: Models; readonly sink: Sink },
): Request | undefined {
  if (held.pending !== undefined) return held.pending;
  if (world.nowMs + worker.clockMs > worker.soundUntilMs - TTL_MS / 15) return undefined;
  const fact = { task: held.task, token: held.token, session: held.session };
  const from = { worker: worker.index };
  const last = held.journal.at(-1);
  const sequence = held.journal.length + 1;
  if (held.toldToStop) held.pending = { ...from, kind: "outcome", fact: { ...fact, outcome: { type: "cancelled" } } };
  else if (last?.turn === undefined) {
    held.pending = { ...from, kind: "turn", fact: { ...fact, sequence, body: world.models.answer(held.journal, arg) } };
  } else if (last.turn.tool === "") {
    held.pending = { ...from, kind: "outcome", fact: { ...fact, outcome: { type: "succeeded", x: arg % 2 === 0 } } };
  } else if (held.grant === undefined) {
    const { tool, arg: argument } = last.turn;
    held.pending = { ...from, kind: "call", fact: { ...fact, turnSequence: sequence - 1, tool, arg: argument } };
  } else {
    const { tool, arg: argument } = last.turn;
    const heard = world.sink.call({ ...held.grant, tool, arg: argument }, arg % 8);
    const again = !heard.ok && held.callAttempt < TOOL_ATTEMPTS_MAX && arg >= 16;
    const result = heard.ok ? { ok: true, ambiguous: false, value: heard.value } : { ...heard, value: "" };
    const { grant } = held.grant;
    held.pending = { ...from, kind: "result", fact: { ...fact, ...result, grant, sequence: again ? 0 : sequence } };
  }
  return held.pending;
}

/** What a verdict on a fact makes a worker believe. */
export function hear(worker: Worker, request: Request, verdict: string, answer?: Answer): void {
  const held = worker.held.get(request.fact.token);
  // An answer to something that it does not wait for, such as a second one, tells it nothing.
  if (held === undefined || held.pending !== request) return;
  held.pending = undefined;
  const isRecorded = verdict === "committed" || verdict === "duplicate";
  const drop = () => {
    // A fact that contradicts what is recorded fails the task; anything else is quietly dropped.
    if (verdict !== "refused") worker.held.delete(held.token);
    else {
      const { task, token, session } = held;
      const outcome = { type: "failed", class: "WorkerError" } as const;
      held.pending = { worker: worker.index, kind: "outcome", fact: { task, token, session, outcome } };
    }
  };
  switch (request.kind) {
    case "turn":
      if (isRecorded) held.journal.push({ kind: "turn", turn: request.fact.body });
      else drop();
      return;
    case "result":
      held.grant = undefined;
      if (!isRecorded) drop();
      else if (request.fact.sequence > 0) {
        const { ok, value } = request.fact;
        held.journal.push({ kind: ok ? "result" : "failure", turnSequence: request.fact.sequence - 1, result: value });
      } else held.callAttempt += 1;
      return;
    case "call":
      hearAnswer(held, request.fact, answer, drop);
      return;
    default:
      worker.held.delete(held.token);
  }
}

function hearAnswer(held: HeldTask, fact: CallFact, answer: Answer | undefined, drop: () => void): void {
  if (answer?.type === "granted") held.grant = answer;
  else if (answer?.type === "cached") {
    held.journal.push({ kind: "result", turnSequence: fact.turnSequence, result: answer.result });
  } else if (answer?.type !== "retry_after") drop();
}

/** An assignment arrives; a second copy of one is nothing new. */
export function take(worker: Worker, { task, token, session, journal }: Assigned): boolean {
  if (session !== worker.session || worker.held.has(token)) return false;
  worker.held.set(token, {
    ...{ task, token, session, journal: [...journal], pending: undefined, grant: undefined },
    ...{ callAttempt: 1, toldToStop: false },
  });
  return true;
}

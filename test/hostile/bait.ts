// A task that a hostile client really holds, and the right frames for it: a turn, calls that it asked for, their results, an outcome.
// Called by the lanes. The right frames must all succeed, before the lies and after them: what the lies are told about is in order.

import type { Assignment, ToolGrant } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { Call, Link } from "./link.ts";
import type { Report } from "./report.ts";

/** A call that a turn asks for. */
export interface Wanted {
  readonly name: string;
  readonly arguments: object;
}

/** The first call of a bait: it has what the attacks change. */
export const PAY: Wanted = { name: "pay", arguments: { amount: 1, to: "caf\u00e9", items: [1, 2] } };
const LOOK: Wanted = { name: "look", arguments: {} };
const PICKY: Wanted = { name: "picky", arguments: { n: "many" } };

/** Place of each call in the turn. */
export const PLACES = { pay: 0, look: 1, picky: 2 } as const;

/** See the file header. */
export class Bait {
  readonly link: Link;
  readonly taskId: string;
  readonly token: string;
  readonly turnJson: string;
  readonly wanted: readonly Wanted[];
  /** The grant that stays open while others try to answer it. */
  openGrantId = "";
  /** A grant that has been answered, with its answer. */
  answered = { grantId: "", resultJson: "" };
  readonly #report: Report;
  readonly #use: (grant: ToolGrant) => Promise<void>;

  constructor(
    link: Link,
    { taskId, token }: Pick<Assignment, "taskId" | "token">,
    report: Report,
    use: (grant: ToolGrant) => Promise<void>,
    wanted: readonly Wanted[] = [PAY, LOOK, PICKY],
  ) {
    this.link = link;
    this.taskId = taskId;
    this.token = token;
    this.wanted = wanted;
    this.turnJson = JSON.stringify({ text: "", toolCalls: wanted });
    this.#report = report;
    this.#use = use;
  }

  /** The call that the turn asks for at a place. */
  call(callIndex: number): Call {
    const { name = "", arguments: args = {} } = this.wanted[callIndex] ?? {};
    const place = { taskId: this.taskId, token: this.token, turnSequence: 1, callIndex };
    return { ...place, tool: name, argumentsJson: JSON.stringify(args) };
  }

  async recordTurn(): Promise<void> {
    const verdict = await this.link.turn(this.taskId, this.token, 1, this.turnJson);
    this.#report.demand(verdict === "committed", () => `a turn is ${verdict}`);
    this.#report.legit.turns += 1;
  }

  /** Asks for what the turn asked for, and uses the grant. */
  async grant(callIndex: number): Promise<ToolGrant | undefined> {
    const decision = await this.link.call(this.call(callIndex));
    this.#report.demand(decision.case === "granted", () => `call ${callIndex} of a turn got ${decision.case}`);
    if (decision.case !== "granted") return undefined;
    this.#report.legit.grants += 1;
    await this.#use(decision.value);
    this.#report.legitUses += 1;
    return decision.value;
  }

  async answer(grantId: string, resultJson: string, journalSequence: number): Promise<void> {
    const fact = { taskId: this.taskId, token: this.token, grantId, resultJson, journalSequence };
    const [verdict] = await this.link.tell(fact);
    this.#report.demand(verdict === "committed", () => `a result is ${verdict}`);
    this.#report.legit.results += 1;
    this.answered = { grantId, resultJson };
  }

  /** A turn, a call with its result, and a call whose result is kept back. */
  async begin(): Promise<void> {
    await this.recordTurn();
    const paid = await this.grant(PLACES.pay);
    if (paid !== undefined) await this.answer(paid.grantId, '{"receipt":1}', 2);
    this.openGrantId = (await this.grant(PLACES.look))?.grantId ?? "";
  }

  /** The result that was kept back, and the outcome; each told again and again, which changes nothing. */
  async finish(replays: number): Promise<void> {
    const { taskId, token } = this;
    const first = { taskId, token, ...this.answered, journalSequence: 2 };
    if (replays > 0) this.#report.replayed(await this.link.tell(first, replays));
    await this.answer(this.openGrantId, '{"seen":true}', 3);
    await this.succeed();
    if (replays > 0) this.#report.replayed(await this.link.outcome(taskId, token, '{"ok":true}', replays));
  }

  async succeed(): Promise<void> {
    const [verdict] = await this.link.outcome(this.taskId, this.token, '{"ok":true}');
    this.#report.demand(verdict === "committed", () => `an outcome is ${verdict}`);
    this.#report.legit.outcomes += 1;
    this.link.held.delete(this.token);
  }
}

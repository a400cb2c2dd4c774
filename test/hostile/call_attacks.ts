// Lies about tool calls: what was never asked for, what was changed since, what belongs to others. None may get means.
// Called by lane.ts, one at a time, with a task of its own and one of another session. A grant that is got all the same is used.

import type { ToolDecision } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { type Bait, PAY, PLACES } from "./bait.ts";
import type { Call } from "./link.ts";
import type { Attempt } from "./report.ts";

/** What an attack is given: a task that its client holds, and one that another client holds. */
export interface Scene {
  readonly own: Bait;
  readonly victim: Bait;
  /** A number that differs each time. */
  readonly turn: number;
  /** Uses a grant that should not have been given. */
  use(decision: ToolDecision["decision"]): Promise<void>;
}

/** One way of lying. */
export type Attack = (scene: Scene) => Promise<Attempt>;

const answerOf = ({ case: name, value }: ToolDecision["decision"]) =>
  `${name} ${name === "unavailable" ? value.message : ""}`;
const STALE = "fact.refused tool_call";
const NOT_ASKED = "fact.refused tool_call not_asked";

function lie(kind: string, sign: string, callOf: (scene: Scene) => Call): Attack {
  return async (scene) => {
    const decision = await scene.own.link.call(callOf(scene));
    await scene.use(decision);
    const refused = sign === STALE ? decision.case === "leaseLost" : decision.case === "denied";
    return { kind, accepted: !refused, sign, answer: answerOf(decision) };
  };
}

const pay = JSON.stringify(PAY.arguments);
/** Arguments that look like those that the turn asked for, and are others. */
const CHANGED: readonly string[] = [
  pay.replace('"amount":1', '"amount":1000'),
  pay.replace('"amount":1', '"amount":"1"'),
  pay.replace('"amount":1', '"amount":1.0000001'),
  pay.replace("\u00e9", "e\u0301"),
  pay.replace("caf\u00e9", "caf\u00e9\u200b"),
  pay.replace("[1,2]", "[2,1]"),
  pay.replace("{", '{"admin":true,'),
  pay.replace("{", '{"__proto__":{"admin":true},'),
  pay.replace('"amount":1', '"amount":1,"amount":1000'),
  pay.replace("amount", "Amount"),
  pay.replace("amount", "am\u043eunt"),
  '{"amount":1}',
  "{}",
  "null",
  "not json",
  "",
];
const TOOLS_OF_OTHERS = ["vault", "after", "steady", "locked", "toggled", "keyed"];
const NO_TOOLS = ["", "Pay", "pay ", "p\u0430y", "../pay", "default/pay", "nothing", "x".repeat(10_000)];
const pick = <T>(values: readonly T[], turn: number): T => values[turn % values.length] as T;

/** The lies of this file. */
export const CALL_ATTACKS: readonly Attack[] = [
  lie("changed_arguments", NOT_ASKED, ({ own, turn }) => ({
    ...own.call(PLACES.pay),
    argumentsJson: pick(CHANGED, turn),
  })),
  lie("changed_arguments_of_open_grant", NOT_ASKED, ({ own, turn }) => ({
    ...own.call(PLACES.look),
    argumentsJson: JSON.stringify({ n: turn }),
  })),
  lie("wrong_tool", NOT_ASKED, ({ own }) => ({ ...own.call(PLACES.pay), tool: "look" })),
  lie("tool_of_another_agent", NOT_ASKED, ({ own, turn }) => ({
    ...own.call(PLACES.pay),
    tool: pick(TOOLS_OF_OTHERS, turn),
  })),
  lie("undeclared_tool", NOT_ASKED, ({ own, turn }) => ({ ...own.call(PLACES.pay), tool: pick(NO_TOOLS, turn) })),
  lie("turn_never_recorded", NOT_ASKED, ({ own, turn }) => ({
    ...own.call(PLACES.pay),
    turnSequence: pick([0, 2, 3, 99, -1, 2_147_483_647], turn),
  })),
  lie("call_never_asked", NOT_ASKED, ({ own, turn }) => ({
    ...own.call(PLACES.pay),
    callIndex: pick([1, 2, 3, 99, -1, 2_147_483_647], turn),
  })),
  lie("token_made_up", STALE, ({ own, turn }) => ({
    ...own.call(PLACES.pay),
    token: pick(["", "x", "0".repeat(32), own.taskId, `${own.token.toUpperCase()}0`, `${own.token} `], turn),
  })),
  lie("task_of_another", STALE, ({ own, victim }) => ({ ...victim.call(PLACES.pay), token: own.token })),
  lie("token_of_another", STALE, ({ own, victim }) => ({ ...own.call(PLACES.pay), token: victim.token })),
  lie("lease_of_another_session", STALE, ({ victim }) => victim.call(PLACES.look)),
  async ({ own, use }) => {
    // The turn asks for it, and the tool's schema does not take it: the model's mistake, told again and again.
    const decision = await own.link.call(own.call(PLACES.picky));
    await use(decision);
    const accepted = decision.case !== "invalidArguments";
    const answer = answerOf(decision);
    return { kind: "arguments_that_do_not_fit", accepted, answer, sign: "tool.refused picky invalid_args" };
  },
  async ({ own, use }) => {
    // Answered already: the recorded result, and no second call.
    const decision = await own.link.call(own.call(PLACES.pay));
    await use(decision);
    return { kind: "answered_call_again", accepted: decision.case !== "cached", sign: "tool.cached pay" };
  },
];

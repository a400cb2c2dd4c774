// Lies about results, turns, and outcomes: of calls that were not granted, of grants and tasks of others, against what is recorded.
// Called by lane.ts. None may be recorded; the verdict says so, and the victim's own frames must succeed afterwards.

import { randomBytes } from "node:crypto";
import type { Attack, Scene } from "./call_attacks.ts";
import type { Told, Verdict } from "./link.ts";

const FORGED = '{"forged":true}';
const recorded = (verdict: Verdict | undefined) => verdict !== "refused" && verdict !== "lease_lost";

function forge(kind: string, toldOf: (scene: Scene) => Pick<Told, "taskId" | "token" | "grantId">): Attack {
  return async (scene) => {
    const [verdict] = await scene.own.link.tell({
      ...toldOf(scene),
      resultJson: FORGED,
      journalSequence: (scene.turn % 5) - 1,
    });
    return { kind, accepted: verdict !== "refused", sign: "fact.refused tool_result" };
  };
}

function outcome(kind: string, reason: string, ofWhom: (scene: Scene) => { taskId: string; token: string }): Attack {
  return async (scene) => {
    const { taskId, token } = ofWhom(scene);
    const [verdict] = await scene.own.link.outcome(taskId, token, '{"ok":true,"stolen":true}');
    return { kind, accepted: recorded(verdict), sign: `fact.refused outcome${reason}` };
  };
}

const made = () => `gra_${randomBytes(13).toString("hex")}`;

/** The lies of this file. */
export const FACT_ATTACKS: readonly Attack[] = [
  forge("result_without_grant", ({ own }) => ({ taskId: own.taskId, token: own.token, grantId: made() })),
  forge("result_of_no_grant_id", ({ own }) => ({ taskId: own.taskId, token: own.token, grantId: "" })),
  forge("grant_of_another_task", ({ own, victim }) => ({
    ...{ taskId: own.taskId, token: own.token, grantId: victim.openGrantId },
  })),
  forge("grant_of_another_with_own_token", ({ own, victim }) => ({
    ...{ taskId: victim.taskId, token: own.token, grantId: victim.openGrantId },
  })),
  forge("grant_and_lease_of_another_session", ({ victim }) => ({
    ...{ taskId: victim.taskId, token: victim.token, grantId: victim.openGrantId },
  })),
  forge("own_grant_with_token_of_another", ({ own, victim }) => ({
    ...{ taskId: own.taskId, token: victim.token, grantId: own.openGrantId },
  })),
  forge("grant_answered_otherwise", ({ own }) => ({
    ...{ taskId: own.taskId, token: own.token, grantId: own.answered.grantId },
  })),
  async ({ own, victim }) => {
    const verdict = await own.link.turn(victim.taskId, own.token, 2, '{"text":"forged","toolCalls":[]}');
    return { kind: "turn_of_another", accepted: recorded(verdict), sign: "fact.refused turn" };
  },
  async ({ own, victim, turn }) => {
    const verdict = await own.link.turn(victim.taskId, victim.token, 1 + (turn % 4), '{"text":"","toolCalls":[]}');
    return { kind: "turn_with_lease_of_another_session", accepted: recorded(verdict), sign: "fact.refused turn" };
  },
  async ({ own, turn }) => {
    const verdict = await own.link.turn(own.taskId, own.token, 100 + turn, '{"text":"","toolCalls":[]}');
    return { kind: "turn_with_a_gap", accepted: recorded(verdict), sign: "fact.refused turn gap" };
  },
  async ({ own, turn }) => {
    const asked = { text: "", toolCalls: [{ name: "pay", arguments: { amount: 1_000 + turn } }] };
    const verdict = await own.link.turn(own.taskId, own.token, 1, JSON.stringify(asked));
    const sign = "fact.refused turn contradiction";
    return { kind: "recorded_turn_rewritten", accepted: recorded(verdict), sign };
  },
  outcome("outcome_of_another_task", "", ({ own, victim }) => ({ taskId: victim.taskId, token: own.token })),
  outcome("outcome_with_lease_of_another_session", "", ({ victim }) => victim),
  outcome("outcome_with_a_token_made_up", "", ({ victim, turn }) => ({
    taskId: victim.taskId,
    token: `made-up-${turn}`,
  })),
  outcome("outcome_of_no_task", " no_task", ({ own, turn }) => ({ taskId: `task_none_${turn}`, token: own.token })),
];

/** Lies about a task that its client has ended: its token is over, and what it was is settled. */
export const AFTERMATH: readonly Attack[] = [
  outcome("second_outcome", " contradiction", ({ own }) => own),
  async ({ own, use }) => {
    const decision = await own.link.call(own.call(1));
    await use(decision);
    return { kind: "token_that_is_over", accepted: decision.case !== "leaseLost", sign: "fact.refused tool_call" };
  },
  forge("result_after_the_end", ({ own }) => ({ taskId: own.taskId, token: own.token, grantId: own.openGrantId })),
  async ({ own }) => {
    const verdict = await own.link.turn(own.taskId, own.token, 4, '{"text":"","toolCalls":[]}');
    return { kind: "turn_after_the_end", accepted: recorded(verdict), sign: "fact.refused turn" };
  },
];

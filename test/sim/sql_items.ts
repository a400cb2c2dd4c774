// What a history settles, in the words of the real commands: ids of the database instead of names.

import type { SettleItem } from "../../server/commands/settle_items.ts";
import { structuralDenial } from "../../server/policy/evaluate.ts";
import type { Item, Presented } from "./rows.ts";
import type { Names } from "./sql_state.ts";

/** The item of the product. */
export function settleItemOf(
  item: Item,
  names: Names,
  presentedOf: (item: Presented) => { taskId: string; token: string; sessionId: string },
  newTask: () => string,
): SettleItem {
  const failure = { class: "Broken", message: "" };
  switch (item.type) {
    case "outcome": {
      const { outcome } = item;
      const real =
        outcome.type === "succeeded"
          ? ({ type: "succeeded", output: { x: outcome.x } } as const)
          : outcome.type === "failed"
            ? ({ type: "failed", failure: { ...failure, class: outcome.class } } as const)
            : outcome.type === "interrupted"
              ? ({ type: "interrupted", reason: "draining" } as const)
              : ({ type: "cancelled" } as const);
      return { type: "outcome", ...presentedOf(item), outcome: real, actor: `worker:${item.session}` };
    }
    case "denied": {
      const decision = structuralDenial("undeclared", { checkpoint: "tool.call", policyRevision: "0", nowMs: 0 });
      return { type: "denied", ...presentedOf(item), decision, subject: {} };
    }
    case "park":
    case "fail":
      return { type: item.type, ...presentedOf(item), failure: { ...failure, class: item.class } };
    case "lost": {
      const { task, token, reason } = item;
      return { type: "lost", taskId: names.real(task), token: names.real(token), reason, actor: "server", note: "" };
    }
    case "replay": {
      const { repeat } = item;
      const plan = { taskId: newTask(), how: "plain", digest: String(repeat), repeatEffects: repeat } as const;
      return {
        type: "replay",
        taskId: names.real(item.task),
        plan: { ...plan, results: new Map(), input: "{}" },
        actor: "ana",
      };
    }
    case "discard":
      return { type: "discard", taskId: names.real(item.task), reason: "", actor: "ana" };
    case "wake":
      return { type: "wake", taskId: names.real(item.task) };
    case "stop":
      return { type: "stop", runId: names.real(item.run), cause: item.cause, failure, actor: "ana" };
    case "run_due":
      return { type: "run_due", runId: names.real(item.run) };
  }
}

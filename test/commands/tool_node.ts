// Plays the worker of a tool node: asks for its one call, and tells how it failed.
// Called by graph_cases.test.ts and contained_systems.test.ts.

import { authorizeToolCalls } from "../../server/commands/authorize_tool_call.ts";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import { recordToolResults } from "../../server/commands/record_tool_results.ts";
import type { SettleItem } from "../../server/commands/settle_items.ts";
import type { CommandStage } from "./command_stage.ts";

/** @returns what the server settles of it by itself, as when nobody knows whether a write had its effect. */
export async function failToolCall(
  stage: CommandStage,
  { token, sessionId, task }: Assigned,
  failureClass: string,
): Promise<SettleItem | undefined> {
  const tool = task.agent.slice(task.agent.indexOf(":") + 1);
  const fenced = { taskId: task.id, token, sessionId, worker: "w" };
  const call = { ...fenced, turnSequence: 1, callIndex: 0, tool, argumentsJson: task.input, attempt: 1 };
  await stage.journalCall(call);
  const [authorized] = await authorizeToolCalls(stage.context, [call]);
  if (authorized?.answer.type !== "granted") throw new Error(`not granted: ${authorized?.answer.type}`);
  const result = { ok: false, class: failureClass, message: "as told", ambiguous: true } as const;
  const { grantId } = authorized.answer.grant;
  const [recorded] = await recordToolResults(stage.context, [
    { ...fenced, grantId, result, durationMs: 1, journalSequence: 0 },
  ]);
  return recorded?.settle;
}

// Decides whether a claimed task may leave the server, and with which tools.
// Called by claim.ts in its transaction. In this order: workflow.run once more if nothing of the run has left yet, agent.run, and each
// tool that the agent declares, with the arguments left open: what is denied whatever they are need not cost a token.
// Where no policy is decided at a checkpoint it costs nothing. Counts against no limit.

import { isDecidedAt } from "../policy/compile.ts";
import type { Requester } from "../policy/types.ts";
import type { ClaimedTask } from "../storage/task_queries.ts";
import type { LiveState } from "./caches.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import { type Decided, decideIfAny, decideSubject } from "./decisions.ts";
import type { DeniedSubject } from "./settle_items.ts";

/** A tool that the model does not hear of. */
export interface WithheldTool {
  /** As the agent declares it. */
  readonly name: string;
  readonly decided: Decided;
}

/** See the file header. */
export interface DecidedAssignment {
  /** agent.run, or the first denial. */
  readonly decided: Decided;
  /** What was denied, if it was not the agent. */
  readonly subject: DeniedSubject;
  /** workflow.run, if it was decided once more. */
  readonly run?: Decided;
  readonly withheld: readonly WithheldTool[];
}

/** Decides one task. @param first nothing of its run has been dispatched yet */
export function decideAssignment(
  task: ClaimedTask,
  on: { readonly live: LiveState; readonly now: Date; readonly bundle: CompiledBundle; readonly first: boolean },
): DecidedAssignment {
  const { live, now, bundle, first } = on;
  const requester = JSON.parse(task.requester) as Requester;
  const base = { live, bundle, runId: task.run_id, requester, tags: task.tags, metadata: task.metadata, now };
  const run = first ? decideSubject({ ...base, checkpoint: "workflow.run" }) : undefined;
  if (run?.decision.allowed === false) return { decided: run, subject: {}, withheld: [] };
  const decided = decideSubject({ ...base, checkpoint: "agent.run", agent: task.agent });
  const withheld: WithheldTool[] = [];
  const done = { decided, subject: {}, withheld, ...(run && { run }) };
  if (!decided.decision.allowed) return done;
  for (const [name, tool] of bundle.agents.get(task.agent)?.tools ?? []) {
    if (!isDecidedAt(live.policies, "tool.call") && !live.guarded(tool.tool.namespace, tool.tool.name)) continue;
    const early = decideIfAny({ ...base, checkpoint: "tool.call", agent: task.agent, tool, argsDeferred: true });
    if (early === undefined || early.decision.allowed) continue;
    if (tool.declared.onDenied === "fail") return { ...done, decided: early, subject: { tool: tool.tool.name } };
    withheld.push({ name, decided: early });
  }
  return done;
}

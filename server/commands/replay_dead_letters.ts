// Replays and discards dead letters: one, or all that fit a filter, a result each. Audited where they are settled.
// Called by rpc/dead_letter_service. A run that goes on gets a new task (settle_replay.ts); one that ended, a new run from that node
// (restart_run.ts). Asked twice for the same, also after a lost acknowledgement, the second gets the result of the first.

import { DomainError } from "../../kit/errors.ts";
import { canonicalJson, type Json, jsonDigest } from "../../kit/json.ts";
import { isTerminal, RUN_TRANSITIONS, type RunState } from "../queue/states.ts";
import { deadLetterReads, type ReplayableRow } from "../storage/read_dead_letters.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import type { CommandContext } from "./context.ts";
import { restartRun } from "./restart_run.ts";
import type { CommandServices } from "./services.ts";
import type { ReplayPlan } from "./settle_items.ts";
import { notFound } from "./settle_replay.ts";
import type { Principal, ReplayHow, ReplayResult } from "./views.ts";

/** Replays one dead letter. @throws DEAD_LETTER_NOT_FOUND, DEAD_LETTER_RESOLVED, OUTCOME_UNKNOWN, EFFECTS_RECORDED, PARAMS_INVALID */
export async function replayDeadLetter(
  context: CommandContext,
  services: CommandServices,
  principal: Principal,
  taskId: string,
  how: ReplayHow,
): Promise<ReplayResult> {
  // A run may end between the look and the lock: then it is looked at again.
  for (let tries = 1; ; tries += 1) {
    const letter = await readReplayable(context, taskId);
    if (letter.state !== "open") return await settleReplay(services, context, principal, letter, how);
    try {
      return isTerminal<RunState>(RUN_TRANSITIONS, letter.run_state as RunState)
        ? await restartRun(context, principal, letter, how, await planOf(context, letter, how))
        : await settleReplay(services, context, principal, letter, how);
    } catch (error) {
      const ended =
        error instanceof DomainError && error.reason === "RUN_FINISHED" && error.metadata["state"] !== "CANCELLING";
      if (!ended || tries > 1) throw error;
    }
  }
}

/** Gives one dead letter up: its node fails. @throws DEAD_LETTER_NOT_FOUND, DEAD_LETTER_RESOLVED */
export async function discardDeadLetter(
  services: CommandServices,
  principal: Principal,
  taskId: string,
  reason: string,
): Promise<void> {
  const verdict = await services.settle.add({ type: "discard", taskId, reason, actor: principal.id });
  if (verdict.verdict === "failed") throw verdict.error;
  if (verdict.verdict === "refused") throw notFound(taskId);
}

async function readReplayable(context: Pick<CommandContext, "store">, taskId: string): Promise<ReplayableRow> {
  const letter = await context.store.read(({ db }) => deadLetterReads(db).one(taskId));
  if (letter === undefined) throw notFound(taskId);
  return letter;
}

async function settleReplay(
  services: CommandServices,
  context: CommandContext,
  principal: Principal,
  letter: ReplayableRow,
  how: ReplayHow,
): Promise<ReplayResult> {
  const { task_id: taskId, run_id: runId } = letter;
  const plan = await planOf(context, letter, how);
  const verdict = await services.settle.add({ type: "replay", taskId, plan, actor: principal.id });
  if (verdict.verdict === "failed") throw verdict.error;
  if (verdict.verdict === "committed")
    return { taskId, replayTaskId: plan.taskId, replayRunId: runId, duplicate: false };
  const first = await readReplayable(context, taskId);
  return { taskId, replayTaskId: first.replay_task_id ?? "", replayRunId: first.replay_run_id ?? "", duplicate: true };
}

// What is asked for, checked against the specs that the task will have.
async function planOf(context: CommandContext, letter: ReplayableRow, how: ReplayHow): Promise<ReplayPlan> {
  const { input, currentManifests, repeatEffects, results } = how;
  const asked: Json = {
    ...{
      currentManifests,
      repeatEffects,
      results: Object.fromEntries([...results].map(([id, value]) => [id, jsonDigest(value)])),
    },
    ...(input !== undefined && { input }),
  };
  const plan = {
    taskId: context.ids.next("task"),
    how: currentManifests
      ? ("current_manifests" as const)
      : input === undefined
        ? ("plain" as const)
        : ("input" as const),
    digest: jsonDigest(asked),
    repeatEffects,
    results: new Map([...results].map(([id, value]) => [id, canonicalJson(value)])),
    input: letter.input,
  };
  if (!currentManifests && input === undefined) return plan;
  const bundle = await bundleFor(context, letter, currentManifests);
  const node = bundle.plan.nodes.get(letter.node);
  const agent = node === undefined ? undefined : bundle.agents.get(node.agent);
  if (node === undefined || agent === undefined) {
    const message = `the system of ${letter.workflow} has no node ${letter.node} any more; apply one that has it, or replay without the current manifests`;
    throw new DomainError("REQUEST_INVALID", message, { task: letter.task_id, node: letter.node });
  }
  const filled = node.fillInput(input ?? (JSON.parse(letter.input) as Json));
  const problem = node.checkInput(filled);
  if (problem !== undefined)
    throw new DomainError("PARAMS_INVALID", `input of node ${letter.node}: ${problem}`, { node: letter.node });
  const bundleDigest = { ...(currentManifests && { bundleDigest: bundle.row.digest }) };
  return { ...plan, input: canonicalJson(filled), anew: { agent: node.agent, route: agent.route, ...bundleDigest } };
}

// The manifests of now are stored as a bundle before a task names it.
async function bundleFor(context: CommandContext, letter: ReplayableRow, current: boolean): Promise<CompiledBundle> {
  return await context.store.transaction(async (tx) => {
    if (!current) return await context.caches.bundle(tx, letter.bundle_digest);
    const { catalog } = await tx.bundles.revisions();
    const bundle = await context.caches.workflow(tx, catalog, letter.namespace, letter.workflow);
    await tx.bundles.insert([bundle.row]);
    await tx.bundles.insertRoutes(
      [...bundle.agents.values()].map(({ route, requirements }) => ({ route, requirements })),
    );
    return bundle;
  });
}

// Explains what a run or a task was decided: the policies of now on the recorded requester, tags and arguments, and what is on record.
// Called by rpc/policy_service. Reads only: no run changes, nothing is counted. That it was read is recorded first, for it tells of the trail.
// A decision may come out otherwise than it was recorded: policies, labels, time and limits are those of now.

import { DomainError } from "../../kit/errors.ts";
import { isJsonObject, type JsonObject, jsonDigest } from "../../kit/json.ts";
import type { Bundle } from "../manifests/bundle.ts";
import { declaredTool } from "../policy/dry_decision.ts";
import type { Requester } from "../policy/types.ts";
import { runReads } from "../storage/read_runs.ts";
import type { StoreQueries } from "../storage/store.ts";
import { decideCounted } from "./decide_counted.ts";
import type { DecisionView, ExplainInput, RecordedDecisionView } from "./decision_views.ts";
import { recordRead } from "./read_audit.ts";
import { type ReadContext, runNotFound, taskNotFound } from "./read_runs.ts";
import { recordedDecisions } from "./recorded_decisions.ts";
import type { Principal } from "./views.ts";

/** Denied tasks of a run that are explained beside it; and records shown of one decision, the newest. */
const DENIED_MAX = 20;
const RECORDED_MAX = 20;

/** What is explained: the workflow, an agent of it, or a tool that the agent calls. */
interface Subject {
  readonly taskId: string;
  readonly agent?: string | undefined;
  readonly toolName?: string | undefined;
  readonly args?: JsonObject | undefined;
}

/** See the file header. @throws RUN_NOT_FOUND, TASK_NOT_FOUND, RESOURCE_NOT_FOUND if no agent of the run declares the tool */
export async function explainDecisions(
  context: ReadContext,
  principal: Principal,
  input: ExplainInput,
): Promise<DecisionView[]> {
  await recordRead(context.store, principal, "explain", { runId: input.runId, taskId: input.taskId });
  return await context.store.read(async (queries) => {
    const reads = runReads(queries.db);
    const task = input.taskId === "" ? undefined : await reads.task(input.taskId);
    if (input.taskId !== "" && task === undefined) throw taskNotFound(input.taskId);
    const runId = task?.run_id ?? input.runId;
    const run = await reads.run(runId);
    if (run === undefined) throw runNotFound(runId);
    const { bundle } = await context.caches.bundle(queries, run.bundle_digest);
    const { policy, now } = await queries.bundles.revisions();
    const live = await context.caches.live(queries, policy);
    const records = await recordedDecisions(queries.db, { runId, taskId: input.taskId });
    const subjects =
      input.tool !== ""
        ? await toolSubjects(queries, bundle, input, task?.agent)
        : [{ taskId: input.taskId, agent: task?.agent }, ...(await deniedSubjects(queries, bundle, records))];
    const { tags, metadata } = run;
    const common = { policies: live.policies, live, bundle, runId, tags, metadata, nowMs: now.getTime() };
    const requester = JSON.parse(run.requester) as Requester;
    const views: DecisionView[] = [];
    for (const { taskId, ...of } of subjects) {
      const decided = await decideCounted(queries, { ...common, requester, ...of });
      views.push({
        ...decided,
        ...{ workflow: `${run.namespace}/${run.workflow}`, agent: of.agent ?? "", toolName: of.toolName ?? "", taskId },
        ...(of.args && { args: of.args }),
        withheld: false,
        recorded: records
          .filter((record) => isOf(record, bundle, decided.checkpoint, { taskId, ...of }))
          .slice(-RECORDED_MAX),
      });
    }
    return views;
  });
}

// Of a task: its own agent, whether it declares the tool or not. Of a run: every agent that declares it.
async function toolSubjects(
  queries: StoreQueries,
  bundle: Bundle,
  { taskId, tool: toolName, args }: ExplainInput,
  agent: string | undefined,
): Promise<Subject[]> {
  if (agent !== undefined) {
    return [
      { taskId, agent, toolName, args: args ?? (await lastArguments(queries, bundle, { taskId, agent, toolName })) },
    ];
  }
  const agents = Object.keys(bundle.agents).filter((name) => declaredTool(bundle, name, toolName) !== undefined);
  if (agents.length === 0) {
    const message = `no agent of the run declares a tool "${toolName}"; its agents are ${Object.keys(bundle.agents).join(", ")}`;
    throw new DomainError("RESOURCE_NOT_FOUND", message, { kind: "Tool", name: toolName });
  }
  return agents.map((name) => ({ taskId, agent: name, toolName, args }));
}

// What ended a task as denied; a task that its agent.run denied is explained by that alone.
async function deniedSubjects(
  queries: StoreQueries,
  bundle: Bundle,
  records: readonly RecordedDecisionView[],
): Promise<Subject[]> {
  const subjects: Subject[] = [];
  for (const { taskId, decision } of records.filter(({ kind }) => kind === "task.denied").slice(0, DENIED_MAX)) {
    const task = await runReads(queries.db).task(taskId);
    if (task === undefined) continue;
    const toolName = decision.checkpoint === "tool.call" ? decision.tool : undefined;
    const of = { taskId, agent: task.agent, toolName };
    const digest = decision.argumentsDigest;
    const args = toolName === undefined ? undefined : await lastArguments(queries, bundle, { ...of, toolName, digest });
    subjects.push({ ...of, args });
  }
  return subjects;
}

/** Arguments of the last call of a tool in the journal of a task; of those with a digest, if one has it. */
async function lastArguments(
  queries: StoreQueries,
  bundle: Bundle,
  of: {
    readonly taskId: string;
    readonly agent: string;
    readonly toolName: string;
    readonly digest?: string | undefined;
  },
): Promise<JsonObject | undefined> {
  const wanted = declaredTool(bundle, of.agent, of.toolName);
  const means = (name: string) =>
    wanted === undefined ? name === of.toolName : declaredTool(bundle, of.agent, name) === wanted;
  const turns = await runReads(queries.db).turns(of.taskId);
  const calls = turns.flatMap(({ payload }) => {
    const { toolCalls = [] } = JSON.parse(payload ?? "{}") as { toolCalls?: { name: string; arguments: unknown }[] };
    return toolCalls.filter(({ name }) => means(name)).map((call) => call.arguments);
  });
  const objects = calls.filter((args) => isJsonObject(args));
  return objects.findLast((args) => jsonDigest(args) === of.digest) ?? objects.at(-1);
}

function isOf(
  { taskId, decision }: RecordedDecisionView,
  bundle: Bundle,
  checkpoint: string,
  subject: Subject,
): boolean {
  if (decision.checkpoint !== checkpoint || (subject.taskId !== "" && subject.taskId !== taskId)) return false;
  if (
    subject.agent !== undefined &&
    decision.agent !== undefined &&
    decision.agent !== bundle.agents[subject.agent]?.name
  ) {
    return false;
  }
  if (subject.toolName === undefined) return true;
  const tool = declaredTool(bundle, subject.agent ?? "", subject.toolName)?.name ?? subject.toolName;
  return decision.tool === tool || decision.tool === subject.toolName;
}

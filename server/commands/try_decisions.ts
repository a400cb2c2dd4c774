// Tries what a principal could do: every checkpoint on the way to a workflow, an agent in it, or a tool that the agent calls.
// Called by rpc/policy_service. Reads only: there is no run, nothing is counted, nothing is recorded.
// Tags come from their declared sources, as at Invoke; parameters are not asked for, as no policy reads them.

import { DomainError } from "../../kit/errors.ts";
import { type DrySubject, declaredTool } from "../policy/dry_decision.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { CompiledBundle } from "./compiled_bundle.ts";
import { decideCounted } from "./decide_counted.ts";
import type { DecisionView, TryInput } from "./decision_views.ts";
import { tagsOf } from "./prepare_invocation.ts";
import type { ReadContext } from "./read_runs.ts";

/** Workflows of a namespace that are tried when none is named. */
const WORKFLOWS_MAX = 200;
/** Stands for the id of a run that does not exist. */
const NO_RUN = "run_none";

/** See the file header. @throws WORKFLOW_NOT_FOUND, RESOURCE_NOT_FOUND if nothing fits, PARAMS_INVALID about tags */
export async function tryDecisions(context: ReadContext, input: TryInput): Promise<DecisionView[]> {
  const { namespace, workflow } = input;
  return await context.store.read(async (queries) => {
    const revisions = await queries.bundles.revisions();
    const live = await context.caches.live(queries, revisions.policy);
    const names = workflow === "" ? await workflowsOf(queries, namespace) : [workflow];
    const decisions: DecisionView[] = [];
    for (const name of names) {
      const bundle = await context.caches.workflow(queries, revisions.catalog, namespace, name);
      const agents = agentsOf(bundle, input);
      if (agents === undefined) continue;
      const nowMs = (input.time ?? revisions.now).getTime();
      const { requester, metadata } = input;
      const tags = tagsOf(bundle, requester, {
        workflow: name,
        tags: workflow === "" ? ownTags(bundle, input) : input.tags,
      });
      const common = {
        policies: live.policies,
        live,
        bundle: bundle.bundle,
        runId: NO_RUN,
        requester,
        tags,
        metadata,
        nowMs,
      };
      const decideOne = (of: Partial<DrySubject>) => viewOf(queries, `${namespace}/${name}`, { ...common, ...of });
      decisions.push(await decideOne({}));
      for (const agent of agents) {
        decisions.push(await decideOne({ agent }), ...(await earlyDecisions(bundle, agent, input, decideOne)));
        if (input.tool !== "") decisions.push(await decideOne({ agent, toolName: input.tool, args: input.args }));
      }
    }
    if (decisions.length === 0) throw nothingFits(input);
    return decisions;
  });
}

// Before an agent runs, each tool that it declares is decided with its arguments left open. Of those beside the one that is asked
// about only denials are told: they end the task before it begins, or hide the tool.
async function earlyDecisions(
  { bundle }: CompiledBundle,
  agent: string,
  { tool: asked }: TryInput,
  decideOne: (of: Partial<DrySubject>) => Promise<DecisionView>,
): Promise<DecisionView[]> {
  const early: DecisionView[] = [];
  for (const { ref, as, onDenied } of bundle.agents[agent]?.spec.tools ?? []) {
    if (asked === as || asked === bundle.tools[ref]?.name) continue;
    const view = await decideOne({ agent, toolName: as });
    const { allowed } = view.explanation.decision;
    if (asked === "" || !allowed) early.push({ ...view, withheld: !allowed && onDenied === "withhold" });
  }
  return early;
}

async function viewOf(queries: StoreQueries, workflow: string, subject: DrySubject): Promise<DecisionView> {
  const { agent = "", toolName = "", args } = subject;
  return {
    ...(await decideCounted(queries, subject)),
    ...{ workflow, agent, toolName, taskId: "", recorded: [], withheld: false },
    ...(toolName !== "" && args !== undefined && { args: args as NonNullable<TryInput["args"]> }),
  };
}

async function workflowsOf(queries: StoreQueries, namespace: string): Promise<string[]> {
  const rows = await queries.bundles.documents([namespace]);
  const names = rows.filter(({ kind }) => kind === "WorkflowTemplate").map(({ name }) => name);
  if (names.length > WORKFLOWS_MAX) {
    const message = `namespace ${namespace} has ${names.length} workflows, at most ${WORKFLOWS_MAX} are tried: name one`;
    throw new DomainError("REQUEST_INVALID", message, { field: "workflow" });
  }
  return names.sort();
}

// Undefined: the workflow has nothing of what is asked about.
function agentsOf({ bundle }: CompiledBundle, { agent, tool }: TryInput): readonly string[] | undefined {
  if (agent !== "") return Object.hasOwn(bundle.agents, agent) ? [agent] : undefined;
  if (tool === "") return [];
  const declaring = Object.keys(bundle.agents).filter((name) => declaredTool(bundle, name, tool) !== undefined);
  return declaring.length === 0 ? undefined : declaring;
}

// When workflows are gone through, each takes the tags that it declares.
function ownTags({ bundle }: CompiledBundle, { tags }: TryInput): Readonly<Record<string, string>> {
  const declared = bundle.workflow.spec.tags;
  return Object.fromEntries(Object.entries(tags).filter(([name]) => declared[name]?.from === "request"));
}

function nothingFits({ namespace, workflow, agent, tool }: TryInput): DomainError {
  const where =
    workflow === "" ? `no workflow of namespace ${namespace}` : `workflow ${namespace}/${workflow} does not have`;
  const what = agent !== "" ? `agent "${agent}"` : tool !== "" ? `an agent that declares tool "${tool}"` : "anything";
  const message = workflow === "" ? `${where} has ${what}` : `${where} ${what}`;
  return new DomainError("RESOURCE_NOT_FOUND", `${message}; name one that is there`, {
    namespace,
    workflow,
    agent,
    tool,
  });
}

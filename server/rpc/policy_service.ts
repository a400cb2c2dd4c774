// PolicyService: checks the fields of each request, calls one use case, maps its result.
// Called by Connect; wired by listeners.ts.
// Never decides: commands and server/policy do.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { canonicalJson, isJsonObject, type JsonObject, parseJson } from "../../kit/json.ts";
import { MIB } from "../../kit/units.ts";
import type { Principal } from "../../proto/gen/orloj/v1/common_pb.ts";
import type {
  ExplainedDecisionSchema,
  ExplainedNodeSchema,
  ExplainedPolicySchema,
  FieldReadSchema,
  PolicyService,
  RecordedDecisionSchema,
} from "../../proto/gen/orloj/v1/policy_pb.ts";
import type { DecisionView, RecordedDecisionView } from "../commands/decision_views.ts";
import type { ExplainedNode, ExplainedPolicy, FieldRead } from "../policy/explain.ts";
import type { Requester } from "../policy/types.ts";
import { planeOf, principalOf } from "./call_context.ts";
import {
  bytesWithin,
  invalidField,
  itemCount,
  NAME_CHARS_MAX,
  namespaceOrDefault,
  requiredText,
  text,
  textMap,
  timeOf,
} from "./request_checks.ts";

const ARGUMENTS_BYTES_MAX = 1 * MIB;
const GROUPS_MAX = 1_000;
const REQUESTER_KINDS = ["user", "service", "worker"] as const;

/** The service over the use cases. */
export function policyService(): ServiceImpl<typeof PolicyService> {
  return {
    async explain(request, context) {
      const name = (field: string, value: string) => text(field, value, NAME_CHARS_MAX);
      const runId = name("run_id", request.runId);
      const taskId = name("task_id", request.taskId);
      if ((runId === "") === (taskId === "")) throw invalidField("run_id", "set either it or task_id");
      const tool = name("tool", request.tool);
      const args = argumentsOf(request.argumentsJson, tool);
      const decisions = await planeOf(context).explainDecisions(principalOf(context), { runId, taskId, tool, ...args });
      return { decisions: decisions.map(decisionToWire) };
    },
    async can(request, context) {
      const name = (field: string, value: string) => text(field, value, NAME_CHARS_MAX);
      const [workflow, agent, tool] = [
        name("workflow", request.workflow),
        name("agent", request.agent),
        name("tool", request.tool),
      ];
      if (workflow === "" && agent === "" && tool === "") {
        throw invalidField("workflow", "is empty, as agent and tool are: name one of them");
      }
      const decisions = await planeOf(context).tryDecisions({
        ...{ namespace: namespaceOrDefault("namespace", request.namespace), workflow, agent, tool },
        ...{ requester: requesterOf(request.as), ...argumentsOf(request.argumentsJson, tool) },
        ...{ tags: textMap("tags", request.tags), metadata: textMap("metadata", request.metadata) },
        ...(request.time && { time: timeOf("time", request.time) }),
      });
      const allowed = decisions.every(({ explanation, withheld }) => explanation.decision.allowed || withheld);
      return { allowed, decisions: decisions.map(decisionToWire) };
    },
  };
}

function argumentsOf(json: string, tool: string): { args?: JsonObject } {
  if (json === "") return {};
  if (tool === "") throw invalidField("arguments_json", "is set without a tool: name the tool");
  let args: unknown;
  try {
    args = parseJson(bytesWithin("arguments_json", json, ARGUMENTS_BYTES_MAX));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  if (!isJsonObject(args)) throw invalidField("arguments_json", 'is no JSON object: write it as {"amount": 5}');
  return { args };
}

function requesterOf(as: Principal | undefined): Requester {
  const kind = REQUESTER_KINDS.find((known) => known === (as?.kind || "user"));
  if (kind === undefined) throw invalidField("as.kind", `is none of ${REQUESTER_KINDS.join(", ")}: use one of them`);
  const groups = as?.groups ?? [];
  itemCount("as.groups", groups.length, 0, GROUPS_MAX);
  return {
    id: requiredText("as.id", as?.id ?? ""),
    kind,
    groups: groups.map((group, index) => requiredText(`as.groups[${index}]`, group)),
    claims: textMap("as.claims", as?.claims ?? {}),
  };
}

function decisionToWire(view: DecisionView): MessageInitShape<typeof ExplainedDecisionSchema> {
  const { checkpoint, workflow, agent, toolName, taskId, args, problem, explanation, recorded, withheld } = view;
  const { allowed, reason, decidedBy, message, policyRevision, nowMs } = explanation.decision;
  return {
    ...{ checkpoint, workflow, agent, tool: toolName, taskId, problem, withheld },
    ...{ allowed, reason, decidedBy, message, policyRevision, time: timestampFromMs(nowMs) },
    argumentsJson: args === undefined ? "" : canonicalJson(args),
    decidingPath: explanation.deciding?.path ?? "",
    decidingPolicy: explanation.deciding?.policy ?? "",
    policies: explanation.policies.map(policyToWire),
    recorded: recorded.map(recordedToWire),
  };
}

function policyToWire(policy: ExplainedPolicy): MessageInitShape<typeof ExplainedPolicySchema> {
  const { verdict, allow, deny, limits, because } = policy;
  const { namespace, name, generation, digest, mode, passes, reason } = verdict;
  return {
    ...{ policy: `${namespace}/${name}`, generation: BigInt(generation), digest, mode, passes, reason },
    ...(allow && { allow: nodeToWire(allow) }),
    ...(deny && { deny: nodeToWire(deny) }),
    limits: limits.map(({ used, max, windowMs, key, ...limit }) => ({
      ...limit,
      ...{ max: BigInt(max), windowMs: BigInt(windowMs), key: key.map(readToWire) },
      ...(used !== undefined && { used: BigInt(used) }),
    })),
    ...(because && { becausePath: because.path, becausePolicy: because.policy }),
  };
}

function nodeToWire(node: ExplainedNode): MessageInitShape<typeof ExplainedNodeSchema> {
  const { value, policy, path, written, reads, why, nodes, toldBefore } = node;
  return {
    ...{ value, policy, path, why, toldBefore },
    writtenJson: written === undefined ? "" : JSON.stringify(written),
    reads: reads.map(readToWire),
    nodes: nodes.map(nodeToWire),
  };
}

function readToWire({ path, found }: FieldRead): MessageInitShape<typeof FieldReadSchema> {
  return { path, foundJson: found === undefined ? "" : JSON.stringify(found) };
}

function recordedToWire(view: RecordedDecisionView): MessageInitShape<typeof RecordedDecisionSchema> {
  const { recordId, time, kind, taskId, decision } = view;
  const { allowed, reason, decidedBy, policyRevision, tool = "", verdicts } = decision;
  return {
    ...{ recordId, time: timestampFromDate(time), kind, taskId, allowed, reason, decidedBy, policyRevision, tool },
    verdicts: verdicts.map((verdict) => ({ ...verdict, generation: BigInt(verdict.generation) })),
  };
}

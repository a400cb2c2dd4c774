// Decisions in words: the tree of each policy with the value of every node, what it wants, and what it found.
// Called by policy explain and can (from the wire) and by policy test (offline). Pure.
// Every text is made safe for a terminal here.

import type { ExplainedDecision, ExplainedLimit, ExplainedPolicy } from "../sdk/index.ts";
import type { ExplainedNode } from "../server/policy/explain.ts";
import { duration, instant } from "./format.ts";
import { cutTo, safeLine } from "./sanitize.ts";
import type { Paint, Tone } from "./style.ts";

/** Columns of one value at most; the whole one is in the JSON output. */
const VALUE_COLUMNS = 160;

/** A condition ready to be shown. */
export interface ShownNode {
  readonly value: string;
  /** "namespace/name" of the policy that it is written in. */
  readonly policy: string;
  readonly path: string;
  /** JSON text; empty for nodes that only combine others. */
  readonly writtenJson: string;
  /** foundJson is empty where there is nothing. */
  readonly reads: readonly { readonly path: string; readonly foundJson: string }[];
  readonly why: string;
  readonly nodes: readonly ShownNode[];
  readonly toldBefore: boolean;
}

/** A node that was explained in this process. */
export function shownNode(node: ExplainedNode): ShownNode {
  const { value, policy, path, written, reads, why, nodes, toldBefore } = node;
  return {
    ...{ value, policy, path, why, toldBefore, nodes: nodes.map(shownNode) },
    writtenJson: written === undefined ? "" : JSON.stringify(written),
    reads: reads.map(({ path: field, found }) => ({
      path: field,
      foundJson: found === undefined ? "" : JSON.stringify(found),
    })),
  };
}

/** Lines of decisions: how each came about now, then what is on record. Trees of all policies, or only of those that do not pass. */
export function decisionLines(decisions: readonly ExplainedDecision[], paint: Paint, all: boolean): string[] {
  return decisions.flatMap((decision, index) => [...(index > 0 ? [""] : []), ...linesOf(decision, paint, all)]);
}

function linesOf(decision: ExplainedDecision, paint: Paint, all: boolean): string[] {
  const { checkpoint, workflow, agent, tool, taskId, argumentsJson, policies, recorded } = decision;
  const subject = [
    `workflow ${workflow}`,
    agent === "" ? "" : `agent ${agent}`,
    tool === "" ? "" : `tool ${tool}`,
    checkpoint === "tool.call"
      ? `args ${argumentsJson === "" ? "left open" : cutTo(argumentsJson, VALUE_COLUMNS)}`
      : "",
    taskId === "" ? "" : `task ${taskId}`,
  ];
  const shown = policies.filter(({ passes }) => all || !passes);
  return [
    `${paint("bold", safeLine(checkpoint))}  ${safeLine(subject.filter((part) => part !== "").join(", "))}`,
    `  ${verdictText(decision, paint)}`,
    ...shown.flatMap((policy) => policyLines(policy, decision, paint)),
    ...(policies.length === 0 && decision.reason === "allowed" ? ["  no policy is attached"] : []),
    ...recorded.map((record) => {
      const verdict = record.allowed ? "allowed" : `denied, ${record.reason}`;
      const by = record.decidedBy === "" ? "" : ` by ${record.decidedBy}`;
      const each = record.verdicts.map(
        ({ policy, generation, reason }) => `${policy} generation ${generation} ${reason}`,
      );
      const text = `recorded ${instant(record.time)} ${record.kind}: ${verdict}${by} (${each.join(", ") || "no policy"})`;
      return `  ${paint("dim", safeLine(text))}`;
    }),
  ];
}

function verdictText(decision: ExplainedDecision, paint: Paint): string {
  const { allowed, reason, decidedBy, message, problem, time, withheld } = decision;
  const no = withheld ? "withheld from the model" : "denied";
  const verdict = allowed ? paint("good", "allowed") : paint("denied", `${no}: ${safeLine(reason)}`);
  const by = decidedBy === "" ? "" : ` by ${safeLine(decidedBy)}`;
  const words = [message, problem].filter((part) => part !== "").map((part) => `, ${safeLine(part)}`);
  return `${verdict}${by}, at ${instant(time)}${words.join("")}`;
}

function policyLines(policy: ExplainedPolicy, decision: ExplainedDecision, paint: Paint): string[] {
  const { policy: name, mode, reason, passes, allow, deny, limits, becausePath, becausePolicy } = policy;
  const observing = mode === "observe" ? " (observing)" : "";
  const verdict = passes && becausePath === "" ? paint("good", "passes") : paint("bad", safeLine(reason));
  const decides = decision.decidedBy === name ? paint("bold", "  decides") : "";
  const because =
    becausePath === "" ? "" : `, because of ${becausePolicy === name ? "" : `${becausePolicy} `}${becausePath}`;
  return [
    `  ${safeLine(name)}${observing}: ${verdict}${safeLine(because)}${decides}`,
    ...(deny === undefined ? [] : treeLines(deny, name, paint, "    ")),
    ...(allow === undefined ? [] : treeLines(allow, name, paint, "    ")),
    ...limits.map((limit) => `    ${safeLine(limitText(limit))}`),
  ];
}

function limitText({ name, max, windowMs, key, used }: ExplainedLimit): string {
  const values = key.map(({ path, foundJson }) => `${path} ${foundJson === "" ? "absent" : foundJson}`);
  const count = used === undefined ? "" : `, ${used} used`;
  return `limit ${name}: ${max} in ${duration(Number(windowMs))} for ${values.join(", ")}${count}`;
}

/** One line: spec.allow.match.requester.groups is false: wants ["engineering"]; requester.groups is ["developers"] */
export function nodeSentence(node: ShownNode): string {
  const detail = detailOf(node);
  return `${safeLine(node.path)} is ${node.value}${detail === "" ? "" : `: ${detail}`}`;
}

/** Lines of a tree, indented; `policy` is the one whose tree it is. */
export function treeLines(node: ShownNode, policy: string, paint: Paint, indent = "  ", above = "spec"): string[] {
  const elsewhere = node.policy !== policy;
  const label = elsewhere ? `${node.policy} ${node.path}` : node.path.slice(above.length).replace(/^\./, "");
  const detail = detailOf(node);
  const repeated = node.toldBefore ? "  (told above)" : "";
  const value = paint(TONES[node.value] ?? "plain", node.value);
  return [
    `${indent}${safeLine(label)}: ${value}${detail === "" ? "" : `  ${paint("dim", detail)}`}${repeated}`,
    ...node.nodes.flatMap((child) => treeLines(child, node.policy, paint, `${indent}  `, node.path)),
  ];
}

const TONES: Readonly<Record<string, Tone>> = { true: "good", false: "bad", unknown: "warn", open: "busy" };

function detailOf({ writtenJson, reads, why }: ShownNode): string {
  const found = reads.map(({ path, foundJson }) => `${path} is ${foundJson === "" ? "absent" : foundJson}`);
  const known = found.some((text) => text === why);
  const parts = [writtenJson === "" ? "" : `wants ${writtenJson}`, ...found, known ? "" : why];
  return parts
    .filter((part) => part !== "")
    .map((part) => cutTo(safeLine(part), VALUE_COLUMNS))
    .join("; ");
}

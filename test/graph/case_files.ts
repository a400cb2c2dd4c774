// The graph cases of cases/*.yaml: a graph, how its tasks end and in which order, and what must come of it.
// Read by cases.test.ts (the pure core), test/commands/graph_cases.test.ts (a real database), and test/e2e/graph_cases.test.ts (real processes).
// A step is "NODE ok OUTPUT" ({} if absent), "NODE fail CLASS" or "NODE deny"; NODE[ITEM] is an item of a map. A task is written NODE, NODE/ITERATION,
// or with [ITEM]. Agents: strict fails, parker parks, lenient goes on with {from: fallback}; none retries.
// Tools: look-up, which reads, and pay, which writes, both take {id} and give {found}. Of a tool node, "fail CLASS after TOOL_CLASS" says how its call failed last.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { Json, JsonObject } from "../../kit/json.ts";

/** What must come of a case; what is absent is not looked at. */
export interface Expected {
  readonly run: string;
  readonly failure?: string;
  readonly nodes?: Readonly<Record<string, string>>;
  readonly output?: Json;
  /** Tasks in the order in which they were made; those that one event made in file order. */
  readonly order?: readonly string[];
  /** Input of each node's newest task. */
  readonly inputs?: Readonly<Record<string, Json>>;
  readonly iterations?: Readonly<Record<string, number>>;
  readonly conditions?: readonly string[];
}

/** One case. */
export interface GraphCase {
  readonly name: string;
  readonly nodes: readonly JsonObject[];
  readonly edges?: readonly JsonObject[];
  /** Specs of systems that it contains, by name. */
  readonly systems?: Readonly<Record<string, Omit<JsonObject, "nodes"> & { readonly nodes: readonly JsonObject[] }>>;
  readonly output?: Json;
  readonly input?: JsonObject;
  readonly steps: readonly string[];
  readonly expect: Expected;
}

/** How the task of a step ends. */
export type StepEnd =
  | { readonly type: "ok"; readonly output: Json }
  | { readonly type: "fail"; readonly class: string; readonly after?: string }
  | { readonly type: "deny" };

/** A step, taken apart; item -1 unless it is one of a map. */
export interface CaseStep {
  readonly node: string;
  readonly item: number;
  readonly end: StepEnd;
}

/** Message of every failure that a step says: that of a scripted model. */
export const FAILURE_MESSAGE = "the script says that the model fails here";
/** What stands for the output of a lenient agent that failed. */
export const FALLBACK = { from: "fallback" };
/** Output of a graph whose case gives none. */
export const OUTPUT = "done";

const FOLDER = join(import.meta.dirname, "cases");

/** Every case, by file. */
export function graphCases(): { readonly file: string; readonly cases: readonly GraphCase[] }[] {
  const files = readdirSync(FOLDER).sort();
  return files.map((file) => ({ file, cases: parse(readFileSync(join(FOLDER, file), "utf8")) as GraphCase[] }));
}

/** A step's text, taken apart. */
export function stepOf(text: string): CaseStep {
  const match = /^([\w/]+)(?:\[(\d+)\])? (ok|fail|deny) ?(.*)$/.exec(text);
  if (match === null) throw new Error(`not a step: ${text}`);
  const [, node = "", item, how, rest = ""] = match;
  const [failure = "", after] = rest.split(" after ");
  const end: StepEnd =
    how === "ok"
      ? { type: "ok", output: parse(rest === "" ? "{}" : rest) }
      : how === "fail"
        ? { type: "fail", class: failure, ...(after !== undefined && { after }) }
        : { type: "deny" };
  return { node, item: item === undefined ? -1 : Number(item), end };
}

/** A task as cases write it. */
export function taskName({ node, iteration, item }: { node: string; iteration: number; item: number }): string {
  return `${node}${iteration === 0 ? "" : `/${iteration}`}${item < 0 ? "" : `[${item}]`}`;
}

const RETRY = { on: ["Timeout"], maxAttempts: 1, backoff: { initial: "1s", max: "1s", factor: 1, jitter: "none" } };

/** The agents that cases name. */
export function caseAgents(): object[] {
  const agent = (name: string, errorHandling: object) => ({
    ...{ apiVersion: "orloj.dev/v1", kind: "Agent", metadata: { name } },
    spec: {
      model: { provider: "scripted", name: "s", script: [{ text: "x" }] },
      outputSchema: {},
      errorHandling: { retry: RETRY, ...errorHandling },
    },
  });
  const tool = (name: string, method: string, effect: string) => ({
    ...{ apiVersion: "orloj.dev/v1", kind: "Tool", metadata: { name } },
    spec: {
      ...{ type: "http", description: "Looks up or pays", effect },
      http: { method, url: "https://look.example/" },
      inputSchema: { type: "object", required: ["id"], properties: { id: { type: "string" } } },
      outputSchema: { type: "object", required: ["found"], properties: { found: { type: "boolean" } } },
    },
  });
  return [
    agent("strict", { onExhausted: "fail" }),
    agent("parker", { onExhausted: "deadLetter" }),
    agent("lenient", { onExhausted: "continue", fallback: FALLBACK }),
    tool("look-up", "GET", "read"),
    tool("pay", "POST", "write"),
  ];
}

/** The system and the workflow of a case. */
export function caseDocuments({ nodes, edges, systems, output }: GraphCase, name: string): object[] {
  const head = (kind: string, own = name) => ({ apiVersion: "orloj.dev/v1", kind, metadata: { name: own } });
  // Every case has systems of its own.
  const named = (list: readonly JsonObject[]) =>
    list.map((node) => ({ ...node, ...(node["system"] !== undefined && { system: `${name}-${node["system"]}` }) }));
  const contained = Object.entries(systems ?? {}).map(([own, spec]) => ({
    ...head("AgentSystem", `${name}-${own}`),
    spec: { ...spec, nodes: named(spec.nodes) },
  }));
  return [
    ...contained,
    { ...head("AgentSystem"), spec: { nodes: named(nodes), edges: edges ?? [], output: { value: output ?? OUTPUT } } },
    { ...head("WorkflowTemplate"), spec: { system: name, parameters: { type: "object" } } },
  ];
}

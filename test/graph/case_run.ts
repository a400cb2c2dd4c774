// Runs a graph case on the pure core: the manifests are validated and resolved as apply and Invoke do it, the tasks end as told.
// Called by cases.test.ts and by the tests of scale.

import type { Json } from "../../kit/json.ts";
import { advance, initialState } from "../../server/graph/advance.ts";
import { compilePlan } from "../../server/graph/plan.ts";
import type { GraphEffects, GraphPlan, GraphState, ItemResult, NewTask, TaskEnd } from "../../server/graph/types.ts";
import { formatDiagnostic } from "../../server/manifests/diagnostics.ts";
import { parseFile } from "../../server/manifests/parse.ts";
import { resolveBundle } from "../../server/manifests/resolve.ts";
import { manifestKey } from "../../server/manifests/specs.ts";
import { hasErrors, validateFiles } from "../../server/manifests/validate.ts";
import {
  caseAgents,
  caseDocuments,
  FAILURE_MESSAGE,
  FALLBACK,
  type GraphCase,
  type StepEnd,
  stepOf,
  taskName,
} from "./case_files.ts";

/** The plan of a case. @throws what validation finds */
export function casePlan(graph: GraphCase): GraphPlan {
  const documents = [...caseAgents(), ...caseDocuments(graph, "flow")];
  const text = documents.map((document) => JSON.stringify(document)).join("\n---\n");
  const checked = validateFiles([parseFile({ file: "case.yaml", bytes: Buffer.from(text) })], () => undefined);
  if (hasErrors(checked.diagnostics)) throw new Error(checked.diagnostics.map(formatDiagnostic).join("\n"));
  const stored = new Map(
    checked.manifests.map(({ manifest }) => {
      const { namespace, name } = manifest.metadata;
      return [manifestKey(manifest.kind, namespace, name), { manifest, generation: 1, digest: "" }];
    }),
  );
  const { bundle } = resolveBundle("default", "flow", (...key) => stored.get(manifestKey(...key)));
  return compilePlan(bundle);
}

/** A run of a plan whose tasks a test ends. */
export class CaseRun {
  readonly plan: GraphPlan;
  state: GraphState;
  conditions: readonly string[] = [];
  output: Json | undefined;
  /** Every task that was made, in order. */
  readonly made: NewTask[] = [];
  /** Tasks that may end, by name. */
  readonly open = new Map<string, NewTask>();
  /** Tasks that their map holds back, by name. */
  readonly held = new Map<string, NewTask>();
  readonly #results = new Map<string, Map<number, ItemResult>>();

  constructor(plan: GraphPlan, input: Json = {}) {
    this.plan = plan;
    this.state = initialState(plan, input);
    this.#take(advance(plan, this.state, { type: "started" }));
  }

  /** The open task of a node, or of an item, in its newest iteration. */
  task(node: string, item = -1): NewTask {
    const iteration = this.state.nodes.get(node)?.iteration ?? 0;
    const name = taskName({ node, iteration, item });
    const task = this.open.get(name);
    if (task === undefined) throw new Error(`no open task ${name}; open are ${[...this.open.keys()].join(", ")}`);
    return task;
  }

  end(task: NewTask, end: TaskEnd): void {
    const { node, iteration, item } = task;
    this.open.delete(taskName(task));
    const place = `${node}/${iteration}`;
    const results = this.#results.get(place) ?? new Map<number, ItemResult>();
    this.#results.set(place, results);
    const fallback = end.type === "failed" ? end.fallback : undefined;
    if (end.type === "succeeded") results.set(item, { output: end.output });
    else if (fallback !== undefined) results.set(item, { output: fallback });
    else if ("failure" in end) results.set(item, { error: end.failure });
    this.#take(
      advance(this.plan, this.state, { type: "task_ended", node, iteration, end, ...(item >= 0 && { results }) }),
    );
  }

  /** Ends a task as a step says. @returns which, and how */
  step(text: string): NewTask & { readonly end: TaskEnd } {
    const { node, item, end: told } = stepOf(text);
    const task = this.task(node, item);
    const end = taskEnd(task.agent, told);
    this.end(task, end);
    return { ...task, end };
  }

  states(): Record<string, string> {
    return Object.fromEntries([...this.state.nodes.values()].map((row) => [row.node, row.state]));
  }

  #take(effects: GraphEffects): void {
    this.state = effects.state;
    this.conditions = effects.conditions;
    if (effects.output !== undefined) this.output = effects.output;
    for (const { node, iteration } of effects.superseded) {
      for (const waiting of [this.open, this.held]) {
        for (const [name, task] of waiting)
          if (task.node === node && task.iteration === iteration) waiting.delete(name);
      }
    }
    this.made.push(...effects.tasks);
    for (const task of effects.tasks) (task.held ? this.held : this.open).set(taskName(task), task);
    for (const released of effects.released) {
      const name = taskName(released);
      this.open.set(name, this.held.get(name) as NewTask);
      this.held.delete(name);
    }
    // What nobody can have claimed ends at once when the run stops.
    if (!effects.stopLiveTasks) return;
    const held = [...this.held.values()];
    this.held.clear();
    for (const task of held) this.end(task, { type: "cancelled" });
  }
}

function taskEnd(agent: string, end: StepEnd): TaskEnd {
  if (end.type === "ok") return { type: "succeeded", output: end.output };
  if (end.type === "deny") return { type: "denied", failure: { class: "PolicyDenied", message: "denied" } };
  const timedOut = end.after === "Timeout";
  const failure = { class: end.class, message: FAILURE_MESSAGE, ...(timedOut && { timedOut }) };
  // A tool node parks like parker: who plays its worker says how the call ended.
  if (agent === "parker" || agent.startsWith("tool:")) return { type: "parked", failure };
  return { type: "failed", failure, ...(agent === "lenient" && { fallback: FALLBACK }) };
}

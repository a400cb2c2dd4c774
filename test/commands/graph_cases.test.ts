// The graph cases through the commands on a real database: applied, invoked, claimed, settled, and read back.
// Every outcome is one transaction of its own; what is superseded must be neither queued nor leased afterwards.

import { beforeAll, describe, expect, test } from "vitest";
import type { Assigned } from "../../server/commands/lease_tasks.ts";
import type { SettleItem } from "../../server/commands/settle_items.ts";
import {
  caseAgents,
  caseDocuments,
  FAILURE_MESSAGE,
  type GraphCase,
  graphCases,
  OUTPUT,
  type StepEnd,
  stepOf,
  taskName,
} from "../graph/case_files.ts";
import { type CommandStage, commandStage, outcomeOf } from "./command_stage.ts";
import { failToolCall } from "./tool_node.ts";

const files = graphCases();
const nameOf = (file: number, index: number) => `case-${file}-${index}`;
/** Cases in one apply. */
const APPLIED_TOGETHER = 10;
let stage: CommandStage;

beforeAll(async () => {
  stage = await commandStage();
  await stage.applyAll(caseAgents());
  for (const [file, { cases }] of files.entries()) {
    for (let first = 0; first < cases.length; first += APPLIED_TOGETHER) {
      const some = cases.slice(first, first + APPLIED_TOGETHER);
      await stage.applyAll(some.flatMap((one, index) => caseDocuments(one, nameOf(file, first + index))));
    }
  }
});

// Tasks of the run that the session holds, by name; everything that may be claimed is.
async function claimAll(session: string, held: Map<string, Assigned>): Promise<void> {
  for (const assigned of (await stage.claimAs(session)).assigned) held.set(taskName(assigned.task), assigned);
}

async function settling(assigned: Assigned, end: StepEnd): Promise<SettleItem> {
  if (end.type === "ok") return outcomeOf(assigned, { type: "succeeded", output: end.output });
  const failure = { class: end.type === "fail" ? end.class : "", message: FAILURE_MESSAGE };
  const found =
    end.type === "fail" && end.after !== undefined ? await failToolCall(stage, assigned, end.after) : undefined;
  if (found !== undefined) return found;
  const { token, sessionId, task } = assigned;
  // That a tool was tried as often as it may, the server finds out when the next holder asks.
  if (failure.class === "ToolAttemptsExhausted") return { type: "fail", taskId: task.id, token, sessionId, failure };
  if (end.type === "fail") return outcomeOf(assigned, { type: "failed", failure });
  const decision = {
    allowed: false,
    reason: "denied",
    decidedBy: "",
    message: "",
    verdicts: [],
    policyRevision: "0",
    nowMs: 0,
  };
  return { type: "denied", taskId: task.id, token, sessionId, decision, subject: {} } as unknown as SettleItem;
}

async function drive(graph: GraphCase, name: string): Promise<string> {
  const runId = await stage.start(name, { parametersJson: JSON.stringify(graph.input ?? {}) });
  const held = new Map<string, Assigned>();
  for (const text of graph.steps) {
    await claimAll(runId, held);
    const { node, item, end } = stepOf(text);
    const { iteration } = await stage.database.db
      .selectFrom("node_state")
      .select("iteration")
      .where("run_id", "=", runId)
      .where("node", "=", node)
      .executeTakeFirstOrThrow();
    const assigned = held.get(taskName({ node, iteration, item }));
    if (assigned === undefined) throw new Error(`${text}: not held; held are ${[...held.keys()].join(", ")}`);
    expect(await stage.settle(await settling(assigned, end)), text).toEqual([{ verdict: "committed" }]);
  }
  return runId;
}

for (const [file, { file: title, cases }] of files.entries()) {
  describe(title, () => {
    test.each(cases.map((one, index) => [one.name, one, nameOf(file, index)] as const))(
      "%s",
      async (_name, graph, name) => {
        const runId = await drive(graph, name);
        const { expect: wanted } = graph;
        const run = await stage.run(runId);
        const nodes = await stage.nodes(runId);
        expect({ run: run.state, failure: run.failure_class ?? undefined, nodes }).toEqual({
          run: wanted.run,
          failure: wanted.failure,
          nodes: { ...nodes, ...wanted.nodes },
        });
        const output = JSON.parse(run.output ?? "null");
        if (wanted.output !== undefined) expect(output).toEqual(wanted.output);
        else if (wanted.run === "SUCCEEDED" && graph.output === undefined) expect(output).toBe(OUTPUT);
        const tasks = await stage.tasksOf(runId);
        if (wanted.order) expect(tasks.map(taskName)).toEqual(wanted.order);
        for (const [node, input] of Object.entries(wanted.inputs ?? {})) {
          expect(JSON.parse(tasks.findLast((task) => task.node === node)?.input ?? ""), `input of ${node}`).toEqual(
            input,
          );
        }
        const over = ["SUCCEEDED", "FAILED", "POLICY_DENIED"].includes(wanted.run);
        const live = over ? 0 : tasks.filter((task) => task.end_time === null).length;
        expect((await stage.leases(runId)).length + (await stage.queued(runId)).length).toBe(live);
        expect(tasks.filter((task) => task.end_time === null)).toHaveLength(live);
      },
    );
  });
}

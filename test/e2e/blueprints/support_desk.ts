// The blueprint support-desk: one refund however often it is asked for, a denied one, one that fails and goes to a person,
// pages of which one cannot be read, a loop that ends because it is good and one that ends because it is bounded.
// Read by blueprints.test.ts. The lines of the README ran before: they asked for A-1001 already.

import { expect } from "vitest";
import type { RunHandle } from "../../../sdk/index.ts";
import type { Stage } from "../stage.ts";
import type { BlueprintCase } from "./blueprint_case.ts";

const ADA = { id: "ada", claims: { customer_id: "C-7" } };
const BY_BILLING = { triage: "SUCCEEDED", billing: "SUCCEEDED", read: "SKIPPED", orders: "SKIPPED" };
const BY_TECH = { triage: "SUCCEEDED", billing: "SKIPPED", read: "SUCCEEDED", orders: "SUCCEEDED" };
const NOT_ESCALATED = { escalate: "SKIPPED", "escalate/open": "SKIPPED", "escalate/reply": "SKIPPED" };
const ESCALATED = { escalate: "SUCCEEDED", "escalate/open": "SUCCEEDED", "escalate/reply": "SUCCEEDED" };
const WRITTEN = { draft: "SUCCEEDED", done: "SUCCEEDED" };

async function expectRounds(stage: Stage, run: RunHandle, rounds: number): Promise<void> {
  const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
  const iterations = tasks.filter(({ node }) => node === "draft").map(({ iteration }) => iteration);
  expect(iterations).toEqual(Array.from({ length: rounds }, (_, index) => index));
}

/** See the file header. */
export const supportDesk: BlueprintCase = [
  {
    shows:
      "an order is refunded once: another run that asks gets the recorded result, and the payment service hears nothing",
    workflow: "refund-flow",
    person: ADA,
    parameters: { question: "A-1001 again: refund, please." },
    output: { text: "Order A-1001 is refunded (refund-1).", score: 9, unread: 0 },
    nodes: { ...BY_BILLING, ...NOT_ESCALATED, ...WRITTEN },
    async also(stage, run, sandbox) {
      const [cached, ...others] = await stage.trail(run, "tool.cached");
      expect(others).toEqual([]);
      const requestId = expect.stringMatching(/^key:my-support-desk\/issue-refund\/A-1001$/);
      expect(cached?.detail).toMatchObject({ tool: "issue-refund", requestId });
      // The first answer was lost on its way: the second attempt, with the same key, got it again.
      const attempts = await stage.record("tool.result", ({ detail }) => detail.tool === "issue-refund" && detail.ok);
      expect(attempts.detail).toMatchObject({ attempt: 2, requestId });
      expect(await sandbox.effects()).toMatchObject({ refunds: 1 });
      await expectRounds(stage, run, 1);
    },
  },
  {
    shows: "a refund over the desk's amount is denied by its arguments, and nothing is paid",
    workflow: "refund-flow",
    person: ADA,
    parameters: { question: "Please refund A-1002, the chair." },
    state: "POLICY_DENIED",
    nodes: {
      ...{
        triage: "SUCCEEDED",
        billing: "DENIED",
        read: "SKIPPED",
        orders: "SKIPPED",
        draft: "CANCELLED",
        done: "CANCELLED",
      },
      ...{ escalate: "CANCELLED", "escalate/open": "CANCELLED", "escalate/reply": "CANCELLED" },
    },
    async also(stage, run, sandbox) {
      const [denied] = await stage.trail(run, "task.denied");
      const decidedBy = "my-support-desk/billing-tools";
      expect(denied?.detail.decision).toMatchObject({ reason: "not_permitted", decidedBy, tool: "issue-refund" });
      const granted = (await stage.trail(run, "tool.granted")).map(({ detail }) => detail.tool);
      expect(granted).toEqual(["search-docs", "order-db"]);
      expect(await sandbox.effects()).toMatchObject({ refunds: 1 });
    },
  },
  {
    shows: "a refund that fails for good goes along the edge for failures to the contained system",
    workflow: "refund-flow",
    person: ADA,
    parameters: { question: "Please refund A-1003." },
    output: {
      text: expect.stringMatching(/^A colleague takes care of it and will write to you \(case OPS-\d+\)\.$/),
      ...{ score: 9, unread: 0 },
    },
    nodes: { ...BY_BILLING, billing: "FAILED", ...ESCALATED, ...WRITTEN },
  },
  {
    shows: "the order of another customer is not found, whoever writes its number",
    workflow: "refund-flow",
    person: ADA,
    parameters: { question: "Please refund A-2001." },
    output: { text: "We found no order in your message. Please send us its number.", score: 9, unread: 0 },
    nodes: { ...BY_BILLING, ...NOT_ESCALATED, ...WRITTEN },
  },
  {
    shows: "pages are read at once, the one that is gone is kept as an error; three rounds until the draft is good",
    workflow: "refund-flow",
    person: ADA,
    parameters: {
      question: "Why is my export late?",
      urls: ["exports", "gone", "webhooks"].map((page) => `https://help.example.com/${page}`),
    },
    output: { text: expect.stringContaining("Exports run every night"), score: 9, unread: 1 },
    nodes: { ...BY_TECH, ...NOT_ESCALATED, ...WRITTEN },
    async also(stage, run) {
      const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
      expect(tasks.filter(({ node }) => node === "read").length).toBe(3);
      await expectRounds(stage, run, 3);
    },
  },
  {
    shows: "with nothing to go on the loop's bound ends it: the first round and three more",
    workflow: "refund-flow",
    person: ADA,
    parameters: { question: "Hello?" },
    output: { text: "Round 3: we are looking into it.", score: 3, unread: 0 },
    nodes: { ...BY_TECH, ...NOT_ESCALATED, ...WRITTEN },
    also: (stage, run) => expectRounds(stage, run, 4),
  },
];

// The blueprint support-desk: routes, a refund under policy, pages read in parallel, a review loop, escalation.
// Read by blueprints.test.ts.

import type { BlueprintCase } from "./blueprint_case.ts";

const CUSTOMER = { id: "ben", claims: { customer_id: "C-7" } };
const NOT_ESCALATED = { escalate: "SKIPPED", "escalate/open": "SKIPPED", "escalate/reply": "SKIPPED" };

/** See the file header. */
export const supportDesk: BlueprintCase = [
  {
    shows: "a question goes to the pages and the orders, not to billing",
    workflow: "refund-flow",
    parameters: { question: "Why is my export late?", urls: ["https://help.example.com/exports"] },
    person: CUSTOMER,
    nodes: {
      ...{ triage: "SUCCEEDED", read: "SUCCEEDED", orders: "SUCCEEDED", draft: "SUCCEEDED", done: "SUCCEEDED" },
      ...{ billing: "SKIPPED", ...NOT_ESCALATED },
    },
  },
];

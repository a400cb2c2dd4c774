// What the demo invokes, and what must come of it. A scene that ends otherwise fails the demo.
// Read by demo/main.ts. Names workflows of examples/; nothing else.

/** One invocation. */
export interface Scene {
  /** What the reader is about to see, in one line. */
  readonly title: string;
  readonly workflow: string;
  /** Namespace of the workflow; default if absent. */
  readonly namespace?: string;
  /** Who invokes: a customer with a token of their own. Absent: the development principal. */
  readonly customer?: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly tags?: Readonly<Record<string, string>>;
  /** REFUSED: Invoke itself is denied, there is no run. */
  readonly expect: "SUCCEEDED" | "POLICY_DENIED" | "REFUSED";
  /** Reason that the denying decision must give. */
  readonly reason?: string;
  /** Show the whole audit trail of the run. */
  readonly trail?: boolean;
}

/** The scenes, in order. */
export const SCENES: readonly Scene[] = [
  {
    title: "Release notes from this repository's git history: two branches in parallel, then a join",
    workflow: "release-notes",
    params: { count: 5 },
    expect: "SUCCEEDED",
    trail: true,
  },
  {
    title: "The same workflow, about something no commit mentions: the other route, the rest is skipped",
    workflow: "release-notes",
    params: { topic: "zzz no commit says this zzz" },
    expect: "SUCCEEDED",
  },
  {
    title:
      "An incident: health, changes (retried), log and owner read in parallel; decide, restart, look again, tell the owner by a signed webhook",
    workflow: "incident-triage",
    namespace: "operations",
    params: { service: "checkout" },
    expect: "SUCCEEDED",
  },
  {
    title: "The same workflow on a healthy service: otherwise, a ticket",
    workflow: "incident-triage",
    namespace: "operations",
    params: { service: "search" },
    expect: "SUCCEEDED",
  },
  {
    title: "A deployment by somebody who is not in engineering: denied by a policy, nothing is deployed",
    workflow: "deploy",
    namespace: "delivery",
    params: { service: "checkout", version: "v8" },
    expect: "POLICY_DENIED",
    reason: "not_permitted",
    trail: true,
  },
  {
    title: "A report for customer 999, where a policy wants 123: the invocation is refused, there is no run",
    workflow: "customer-report",
    namespace: "delivery",
    params: {},
    tags: { "customer-id": "999" },
    expect: "REFUSED",
  },
  {
    title: "The same report for customer 123",
    workflow: "customer-report",
    namespace: "delivery",
    params: {},
    tags: { "customer-id": "123" },
    expect: "SUCCEEDED",
  },
  {
    title: "A model that asks for a tool which its agent does not declare: denied by structure, no policy involved",
    workflow: "overreach",
    namespace: "delivery",
    params: {},
    expect: "POLICY_DENIED",
    reason: "undeclared",
  },
  {
    title:
      "The support desk refunds an order: the answer is lost on its way, the call is repeated under its key, one refund",
    workflow: "refund-flow",
    namespace: "support",
    customer: "C-7",
    params: { question: "Please refund A-1001, the lamp is broken." },
    expect: "SUCCEEDED",
  },
  {
    title: "A refund over the desk's amount: denied by the arguments of the call, whatever the model thinks of it",
    workflow: "refund-flow",
    namespace: "support",
    customer: "C-7",
    params: { question: "Please refund A-1002, the chair is too low." },
    expect: "POLICY_DENIED",
    reason: "not_permitted",
  },
];

// What the demo invokes, and what must come of it. A scene that ends otherwise fails the demo.
// Read by demo/main.ts. Names workflows of examples/; nothing else.

/** One invocation. */
export interface Scene {
  /** What the reader is about to see, in one line. */
  readonly title: string;
  readonly workflow: string;
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
    title: "An incident: read twice in parallel (one read is retried), decide, restart the service, look again",
    workflow: "incident",
    params: { service: "checkout" },
    expect: "SUCCEEDED",
  },
  {
    title: "The same workflow on a healthy service: otherwise, a ticket",
    workflow: "incident",
    params: { service: "search" },
    expect: "SUCCEEDED",
  },
  {
    title: "A deployment by somebody who is not in engineering: denied by a policy, nothing is deployed",
    workflow: "deploy",
    params: { service: "checkout", version: "v8" },
    expect: "POLICY_DENIED",
    reason: "not_permitted",
    trail: true,
  },
  {
    title: "A report for customer 999, where a policy wants 123: the invocation is refused, there is no run",
    workflow: "customer-report",
    params: {},
    tags: { "customer-id": "999" },
    expect: "REFUSED",
  },
  {
    title: "The same report for customer 123",
    workflow: "customer-report",
    params: {},
    tags: { "customer-id": "123" },
    expect: "SUCCEEDED",
  },
  {
    title: "A model that asks for a tool which its agent does not declare: denied by structure, no policy involved",
    workflow: "overreach",
    params: {},
    expect: "POLICY_DENIED",
    reason: "undeclared",
  },
];

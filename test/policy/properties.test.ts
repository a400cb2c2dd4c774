// Properties that hold for every set of policies: P1 to P5 of the policy design, and the cost of a decision. Sets have limits, selectors,
// library policies (some in circles, some missing), conditions of every kind, and both ways to treat what nothing is attached to.
// P6, which needs a database: test/commands/fail_closed.test.ts.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { AttachmentSpec, Checkpoint, ConditionSpec, LimitSpec, MatchValue } from "../../server/manifests/specs.ts";
import { compilePolicies } from "../../server/policy/compile.ts";
import { decide } from "../../server/policy/evaluate.ts";
import { targetsOf } from "../../server/policy/targets.ts";
import type { LivePolicy, PolicyInput, PolicySet } from "../../server/policy/types.ts";
import { policy, toolInput } from "./policy_fixtures.ts";

/** Five properties of so many sets each: 25,000 in all. */
const RUNS = { numRuns: 5_000 };
/** Mutations of each set that are tried. */
const WORLDS_MAX = 5;
const UNKNOWN_LEAF: ConditionSpec = { match: { "context.metadata": { "no-such-key": ["x"] } } };
/** What a leaf may turn into: absent values, errors while it is evaluated, and what cannot be compiled at all. */
const ERRORS: readonly ConditionSpec[] = [
  UNKNOWN_LEAF,
  { cel: "requester.claims.nobody_has_it == 'x'" },
  { cel: "1 / 0 == 1" },
  { cel: "requester.id" },
  { cel: "not cel at all (" },
  { policyRef: "missing" },
  { time: { in: [{ cron: "61 9 * * *", duration: "8h", timeZone: "Europe/Prague" }] } },
  { time: { in: [] } },
  { exists: "no.such.path" },
  { match: {} },
  { match: { "requester.names": ["ana"] } },
  {},
  null as unknown as ConditionSpec,
];

const listed = fc.subarray(["engineering", "finance", "ana", "bob", "deploy", "release"], { minLength: 1 });
const leaf: fc.Arbitrary<ConditionSpec> = fc
  .tuple(
    fc.constantFrom(
      "requester.ids",
      "requester.groups",
      "tool.names",
      "agent.names",
      "workflow.names",
      "requester.claims",
      "context.tags",
    ),
    listed,
    fc.constantFrom("customer_id", "customer-id", "absent"),
  )
  .map(([path, values, key]) => {
    const keyed = path === "requester.claims" || path === "context.tags";
    const value: MatchValue = keyed ? { [key]: [...values, "123"] } : values;
    return { match: { [path]: value } };
  });
// Leaves of every other kind; some are Unknown on these documents, some read what a checkpoint lacks.
const otherLeaf = fc.constantFrom<ConditionSpec>(
  { cel: '"engineering" in requester.groups' },
  { cel: 'args.target == "prod" && tool.effect == "write"' },
  { cel: "args.amount < 5" },
  { cel: 'now < timestamp("2023-01-01T00:00:00Z")' },
  { exists: "context.tags.customer-id" },
  { exists: "args.amount" },
  { time: { in: [{ from: "2023-11-14T00:00:00Z", to: "2023-11-15T00:00:00Z" }] } },
  { time: { in: [{ cron: "0 9 * * mon-fri", duration: "8h", timeZone: "Europe/Prague" }] } },
  { policyRef: "staff" },
  { policyRef: "nobody" },
  { policyRef: "inside" },
);
const limit = fc.constantFrom<LimitSpec>(
  { name: "hourly", key: ["requester.id"], max: 3, windowMs: 3_600_000 },
  { name: "all", key: [], max: 9, windowMs: 60_000 },
  { name: "by-target", key: ["args.target", "context.tags.customer-id"], max: 1, windowMs: 86_400_000 },
  { name: "by-amount", key: ["args.amount"], max: 1, windowMs: 86_400_000 },
);
const condition: fc.Arbitrary<ConditionSpec> = fc.letrec<{ node: ConditionSpec }>((tie) => ({
  node: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    leaf,
    otherLeaf,
    fc.constant(UNKNOWN_LEAF),
    fc.record({ not: tie("node") }),
    fc.record({ all: fc.array(tie("node"), { minLength: 1, maxLength: 3 }) }),
    fc.record({ any: fc.array(tie("node"), { minLength: 1, maxLength: 3 }) }),
  ),
})).node;
const attachment = fc.constantFrom<AttachmentSpec>(
  { kind: "Tool", selector: { risk: "high" } },
  { kind: "Agent", name: "releaser", selector: { team: "other" } },
  { kind: "WorkflowTemplate", selector: { tier: "prod" } },
  { kind: "AgentSystem", name: "release-system", selector: { area: "delivery" } },
  { kind: "Tool", selector: { risk: "high", absent: "x" } },
  { kind: "Tool", name: "deploy" },
  { kind: "Agent", name: "releaser" },
  { kind: "Namespace", name: "platform" },
  { kind: "Tool", name: "other" },
);
const anyPolicy: fc.Arbitrary<LivePolicy> = fc
  .record({
    namespace: fc.constantFrom("platform", "system", "other"),
    mode: fc.constantFrom<"enforce" | "observe">("enforce", "enforce", "observe"),
    attachTo: fc.array(attachment, { minLength: 1, maxLength: 2 }),
    checkpoints: fc.subarray<Checkpoint>(["tool.call", "agent.run"], { minLength: 1 }),
    allow: fc.option(condition, { nil: undefined }),
    deny: fc.option(condition, { nil: undefined }),
    limits: fc.uniqueArray(limit, { maxLength: 2 }),
  })
  .map(({ namespace, allow, deny, ...spec }) =>
    policy("p", { ...spec, ...(allow && { allow }), ...(deny && { deny }) }, namespace),
  );
const policySet = fc
  .array(anyPolicy, { maxLength: 4 })
  .map((policies) => policies.map((one, index) => ({ ...one, name: `p${index}` })));
const input: fc.Arbitrary<PolicyInput> = fc
  .record({ guarded: fc.boolean(), groups: fc.subarray(["engineering", "finance"]) })
  .map(({ guarded, groups }) => {
    const base = toolInput();
    return { ...base, requester: { ...base.requester, groups }, tool: { ...base.tool!, guarded } };
  });

// Beside every set, so that some policies use them. One cannot be told for some documents; the random ones may go in circles.
const FIXED = [
  policy("staff", { attachTo: [], allow: { any: [{ policyRef: "inside" }, { match: { "requester.ids": ["bob"] } }] } }),
  policy(
    "inside",
    { attachTo: [], allow: { match: { "requester.groups": ["engineering"] } }, deny: { cel: "args.amount > 3" } },
    "system",
  ),
];
const RANDOM = fc
  .record({ staff: condition, inside: condition })
  .map(({ staff, inside }) => [
    policy("staff", { attachTo: [], allow: staff }),
    policy("inside", { attachTo: [], allow: inside }, "system"),
  ]);

/** What stands beside the policies of a set. */
interface Setting {
  readonly libraries: readonly LivePolicy[];
  readonly unattached: PolicySet["unattached"];
}
const setting: fc.Arbitrary<Setting> = fc.record({
  libraries: fc.oneof({ weight: 2, arbitrary: fc.constant(FIXED) }, RANDOM),
  unattached: fc.constantFrom("allow", "allow", "deny"),
});

function decided(policies: readonly LivePolicy[], document: PolicyInput, { libraries, unattached }: Setting) {
  return decide(compilePolicies([...policies, ...libraries], "1", unattached), document, targetsOf(document));
}

/** A count without its place in the list. */
const countsOf = ({ counts }: ReturnType<typeof decided>) => counts.map((use) => JSON.stringify(use)).sort();

// Every condition that differs from the given one by a single leaf turned into an error.
function weakened(node: ConditionSpec, error: ConditionSpec): ConditionSpec[] {
  if (node.not) return weakened(node.not, error).map((not) => ({ not }));
  for (const member of ["all", "any"] as const) {
    const nodes = node[member];
    if (nodes)
      return nodes.flatMap((child, index) =>
        weakened(child, error).map((other) => ({ [member]: nodes.with(index, other) })),
      );
  }
  return [error];
}

// Every policy that differs from the given one by a single leaf, key or attachment that became unreadable.
function brokenPolicies(one: LivePolicy, error: ConditionSpec): LivePolicy[] {
  const changed = (spec: object): LivePolicy => ({ ...one, spec: { ...one.spec, ...spec } });
  const conditions = (["allow", "deny"] as const).flatMap((member) => {
    const root = one.spec[member];
    return root === undefined ? [] : weakened(root, error).map((other) => changed({ [member]: other }));
  });
  const limits = one.spec.limits.map((each, index) =>
    changed({ limits: one.spec.limits.with(index, { ...each, key: ["no.such.path"] }) }),
  );
  return [...conditions, ...limits, changed({ attachTo: null }), changed({ checkpoints: ["sometimes"] })];
}

test("P1: adding an enforcing policy never turns deny into allow, except that it may guard a guarded tool", () => {
  let denied = 0;
  let counted = 0;
  fc.assert(
    fc.property(policySet, anyPolicy, input, setting, (policies, added, document, beside) => {
      const before = decided(policies, document, beside);
      const enforcing = { ...added, name: "added", spec: { ...added.spec, mode: "enforce" as const } };
      const after = decided([...policies, enforcing], document, beside);
      if (before.reason === "policy_missing") return;
      if (before.allowed && after.allowed) {
        // What counted still counts.
        if (before.counts.length > 0) counted += 1;
        expect(countsOf(after)).toEqual(expect.arrayContaining(countsOf(before)));
      }
      if (before.allowed) return;
      denied += 1;
      expect(after.allowed).toBe(false);
    }),
    RUNS,
  );
  expect(denied).toBeGreaterThan(300);
  expect(counted).toBeGreaterThan(20);
});

test("P2: turning any leaf into any error, in a policy or in a library policy that it uses, never turns deny into allow", () => {
  let compared = 0;
  fc.assert(
    fc.property(
      policySet,
      input,
      setting,
      fc.constantFrom(...ERRORS),
      fc.nat(),
      (policies, document, beside, error, from) => {
        if (decided(policies, document, beside).allowed) return;
        const worlds = [
          ...policies.flatMap((one, index) =>
            brokenPolicies(one, error).map((other) => ({ policies: policies.with(index, other), beside })),
          ),
          ...beside.libraries.flatMap((one, index) =>
            brokenPolicies(one, error).map((other) => ({
              policies,
              beside: { ...beside, libraries: beside.libraries.with(index, other) },
            })),
          ),
        ];
        // Some of them, from a random one on. An attachment that cannot be read reaches further than before, but it only ever denies.
        const begin = from % worlds.length;
        for (const world of [...worlds.slice(begin), ...worlds.slice(0, begin)].slice(0, WORLDS_MAX)) {
          compared += 1;
          if (decided(world.policies, document, world.beside).allowed) {
            throw new Error(`opened by ${JSON.stringify(error)}: ${JSON.stringify(world)}`);
          }
        }
      },
    ),
    RUNS,
  );
  expect(compared).toBeGreaterThan(10_000);
});

test("P3 and P5: the order of policies, attachments and targets is irrelevant, and the decision repeats", () => {
  fc.assert(
    fc.property(policySet, input, setting, fc.integer({ min: 0, max: 3 }), (policies, document, beside, turn) => {
      const decision = decided(policies, document, beside);
      const turned = [...policies.slice(turn), ...policies.slice(0, turn)].reverse().map((one) => ({
        ...one,
        spec: {
          ...one.spec,
          attachTo: [...one.spec.attachTo].reverse(),
          checkpoints: [...one.spec.checkpoints].reverse(),
          limits: [...one.spec.limits].reverse(),
        },
      }));
      const set = compilePolicies([...beside.libraries.toReversed(), ...turned], "1", beside.unattached);
      const again = decide(set, document, targetsOf(document).reverse());
      expect({ ...again, counts: countsOf(again) }).toEqual({ ...decision, counts: countsOf(decision) });
    }),
    RUNS,
  );
});

test("P4: observing policies never decide", () => {
  fc.assert(
    fc.property(policySet, anyPolicy, input, setting, (policies, added, document, beside) => {
      const observing = { ...added, name: "added", spec: { ...added.spec, mode: "observe" as const } };
      const { verdicts: _before, ...before } = decided(policies, document, beside);
      const { verdicts: _after, ...after } = decided([...policies, observing], document, beside);
      expect(after).toEqual(before);
    }),
    RUNS,
  );
});

test("deferred arguments: what is denied with them left open is denied whatever they are", () => {
  let denied = 0;
  const args = fc.record(
    { target: fc.constantFrom("prod", "dev"), amount: fc.integer({ min: 0, max: 9 }) },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(
      policySet,
      input,
      setting,
      fc.array(args, { minLength: 1, maxLength: 4 }),
      (policies, document, beside, all) => {
        const { args: _args, ...open } = document;
        if (decided(policies, { ...open, argsDeferred: true }, beside).allowed) return;
        denied += 1;
        for (const value of all) expect(decided(policies, { ...open, args: value }, beside).allowed).toBe(false);
      },
    ),
    RUNS,
  );
  expect(denied).toBeGreaterThan(300);
});

test("a hundred attached policies decide in under a millisecond", () => {
  const policies = Array.from({ length: 100 }, (_, index) =>
    policy(`p${String(index).padStart(3, "0")}`, {
      allow: {
        any: [
          { match: { "requester.groups": [`g${index}`, "engineering"] } },
          { match: { "requester.claims": { customer_id: ["9"] } } },
        ],
      },
      deny: {
        all: [{ match: { "context.tags": { "customer-id": ["7"] } } }, { match: { "tool.labels": { risk: ["low"] } } }],
      },
    }),
  );
  const set = compilePolicies(policies, "1");
  const document = toolInput();
  const targets = targetsOf(document);
  const decideTimes = Array.from({ length: 600 }, () => {
    const start = performance.now();
    expect(decide(set, document, targets).verdicts.length).toBe(100);
    return performance.now() - start;
  });
  // The median, and with room: the machine is shared while tests run. The first calls warm the compiler up.
  expect(decideTimes.slice(100).sort((a, b) => a - b)[250]).toBeLessThan(2);
});

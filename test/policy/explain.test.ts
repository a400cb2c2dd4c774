// What an explanation says: values of every node, what was read and found, the deciding node, and that it agrees with the decision.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ConditionSpec } from "../../server/manifests/specs.ts";
import { compilePolicies } from "../../server/policy/compile.ts";
import { decide } from "../../server/policy/evaluate.ts";
import { type ExplainedNode, explain, FOUND_CHARS_MAX } from "../../server/policy/explain.ts";
import { targetsOf } from "../../server/policy/targets.ts";
import type { LimitUse, LivePolicy, PolicyInput } from "../../server/policy/types.ts";
import { policy, toolInput } from "./policy_fixtures.ts";

function explained(policies: LivePolicy[], input: PolicyInput = toolInput(), used?: (use: LimitUse) => number) {
  return explain(compilePolicies(policies, "7"), input, targetsOf(input), used);
}

function leavesOf(node: ExplainedNode | undefined): ExplainedNode[] {
  if (node === undefined) return [];
  return node.how === "leaf" ? [node] : node.nodes.flatMap(leavesOf);
}

const TRUE: ConditionSpec = { match: { "requester.groups": ["engineering"] } };
const FALSE: ConditionSpec = { match: { "requester.groups": ["finance"] } };
const UNKNOWN: ConditionSpec = { match: { "requester.claims": { plan: ["pro"] } } };

test("every leaf has its value, its place, what the manifest says, and what the document holds", () => {
  const { policies } = explained([
    policy("p", {
      allow: {
        any: [
          FALSE,
          { all: [UNKNOWN, { time: { in: [{ from: "2023-11-14T00:00:00Z", to: "2023-11-15T00:00:00Z" }] } }] },
          { cel: "args.amount < 5" },
          { exists: "context.tags.ticket" },
        ],
      },
    }),
  ]);
  expect(leavesOf(policies[0]?.allow)).toMatchObject([
    {
      path: "spec.allow.any[0].match.requester.groups",
      value: "false",
      written: ["finance"],
      reads: [{ path: "requester.groups", found: ["engineering", "oncall"] }],
    },
    {
      path: "spec.allow.any[1].all[0].match.requester.claims.plan",
      value: "unknown",
      reads: [{ path: "requester.claims.plan" }],
      why: "requester.claims.plan is absent",
    },
    {
      path: "spec.allow.any[1].all[1].time.in[0]",
      value: "true",
      reads: [{ path: "now", found: "2023-11-14T22:13:20.000Z" }],
    },
    {
      path: "spec.allow.any[2].cel",
      value: "unknown",
      written: "args.amount < 5",
      why: expect.stringContaining("amount"),
    },
    { path: "spec.allow.any[3].exists", value: "false", written: "context.tags.ticket" },
  ]);
  expect(policies[0]?.allow).toMatchObject({ how: "any", path: "spec.allow.any", value: "unknown" });
  expect(leavesOf(policies[0]?.allow).map(({ sure }) => sure)).toEqual([true, false, true, false, true]);
});

describe("the deciding node", () => {
  const cases: [string, { allow?: ConditionSpec; deny?: ConditionSpec }, string | undefined][] = [
    ["a false leaf", { allow: FALSE }, "spec.allow.match.requester.groups"],
    ["the false one of all", { allow: { all: [TRUE, FALSE] } }, "spec.allow.all[1].match.requester.groups"],
    ["any, when none of several is true", { allow: { any: [FALSE, FALSE] } }, "spec.allow.any"],
    ["the unknown one of any", { allow: { any: [FALSE, UNKNOWN] } }, "spec.allow.any[1].match.requester.claims.plan"],
    ["what is negated", { allow: { not: { any: [FALSE, TRUE] } } }, "spec.allow.not.any[1].match.requester.groups"],
    ["deny before allow", { allow: FALSE, deny: TRUE }, "spec.deny.match.requester.groups"],
    ["an unknown deny before a false allow", { allow: FALSE, deny: UNKNOWN }, "spec.deny.match.requester.claims.plan"],
    ["an unknown allow", { allow: UNKNOWN, deny: FALSE }, "spec.allow.match.requester.claims.plan"],
    ["nothing when it passes", { allow: TRUE, deny: FALSE }, undefined],
  ];
  test.each(cases)("is %s", (_name, conditions, path) => {
    const { deciding, policies } = explained([policy("p", conditions)]);
    expect(deciding?.path).toBe(path);
    expect(policies[0]?.because?.path).toBe(path);
  });

  test("is that of the policy that decides; an observing policy tells its own", () => {
    const { decision, deciding, policies } = explained([
      policy("a", { allow: FALSE, mode: "observe" }),
      policy("b", { allow: TRUE }),
      policy("c", { deny: TRUE }),
    ]);
    expect(decision).toMatchObject({ decidedBy: "platform/c", reason: "forbidden" });
    expect(deciding).toMatchObject({ policy: "platform/c", path: "spec.deny.match.requester.groups" });
    expect(policies.map(({ because }) => because?.path)).toEqual([
      "spec.allow.match.requester.groups",
      undefined,
      "spec.deny.match.requester.groups",
    ]);
  });

  test("is the spec of a policy that cannot be read, and nothing for a guarded tool without a policy", () => {
    const broken = explained([{ ...policy("p"), spec: null as never }]);
    expect(broken).toMatchObject({
      decision: { reason: "policy_error" },
      deciding: { policy: "platform/p", path: "" },
    });
    const base = toolInput();
    const missing = explained([], { ...base, tool: { ...base.tool!, guarded: true } });
    expect(missing.decision.reason).toBe("policy_missing");
    expect(missing.deciding).toBeUndefined();
  });
});

test("a library policy is told where it is used first; a node in it names the library policy", () => {
  const library = policy("staff", { attachTo: [], allow: FALSE, deny: UNKNOWN }, "system");
  const { policies, deciding } = explained([
    library,
    policy("a", { allow: { policyRef: "staff" } }),
    policy("b", { allow: { policyRef: "staff" } }),
    policy("c", { allow: { policyRef: "nobody" } }),
  ]);
  expect(policies[0]?.allow).toMatchObject({ how: "policyRef", written: "staff", value: "false", toldBefore: false });
  expect(policies[0]?.allow?.nodes.map(({ policy: of, path }) => `${of} ${path}`)).toEqual([
    "system/staff spec.allow.match",
    "system/staff spec.deny.match",
  ]);
  expect(policies[1]?.allow).toMatchObject({ value: "false", toldBefore: true, nodes: [] });
  expect(policies[2]?.allow).toMatchObject({ value: "unknown", why: expect.stringContaining('"nobody"') });
  expect(deciding).toMatchObject({ policy: "platform/c", path: "spec.allow.policyRef" });
});

test("while arguments are deferred, what reads them is open", () => {
  const { args: _args, ...rest } = toolInput();
  const { policies, decision } = explained(
    [policy("p", { allow: { all: [{ cel: "args.amount < 5" }, TRUE] }, deny: { exists: "args.force" } })],
    { ...rest, argsDeferred: true },
  );
  expect(decision.allowed).toBe(true);
  expect(leavesOf(policies[0]?.allow).map(({ value }) => value)).toEqual(["open", "true"]);
  expect(policies[0]?.deny?.value).toBe("open");
});

test("a limit that is used up decides, with its key and how often it was used", () => {
  const limits = [{ name: "per-hour", key: ["requester.id"], max: 3, windowMs: 3_600_000 }];
  const policies = [policy("p", { allow: TRUE, limits })];
  const limit = { name: "per-hour", max: 3, key: [{ path: "requester.id", found: "ana" }], used: 3 };
  expect(explained(policies, toolInput(), () => 3)).toMatchObject({
    decision: { allowed: false, reason: "limit_exceeded", decidedBy: "platform/p" },
    policies: [{ limits: [limit], because: { path: "spec.limits[0]" } }],
    deciding: { policy: "platform/p", path: "spec.limits[0]" },
  });
  expect(explained(policies, toolInput(), () => 2).decision.allowed).toBe(true);
  expect(explained(policies).policies[0]?.limits[0]).not.toHaveProperty("used");
});

test("a limit whose key is absent decides as an error", () => {
  const limits = [{ name: "l", key: ["context.tags.nothing"], max: 3, windowMs: 3_600_000 }];
  const { decision, deciding } = explained([policy("p", { allow: TRUE, limits })]);
  expect(decision).toMatchObject({ reason: "policy_error", decidedBy: "platform/p" });
  expect(deciding?.path).toBe("spec.limits[0]");
});

test("a value that is too long is shown as its digest", () => {
  const { policies } = explained([policy("p", { allow: { cel: "size(args.text) > 1" } })], {
    ...toolInput(),
    args: { text: "x".repeat(FOUND_CHARS_MAX) },
  });
  expect(policies[0]?.allow?.reads).toEqual([
    {
      path: "args.text",
      found: { omitted: "string", characters: FOUND_CHARS_MAX + 2, digest: expect.stringMatching(/^sha256:/) },
    },
  ]);
});

test("the values of the roots agree with the verdicts, and the decision is that of decide, for any conditions", () => {
  const node = fc.letrec<{ node: ConditionSpec }>((tie) => ({
    node: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom(TRUE, FALSE, UNKNOWN, { cel: "args.amount < 5" }, { policyRef: "staff" }),
      fc.record({ not: tie("node") }),
      fc.record({ all: fc.array(tie("node"), { minLength: 1, maxLength: 3 }) }),
      fc.record({ any: fc.array(tie("node"), { minLength: 1, maxLength: 3 }) }),
    ),
  })).node;
  const some = fc.array(fc.record({ allow: node, deny: node }), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(some, fc.boolean(), (specs, deferred) => {
      const library = policy("staff", { attachTo: [], allow: UNKNOWN, deny: FALSE });
      const set = compilePolicies([library, ...specs.map((spec, index) => policy(`p${index}`, spec))], "1");
      const { args: _args, ...rest } = toolInput();
      const input: PolicyInput = deferred ? { ...rest, argsDeferred: true } : toolInput();
      const told = explain(set, input, targetsOf(input));
      expect(told.decision).toEqual(decide(set, input, targetsOf(input)));
      for (const { verdict, allow, deny, because } of told.policies) {
        const passes = ["true", "open"].includes(allow?.value ?? "") && ["false", "open"].includes(deny?.value ?? "");
        expect(passes).toBe(verdict.passes);
        expect(because === undefined).toBe(verdict.passes);
        if (because?.node !== undefined) expect(because.node.value).not.toBe("open");
      }
    }),
    { numRuns: 2_000 },
  );
});

// Which policies reach what: attachment by labels, library policies, circles of them, and what nobody decides.

import { describe, expect, test } from "vitest";
import type { ConditionSpec } from "../../server/manifests/specs.ts";
import { compilePolicies } from "../../server/policy/compile.ts";
import { decide } from "../../server/policy/evaluate.ts";
import { targetsOf } from "../../server/policy/targets.ts";
import type { LivePolicy, PolicyInput } from "../../server/policy/types.ts";
import { policy, toolInput } from "./policy_fixtures.ts";

const PASS: ConditionSpec = { match: { "requester.groups": ["engineering"] } };
const FAIL: ConditionSpec = { match: { "requester.groups": ["finance"] } };

function decided(policies: readonly LivePolicy[], input: PolicyInput = toolInput(), unattached?: "deny") {
  return decide(compilePolicies(policies, "7", unattached), input, targetsOf(input));
}

const library = (name: string, spec: Parameters<typeof policy>[1], namespace?: string) =>
  policy(name, { attachTo: [], ...spec }, namespace);

describe("attachment by labels", () => {
  const deny = (attachTo: LivePolicy["spec"]["attachTo"], namespace?: string) =>
    policy("p", { deny: PASS, attachTo }, namespace);
  const rows: [string, LivePolicy, boolean][] = [
    ["a label that fits", deny([{ kind: "Tool", selector: { risk: "high" } }]), true],
    ["another value", deny([{ kind: "Tool", selector: { risk: "low" } }]), false],
    ["a label that is absent", deny([{ kind: "Tool", selector: { owner: "x" } }]), false],
    ["a name of Object.prototype", deny([{ kind: "Tool", selector: { constructor: "x" } }]), false],
    ["one label of two", deny([{ kind: "Tool", selector: { risk: "high", owner: "x" } }]), false],
    ["name and label", deny([{ kind: "Tool", name: "deploy", selector: { risk: "high" } }]), true],
    ["another name and the label", deny([{ kind: "Tool", name: "other", selector: { risk: "high" } }]), false],
    ["the label of the agent", deny([{ kind: "Agent", selector: { team: "release" } }]), true],
    ["the label of the tool on an agent", deny([{ kind: "Agent", selector: { risk: "high" } }]), false],
    ["the label of the system", deny([{ kind: "AgentSystem", selector: { area: "delivery" } }]), true],
    ["the label of the workflow", deny([{ kind: "WorkflowTemplate", selector: { tier: "prod" } }]), true],
    ["a label from another namespace", deny([{ kind: "Tool", selector: { risk: "high" } }], "other"), false],
    ["a label from system", deny([{ kind: "Tool", selector: { risk: "high" } }], "system"), true],
  ];
  test.each(rows)("by %s", (_name, attached, reached) => {
    expect(decided([attached]).allowed).toBe(!reached);
  });

  test("guards a guarded tool, and evaluates a policy that fits twice once", () => {
    const input = toolInput({ tool: { ...toolInput().tool!, guarded: true } });
    const attachTo = [
      { kind: "Tool", selector: { risk: "high" } },
      { kind: "Tool", name: "deploy" },
    ] as const;
    expect(decided([policy("p", { allow: PASS, attachTo })], input)).toMatchObject({
      allowed: true,
      verdicts: [{ name: "p" }],
    });
  });
});

describe("a library policy", () => {
  const user = policy("user", { allow: { policyRef: "oncall" } });
  const rows: [string, LivePolicy[], string][] = [
    ["that allows", [user, library("oncall", { allow: PASS })], "allowed"],
    ["that does not allow", [user, library("oncall", { allow: FAIL })], "not_permitted"],
    ["whose deny is true", [user, library("oncall", { allow: PASS, deny: PASS })], "not_permitted"],
    ["that is not there", [user], "policy_error"],
    ["of system", [user, library("oncall", { allow: PASS }, "system")], "allowed"],
    [
      "of its own namespace before system",
      [user, library("oncall", { allow: PASS }, "system"), library("oncall", { allow: FAIL })],
      "not_permitted",
    ],
    ["of another namespace", [user, library("oncall", { allow: PASS }, "other")], "policy_error"],
    ["that is attached itself", [user, policy("oncall", { allow: PASS })], "policy_error"],
    ["that only observes", [user, library("oncall", { allow: PASS, mode: "observe" })], "allowed"],
    [
      "that uses another",
      [user, library("oncall", { allow: { policyRef: "staff" } }), library("staff", { allow: PASS })],
      "allowed",
    ],
    [
      "that is denied by one of two",
      [
        policy("user", { allow: { policyRef: "staff" }, deny: { policyRef: "oncall" } }),
        library("oncall", { allow: FAIL }),
        library("staff", { allow: PASS }),
      ],
      "allowed",
    ],
  ];
  test.each(rows)("%s", (_name, policies, reason) => {
    expect(decided(policies).reason).toBe(reason);
    expect(decided([...policies].reverse()).reason).toBe(reason);
  });

  test("in a circle is unknown wherever the circle is entered, and does not hang", () => {
    const circle = [
      library("a", { allow: { any: [{ policyRef: "b" }, PASS] } }),
      library("b", { allow: { any: [{ policyRef: "a" }, PASS] } }),
    ];
    for (const name of ["a", "b"]) {
      for (const policies of [circle, [...circle].reverse()]) {
        expect(decided([...policies, policy("user", { allow: { policyRef: name } })]).reason).toBe("policy_error");
      }
    }
  });

  test("that many use many times is evaluated once a decision", () => {
    const levels = Array.from({ length: 60 }, (_, index) =>
      library(`l${index}`, {
        allow: index === 0 ? PASS : { all: [{ policyRef: `l${index - 1}` }, { policyRef: `l${index - 1}` }] },
      }),
    );
    expect(decided([...levels, policy("user", { allow: { policyRef: "l59" } })]).allowed).toBe(true);
  });
});

describe("what nobody decides", () => {
  test("is denied when the server says so", () => {
    expect(decided([], toolInput(), "deny")).toMatchObject({ allowed: false, reason: "policy_missing" });
    const observing = policy("watch", { mode: "observe", allow: PASS });
    expect(decided([observing], toolInput(), "deny")).toMatchObject({ reason: "policy_missing" });
    expect(decided([policy("p", { allow: PASS })], toolInput(), "deny").allowed).toBe(true);
  });
});

describe("a tool whose arguments nobody knows yet", () => {
  const { args: _args, ...rest } = toolInput();
  const input = { ...rest, argsDeferred: true } as const;
  const small: ConditionSpec = { cel: "args.amount < 500" };
  const rows: [string, Parameters<typeof policy>[1], boolean][] = [
    ["a condition on arguments", { allow: small }, true],
    ["its negation", { allow: { not: small } }, true],
    ["a deny on arguments", { deny: small }, true],
    ["a deny on the negation", { deny: { not: small } }, true],
    ["exists of an argument", { allow: { exists: "args.amount" }, deny: { exists: "args.force" } }, true],
    ["arguments and something false", { allow: { all: [small, FAIL] } }, false],
    ["arguments or something false", { allow: { any: [small, FAIL] } }, true],
    ["something false beside", { allow: FAIL }, false],
    ["a deny that is true whatever they are", { allow: small, deny: { any: [small, PASS] } }, false],
    [
      "an error that has nothing to do with them",
      { allow: { all: [small, { cel: "context.tags.nope == ''" }] } },
      false,
    ],
    ["a library policy on arguments", { allow: { policyRef: "small" } }, true],
    ["the negation of a library policy on arguments", { deny: { policyRef: "small" } }, true],
  ];
  test.each(rows)("with %s", (_name, spec, allowed) => {
    expect(decided([policy("p", spec), library("small", { allow: small })], input).allowed).toBe(allowed);
  });
});

describe("limits", () => {
  const limits = [{ name: "per-hour", key: ["requester.id", "args.target"], max: 3, windowMs: 3_600_000 }];
  test("tell what an allowed call counts against", () => {
    const decision = decided([policy("p", { allow: PASS, limits }), policy("q", { allow: PASS })]);
    expect(decision.counts).toMatchObject([
      { policy: "platform/p", limit: "per-hour", max: 3, windowStartMs: 1_699_999_200_000, windowMs: 3_600_000 },
    ]);
    const other = decided([policy("p", { allow: PASS, limits })], toolInput({ args: { target: "dev" } }));
    expect(other.counts[0]?.keyDigest).not.toBe(decision.counts[0]?.keyDigest);
  });

  test("count nothing that is denied, observed, or deferred", () => {
    expect(decided([policy("p", { allow: FAIL, limits })]).counts).toEqual([]);
    expect(decided([policy("p", { mode: "observe", allow: PASS, limits })]).counts).toEqual([]);
    const { args: _args, ...rest } = toolInput();
    expect(decided([policy("p", { allow: PASS, limits })], { ...rest, argsDeferred: true })).toMatchObject({
      allowed: true,
      counts: [],
    });
  });

  test("whose key is absent, or that cannot be read, deny", () => {
    expect(decided([policy("p", { allow: PASS, limits })], toolInput({ args: {} }))).toMatchObject({
      reason: "policy_error",
      decidedBy: "platform/p",
      counts: [],
    });
    const broken = [{ name: "x", key: ["requester.shoes"], max: 1, windowMs: 60_000 }];
    expect(decided([policy("p", { allow: PASS, limits: broken })]).reason).toBe("policy_error");
  });
});

// What one decision says: values of matchers, precedence of reasons, reach of policies, guarded tools, failure.

import { describe, expect, test } from "vitest";
import type { ConditionSpec, PolicySpec } from "../../server/manifests/specs.ts";
import { compilePolicies } from "../../server/policy/compile.ts";
import { decide, structuralDenial } from "../../server/policy/evaluate.ts";
import { targetsOf, toolTargets } from "../../server/policy/targets.ts";
import type { LivePolicy, PolicyInput } from "../../server/policy/types.ts";
import { policy, toolInput, truthOf } from "./policy_fixtures.ts";

const TRUE: ConditionSpec = { match: { "requester.groups": ["engineering"] } };
const FALSE: ConditionSpec = { match: { "requester.groups": ["finance"] } };
const UNKNOWN: ConditionSpec = { match: { "requester.claims": { absent: ["x"] } } };

function decided(policies: LivePolicy[], input: PolicyInput = toolInput()) {
  return decide(compilePolicies(policies, "7"), input, targetsOf(input));
}

describe("a condition", () => {
  const cases: [string, ConditionSpec, boolean | undefined][] = [
    ["a group in the list", { match: { "requester.groups": ["a", "oncall"] } }, true],
    ["no group in the list", { match: { "requester.groups": ["a"] } }, false],
    ["an id", { match: { "requester.ids": ["bob", "ana"] } }, true],
    ["a kind", { match: { "requester.kinds": ["service"] } }, false],
    ["a claim with the value", { match: { "requester.claims": { customer_id: ["123"] } } }, true],
    ["a claim with another value", { match: { "requester.claims": { customer_id: ["124"] } } }, false],
    ["an absent claim", { match: { "requester.claims": { plan: ["pro"] } } }, undefined],
    ["a key of Object.prototype", { match: { "requester.claims": { constructor: ["x"] } } }, undefined],
    ["agent name and label", { match: { "agent.names": ["releaser"], "agent.labels": { team: ["release"] } } }, true],
    [
      "tool effect, type, label",
      { match: { "tool.effects": ["write"], "tool.types": ["http"], "tool.labels": { risk: ["high"] } } },
      true,
    ],
    [
      "workflow name and label",
      { match: { "workflow.names": ["release"], "workflow.labels": { tier: ["dev"] } } },
      false,
    ],
    [
      "tags and labels and metadata",
      {
        match: {
          "context.tags": { "customer-id": ["123"] },
          "context.labels": { tier: ["prod"] },
          "context.metadata": { ticket: ["C-1"] },
        },
      },
      true,
    ],
    [
      "two keys, one false, one unknown",
      { match: { "requester.ids": ["bob"], "requester.claims": { absent: ["x"] } } },
      false,
    ],
    [
      "two keys, one true, one unknown",
      { match: { "requester.ids": ["ana"], "requester.claims": { absent: ["x"] } } },
      undefined,
    ],
    ["an unknown matcher", { match: { "requester.shoes": ["red"] } }, undefined],
    ["a matcher with a scalar", { match: { "requester.ids": "ana" as never } }, undefined],
    ["not true", { not: TRUE }, false],
    ["not unknown", { not: UNKNOWN }, undefined],
    ["all with a false", { all: [TRUE, UNKNOWN, FALSE] }, false],
    ["all with an unknown", { all: [TRUE, UNKNOWN] }, undefined],
    ["any with a true", { any: [UNKNOWN, TRUE] }, true],
    ["any with an unknown", { any: [UNKNOWN, FALSE] }, undefined],
    ["an empty all", { all: [] }, undefined],
    ["an empty match", { match: {} }, undefined],
    ["an empty node", {}, undefined],
    ["two members at once", { all: [TRUE], any: [TRUE] }, undefined],
    ["a window without times", { time: {} } as ConditionSpec, undefined],
    ["CEL", { cel: 'args.target == "prod" && "oncall" in requester.groups' }, true],
    ["CEL on what is absent", { cel: "args.amount < 5" }, undefined],
    ["CEL that is no condition", { cel: "args.target" }, undefined],
    ["CEL that does not compile", { cel: "args.target ==" }, undefined],
    ["CEL over the chain", { cel: 'chain.exists(c, c.kind == "agent" && c.name == "releaser")' }, true],
    ["CEL over the time", { cel: 'now >= timestamp("2023-11-14T22:13:20Z") && now.getFullYear() == 2023' }, true],
    ["CEL that takes too long", { cel: "[1,2].all(i, range.all(j, true))" }, undefined],
    ["exists of a tag", { exists: "context.tags.customer-id" }, true],
    ["exists of an argument", { exists: "args.target" }, true],
    ["exists of what is absent", { exists: "args.order.id" }, false],
    ["not exists", { not: { exists: "requester.claims.plan" } }, true],
    ["exists of no path", { exists: "requester.shoes" }, undefined],
    [
      "a window that contains now",
      { time: { in: [{ from: "2023-11-14T22:13:20Z", to: "2023-11-15T00:00:00Z" }] } },
      true,
    ],
    ["a window that ends now", { time: { in: [{ from: "2023-11-14T00:00:00Z", to: "2023-11-14T22:13:20Z" }] } }, false],
    [
      "one of two windows",
      {
        time: {
          in: [
            { from: "2020-01-01T00:00:00Z", to: "2020-01-02T00:00:00Z" },
            { cron: "0 22 * * tue", duration: "1h", timeZone: "UTC" },
          ],
        },
      },
      true,
    ],
    [
      "a window that cannot be read beside one that contains now",
      { time: { in: [{ cron: "x" }, { cron: "0 22 * * tue", duration: "1h", timeZone: "UTC" }] } },
      true,
    ],
    ["a library policy that is not there", { policyRef: "nobody" }, undefined],
    ["null", null as unknown as ConditionSpec, undefined],
  ];
  test.each(cases)("with %s is %o → %s", (_name, spec, value) => {
    expect(truthOf(spec)).toBe(value);
  });

  test("on an attribute that the checkpoint lacks is unknown", () => {
    const { tool: _tool, agent: _agent, ...input } = toolInput({ checkpoint: "workflow.run" });
    expect(truthOf({ not: { match: { "tool.names": ["x"] } } }, input)).toBe(undefined);
    expect(truthOf({ match: { "agent.labels": { team: ["release"] } } }, input)).toBe(undefined);
  });

  test("on an attribute of the wrong type is unknown", () => {
    const input = toolInput();
    const broken = { ...input, requester: { ...input.requester, groups: 7, claims: { customer_id: 123 } } };
    expect(truthOf(TRUE, broken as never)).toBe(undefined);
    expect(truthOf({ match: { "requester.claims": { customer_id: ["123"] } } }, broken as never)).toBe(undefined);
  });
});

describe("one policy", () => {
  const table: [string, ConditionSpec | undefined, ConditionSpec | undefined, string][] = [
    ["allow true", TRUE, undefined, "allowed"],
    ["allow true, deny false", TRUE, FALSE, "allowed"],
    ["deny false alone", undefined, FALSE, "allowed"],
    ["allow false", FALSE, undefined, "not_permitted"],
    ["deny true beats allow true", TRUE, TRUE, "forbidden"],
    ["deny true beats allow unknown", UNKNOWN, TRUE, "forbidden"],
    ["allow unknown", UNKNOWN, undefined, "policy_error"],
    ["deny unknown beats allow false", FALSE, UNKNOWN, "policy_error"],
    ["deny unknown", TRUE, UNKNOWN, "policy_error"],
    ["neither condition", undefined, undefined, "policy_error"],
  ];
  test.each(table)("with %s", (_name, allow, deny, reason) => {
    const decision = decided([policy("p", { ...(allow && { allow }), ...(deny && { deny }) })]);
    expect(decision.reason).toBe(reason);
    expect(decision.allowed).toBe(reason === "allowed");
    expect(decision.decidedBy).toBe(reason === "allowed" ? "" : "platform/p");
    expect(decision.message).toBe(reason === "allowed" ? "" : "p says no");
  });
});

describe("many policies", () => {
  test("are all evaluated, sorted, and the strongest reason decides, first name first", () => {
    const decision = decided([
      policy("d", { allow: FALSE }),
      policy("c", { deny: TRUE }),
      policy("b", { deny: TRUE }),
      policy("a", { allow: UNKNOWN }),
      policy("z", { allow: TRUE }, "system"),
    ]);
    expect(decision.verdicts.map((verdict) => [verdict.name, verdict.reason])).toEqual([
      ["a", "policy_error"],
      ["b", "forbidden"],
      ["c", "forbidden"],
      ["d", "not_permitted"],
      ["z", "allowed"],
    ]);
    expect(decision).toMatchObject({
      allowed: false,
      reason: "forbidden",
      decidedBy: "platform/b",
      policyRevision: "7",
    });
  });

  test("that only observe are recorded and decide nothing", () => {
    const decision = decided([policy("watch", { mode: "observe", deny: TRUE })]);
    expect(decision).toMatchObject({ allowed: true, reason: "allowed" });
    expect(decision.verdicts).toMatchObject([{ name: "watch", mode: "observe", passes: false, reason: "forbidden" }]);
  });

  test("none attached allows with no verdict", () => {
    expect(decided([])).toMatchObject({ allowed: true, verdicts: [], decidedBy: "" });
  });
});

describe("attachment", () => {
  const deny = (spec: Partial<PolicySpec>, namespace?: string) => policy("p", { deny: TRUE, ...spec }, namespace);
  const reaches: [string, LivePolicy, boolean][] = [
    ["its tool", deny({}), true],
    ["another tool", deny({ attachTo: [{ kind: "Tool", name: "other" }] }), false],
    ["the agent", deny({ attachTo: [{ kind: "Agent", name: "releaser" }] }), true],
    ["the system", deny({ attachTo: [{ kind: "AgentSystem", name: "release-system" }] }), true],
    ["the workflow", deny({ attachTo: [{ kind: "WorkflowTemplate", name: "release" }] }), true],
    ["its namespace", deny({ attachTo: [{ kind: "Namespace", name: "platform" }] }), true],
    ["a tool of that name from another namespace", deny({}, "other"), false],
    ["a foreign namespace", deny({ attachTo: [{ kind: "Namespace", name: "platform" }] }, "other"), false],
    ["a tool anywhere, from system", deny({}, "system"), true],
    ["a namespace, from system", deny({ attachTo: [{ kind: "Namespace", name: "platform" }] }, "system"), true],
    ["nothing, as a library policy", deny({ attachTo: [] }), false],
    ["a checkpoint that it does not name", deny({ checkpoints: ["agent.run", "workflow.run"] }), false],
    [
      "one of two entries",
      deny({
        attachTo: [
          { kind: "Tool", name: "x" },
          { kind: "Agent", name: "releaser" },
        ],
      }),
      true,
    ],
  ];
  test.each(reaches)("of a policy to %s", (_name, attached, reached) => {
    const decision = decided([attached]);
    expect(decision.verdicts).toHaveLength(reached ? 1 : 0);
    expect(decision.allowed).toBe(!reached);
  });

  test("to a namespace reaches a shared tool through the agent's namespace", () => {
    const input = toolInput({ tool: { ...toolInput().tool!, namespace: "system" } });
    const policies = [
      policy("ns", { deny: TRUE, attachTo: [{ kind: "Namespace", name: "platform" }] }),
      policy("tool", { deny: TRUE }),
    ];
    expect(decided(policies, input).verdicts.map((verdict) => verdict.name)).toEqual(["ns"]);
  });

  test("counts once when many targets find the same policy", () => {
    const attachTo = [
      { kind: "Tool", name: "deploy" },
      { kind: "Agent", name: "releaser" },
      { kind: "Namespace", name: "platform" },
    ] as const;
    expect(decided([policy("p", { deny: TRUE, attachTo })]).verdicts).toHaveLength(1);
  });

  test("targets name the chain and each namespace once", () => {
    const of = {
      workflow: { namespace: "a", name: "w" },
      system: { namespace: "a", name: "s" },
      agent: { namespace: "b", name: "g" },
      tool: { namespace: "system", name: "t" },
    };
    expect(toolTargets(of).map((target) => `${target.kind}/${target.namespace}/${target.name}`)).toEqual([
      "WorkflowTemplate/a/w",
      "AgentSystem/a/s",
      "Agent/b/g",
      "Tool/system/t",
      "Namespace/a/a",
      "Namespace/b/b",
      "Namespace/system/system",
    ]);
  });
});

describe("a guarded tool", () => {
  const guarded = toolInput({ tool: { ...toolInput().tool!, guarded: true } });
  const allow = TRUE;
  const cases: [string, LivePolicy[], string][] = [
    ["no policy", [], "policy_missing"],
    ["an allowing policy on it", [policy("p", { allow })], "allowed"],
    ["an allowing policy on it from system", [policy("p", { allow }, "system")], "allowed"],
    ["a policy on it that denies", [policy("p", { allow: FALSE })], "not_permitted"],
    ["only an observing policy", [policy("p", { allow, mode: "observe" })], "policy_missing"],
    [
      "only a policy on the agent",
      [policy("p", { allow, attachTo: [{ kind: "Agent", name: "releaser" }] })],
      "policy_missing",
    ],
    [
      "only a policy on the namespace",
      [policy("p", { allow, attachTo: [{ kind: "Namespace", name: "platform" }] })],
      "policy_missing",
    ],
    ["only a policy of another checkpoint", [policy("p", { allow, checkpoints: ["agent.run"] })], "policy_missing"],
    ["only a policy of another namespace", [policy("p", { allow }, "other")], "policy_missing"],
    [
      "a denying policy on the agent alone",
      [policy("p", { deny: TRUE, attachTo: [{ kind: "Agent", name: "releaser" }] })],
      "policy_missing",
    ],
  ];
  test.each(cases)("with %s", (_name, policies, reason) => {
    const decision = decided(policies, guarded);
    expect(decision.reason).toBe(reason);
    expect(decision.allowed).toBe(reason === "allowed");
  });
});

describe("failure", () => {
  test("a policy whose spec is gone denies its namespace, and from system everybody", () => {
    for (const namespace of ["platform", "system"]) {
      for (const spec of [
        null,
        {},
        { attachTo: [{ kind: "Shoe", name: "x" }], checkpoints: ["tool.call"] },
        { attachTo: [], checkpoints: ["never"] },
      ]) {
        const decision = decided([{ ...policy("broken", {}, namespace), spec: spec as never }]);
        expect(decision).toMatchObject({
          allowed: false,
          reason: "policy_error",
          decidedBy: `${namespace}/broken`,
          message: "",
        });
      }
    }
    expect(decided([{ ...policy("broken", {}, "other"), spec: null as never }]).allowed).toBe(true);
  });

  test("an input that throws while it is read denies", () => {
    const input = toolInput();
    const hostile = { ...input, requester: { ...input.requester } };
    Object.defineProperty(hostile.requester, "groups", {
      enumerable: false,
      get: () => {
        throw new Error("boom");
      },
    });
    expect(decided([policy("p", { allow: TRUE })], hostile)).toMatchObject({
      allowed: false,
      reason: "policy_error",
      decidedBy: "platform/p",
    });
    const unhashable = toolInput({ args: Number.NaN });
    expect(decided([], unhashable)).toMatchObject({ allowed: false, reason: "policy_error", inputDigest: "" });
  });
});

describe("records", () => {
  test("the digest covers the closed document and not the time nor strange members", () => {
    const digest = decided([]).inputDigest;
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(decided([], toolInput({ nowMs: 5 })).inputDigest).toBe(digest);
    expect(decided([], { ...toolInput(), extra: 1 } as never).inputDigest).toBe(digest);
    expect(decided([], toolInput({ args: { target: "dev" } })).inputDigest).not.toBe(digest);
  });

  test("a structural denial has no verdict", () => {
    const at = { checkpoint: "tool.call", policyRevision: "7", nowMs: 5 } as const;
    expect(structuralDenial("undeclared", { ...at, input: toolInput() })).toEqual({
      ...at,
      allowed: false,
      reason: "undeclared",
      decidedBy: "",
      message: "",
      verdicts: [],
      counts: [],
      inputDigest: decided([]).inputDigest,
    });
    expect(structuralDenial("stale_lease", at).inputDigest).toBe("");
  });
});

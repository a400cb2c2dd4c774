// Policy tests as a folder of files: what passes, what fails and where, pairs that nobody listed, coverage, and input that is wrong.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { parseAllDocuments, stringify } from "yaml";
import { coverageOf } from "../../server/policy/test_coverage.ts";
import { type FolderResult, testFolder } from "../../server/policy/test_folder.ts";

const EXAMPLES = resolve(import.meta.dirname, "../../examples");

const MANIFESTS = `apiVersion: orloj.dev/v1
kind: Tool
metadata: {name: pay, labels: {risk: high}}
spec:
  type: command
  description: Pays
  command: {argv: [echo, paid]}
  inputSchema: {type: object, required: [amount], properties: {amount: {type: integer}, note: {type: string}}}
  effect: write
  guarded: true
---
apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: clerk}
spec:
  model: {provider: scripted, script: [{text: ok}]}
  tools: [{ref: pay, as: pay_out}]
---
apiVersion: orloj.dev/v1
kind: AgentSystem
metadata: {name: desk}
spec: {nodes: [{name: clerk, agent: clerk}], output: {value: "\${{ nodes.clerk.output }}"}}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: desk, annotations: {stage: live}}
spec:
  system: desk
  tags:
    customer: {from: claim, claim: customer_id, required: true}
    tier: {from: template, value: gold}
    note: {from: request, required: false}
---
apiVersion: orloj.dev/v1
kind: Policy
metadata: {name: pay-policy}
spec:
  attachTo: [{kind: Tool, selector: {risk: high}}]
  allow:
    all:
      - policyRef: staff
      - cel: args.amount <= 100
  deny: {match: {context.tags: {customer: ["7"]}}}
---
apiVersion: orloj.dev/v1
kind: Policy
metadata: {name: staff, namespace: system}
spec:
  attachTo: []
  allow: {match: {requester.groups: [staff]}}
---
apiVersion: orloj.dev/v1
kind: Policy
metadata: {name: unused, namespace: system}
spec:
  attachTo: []
  allow: {match: {requester.groups: [nobody]}}
`;

const HEAD = `apiVersion: orloj.dev/v1
kind: PolicyTest
metadata: {name: t}
spec:
  now: 2026-03-03T10:00:00Z
  requesters:
    ana: {groups: [staff], claims: {customer_id: "1"}}
    bob: {claims: {customer_id: "1"}}
    eve: {groups: [staff], claims: {customer_id: "7"}}
  targets:
    small: {workflow: desk, agent: clerk, tool: pay, args: {amount: 100}}
    large: {workflow: desk, agent: clerk, tool: pay, args: {amount: 101}}
    any: {workflow: desk, agent: clerk, tool: pay_out}
`;

function source(file: string, text: string) {
  return { file, bytes: Buffer.from(text) };
}

function tested(cases: string, manifests = MANIFESTS): FolderResult {
  return testFolder([source("m.yaml", manifests)], [source("t.policytest.yaml", `${HEAD}  cases:\n${cases}`)]);
}

function problems({ pairs }: FolderResult): string[] {
  return pairs
    .filter(({ problem }) => problem !== "")
    .map(({ at, requester, target, problem }) => `${at.line}: ${requester} × ${target}: ${problem}`);
}

test("pairs are decided as on the server, and what is as expected passes", () => {
  const result = tested(`
    - {requester: ana, target: [small, any], expect: allow}
    - {requester: ana, target: large, expect: deny, reason: not_permitted, decidedBy: pay-policy}
    - {requester: eve, target: small, expect: deny, reason: forbidden, decidedBy: default/pay-policy}
`);
  expect(result.diagnostics).toEqual([]);
  expect(problems(result)).toEqual([]);
  expect(result.pairs).toHaveLength(9);
  expect(result.pairs.filter(({ listed }) => !listed)).toHaveLength(5);
});

test("a failure names the line of its case, and file and line of the deciding node, in a library policy too", () => {
  const result = tested(`
    - {requester: [ana, bob], target: small, expect: allow}
    - {requester: ana, target: large, expect: deny, reason: forbidden}
    - {requester: eve, target: small, expect: deny, decidedBy: staff}
    - {requester: ana, target: any, expect: deny}
`);
  expect(problems(result)).toEqual([
    "16: bob × small: expected allow, but it is denied: not_permitted by default/pay-policy",
    "17: ana × large: expected forbidden, but it is denied: not_permitted by default/pay-policy",
    "18: eve × small: expected default/staff to decide, but it is denied: forbidden by default/pay-policy",
    "19: ana × any: expected deny, but it is allowed",
  ]);
  const places = result.pairs
    .filter(({ problem }) => problem !== "")
    .map(
      ({ deciding }) =>
        deciding && `${deciding.place?.file}:${deciding.place?.line} ${deciding.policy} ${deciding.path}`,
    );
  const lineOf = (text: string) => MANIFESTS.split("\n").findIndex((line) => line.includes(text)) + 1;
  expect(places).toEqual([
    `m.yaml:${lineOf("[staff]")} system/staff spec.allow.match.requester.groups`,
    `m.yaml:${lineOf("cel:")} default/pay-policy spec.allow.all[1].cel`,
    `m.yaml:${lineOf('["7"]')} default/pay-policy spec.deny.match.context.tags.customer`,
    undefined,
  ]);
});

test("a pair that no case lists fails when it is allowed", () => {
  const result = tested("\n    - {requester: ana, target: small, expect: allow}\n");
  expect(problems(result)).toEqual(["13: ana × any: expected deny, but it is allowed"]);
  expect(result.pairs.find(({ problem }) => problem !== "")).toMatchObject({ listed: false });
});

test("a case has its own time; the other pairs keep that of the test", () => {
  const windowed = MANIFESTS.replace(
    'deny: {match: {context.tags: {customer: ["7"]}}}',
    "deny: {time: {in: [{from: 2026-04-01T00:00:00Z, to: 2026-04-02T00:00:00Z}]}}",
  );
  const result = tested(
    `
    - {requester: [ana, eve], target: [small, any], expect: allow}
    - {requester: ana, target: small, now: 2026-04-01T12:00:00Z, expect: deny, reason: forbidden}
`,
    windowed,
  );
  expect(result.diagnostics).toEqual([]);
  expect(result.pairs).toHaveLength(10);
  expect(problems(result)).toEqual([]);
});

test("a limit decides by what a case says was counted before; no case counts for another", () => {
  const limited = MANIFESTS.replace(
    "  deny: {match: {context.tags",
    "  limits: [{name: per-hour, key: [requester.id], max: 2, window: 1h}]\n  deny: {match: {context.tags",
  );
  const result = tested(
    `
    - {requester: ana, target: [small, any], expect: allow}
    - {requester: ana, target: small, used: {pay-policy/per-hour: 1}, expect: allow}
    - {requester: ana, target: small, used: {default/pay-policy/per-hour: 2}, expect: deny, reason: limit_exceeded, decidedBy: pay-policy}
    - {requester: ana, target: small, used: {pay-policy/per-hour: 3}, expect: allow}
    - {requester: ana, target: large, used: {pay-policy/per-hour: 3}, expect: deny, reason: not_permitted}
`,
    limited,
  );
  expect(result.diagnostics).toEqual([]);
  expect(problems(result)).toEqual([
    "19: ana × small: expected allow, but it is denied: limit_exceeded by default/pay-policy",
  ]);
  const lineOf = (text: string) => limited.split("\n").findIndex((line) => line.includes(text)) + 1;
  expect(result.pairs.find(({ problem }) => problem !== "")?.deciding).toMatchObject({
    path: "spec.limits[0]",
    place: { file: "m.yaml", line: lineOf("limits:") },
  });
  const unknown = tested(
    "\n    - {requester: ana, target: small, used: {pay-policy/per-day: 1}, expect: allow}\n",
    limited,
  );
  expect(unknown.diagnostics).toMatchObject([
    { line: 16, code: "E-REFERENCE", hint: "known: default/pay-policy/per-hour, pay-policy/per-hour" },
  ]);
});

test("coverage counts true, false and unknown of each leaf once, and leaves of a library policy that nobody uses", () => {
  const { leaves } = tested(`
    - {requester: ana, target: [small, any], expect: allow}
    - {requester: ana, target: large, expect: deny}
`);
  expect(leaves.map(({ policy, path, seen, missing }) => [`${policy} ${path}`, seen, missing])).toEqual([
    ["default/pay-policy spec.allow.all[1].cel", ["true", "false"], ["unknown"]],
    ["default/pay-policy spec.deny.match.context.tags.customer", ["true", "false"], ["unknown"]],
    ["system/staff spec.allow.match.requester.groups", ["true", "false"], []],
    ["system/unused spec.allow.match.requester.groups", [], ["true", "false"]],
  ]);
  expect(coverageOf(leaves)).toEqual({ covered: 6, possible: 10 });
  expect(leaves[0]?.place).toMatchObject({ file: "m.yaml" });
});

describe("structure comes before policies", () => {
  const more = (target: string, expectation: string) =>
    testFolder(
      [source("m.yaml", MANIFESTS)],
      [
        source(
          "t.policytest.yaml",
          `${HEAD.replace(/targets:[\s\S]*/, `targets:\n    it: ${target}\n`)}  cases:\n    - {requester: [ana, bob, eve], target: it, ${expectation}}\n`,
        ),
      ],
    );
  test.each([
    [
      "arguments that do not fit",
      "{workflow: desk, agent: clerk, tool: pay, args: {amount: much}}",
      "expect: deny, reason: invalid_args",
    ],
    ["an agent, at agent.run", "{workflow: desk, agent: clerk}", "expect: allow"],
    ["a workflow, at workflow.run", "{workflow: desk, tags: {note: hi}}", "expect: allow"],
  ])("%s", (_name, target, expectation) => {
    const result = more(target, expectation);
    expect(result.diagnostics).toEqual([]);
    expect(problems(result)).toEqual([]);
  });
});

describe("what is wrong is told with its place", () => {
  const ok = "    - {requester: ana, target: small, expect: allow}\n";
  const rows: [string, string, string][] = [
    [
      "an unknown requester",
      `${HEAD}  cases:\n    - {requester: anna, target: small, expect: allow}\n`,
      '15:19 E-REFERENCE there is no requester "anna" did you mean "ana"?',
    ],
    [
      "an unknown target",
      `${HEAD}  cases:\n    - {requester: ana, target: [small, smal], expect: allow}\n`,
      '15:40 E-REFERENCE there is no target "smal"',
    ],
    [
      "no expectation",
      `${HEAD}  cases:\n    - {requester: ana, target: small}\n`,
      '15:7 E-MISSING "expect" is missing',
    ],
    ["another verdict", `${HEAD}  cases:\n    - {requester: ana, target: small, expect: maybe}\n`, "15:47 E-VALUE"],
    [
      "a reason for what is allowed",
      `${HEAD}  cases:\n    - {requester: ana, target: small, expect: allow, reason: forbidden}\n`,
      "15:54 E-VALUE what is allowed has no reason",
    ],
    [
      "a reason that only leases have",
      `${HEAD}  cases:\n    - {requester: ana, target: small, expect: deny, reason: stale_lease}\n`,
      "E-VALUE",
    ],
    [
      "a pair that is listed twice",
      `${HEAD}  cases:\n${ok}${ok}`,
      "16:7 E-DUPLICATE ana × small at this time is listed before, in line 15",
    ],
    ["no cases", `${HEAD}  cases: []\n`, "14:3 E-VALUE no case is listed"],
    [
      "a time without an offset",
      `${HEAD.replace("10:00:00Z", "10:00:00")}  cases:\n${ok}`,
      '5:3 E-VALUE "2026-03-03T10:00:00" is not a time with an offset',
    ],
    ["no time", `${HEAD.replace(/ {2}now:.*\n/, "")}  cases:\n${ok}`, 'E-MISSING "now" is missing'],
    [
      "a tool without its agent",
      `${HEAD.replace("agent: clerk, tool: pay,", "tool: pay,")}  cases:\n${ok}`,
      '11:29 E-MISSING "tool" needs "agent"',
    ],
    ["arguments without a tool", `${HEAD.replace("tool: pay, args", "args")}  cases:\n${ok}`, '"args" needs "tool"'],
    [
      "an unknown workflow",
      `${HEAD.replace("workflow: desk, agent: clerk, tool: pay, args: {amount: 100}", "workflow: dask")}  cases:\n${ok}`,
      '11:5 E-REFERENCE workflow default/dask does not exist; apply its WorkflowTemplate did you mean "desk"?',
    ],
    [
      "an agent that no node has",
      `${HEAD.replace("agent: clerk", "agent: clark")}  cases:\n${ok}`,
      '11:5 E-REFERENCE no node of the workflow is agent "clark" did you mean "clerk"?',
    ],
    [
      "an unknown tool",
      `${HEAD.replace("tool: pay,", "tool: play,")}  cases:\n${ok}`,
      'there is no Tool "play" did you mean "pay"?',
    ],
    [
      "a tag that the caller may not set",
      `${HEAD.replace("{amount: 100}}", '{amount: 100}, tags: {customer: "1"}}')}  cases:\n${ok}`,
      'tag "customer" cannot be set by the caller it comes from claim "customer_id"',
    ],
    [
      "a tag that nobody declares",
      `${HEAD.replace("{amount: 100}}", '{amount: 100}, tags: {shoe: "1"}}')}  cases:\n${ok}`,
      "the workflow declares no such tag",
    ],
    [
      "a count of no limit",
      `${HEAD}  cases:\n    - {requester: ana, target: small, expect: allow, used: {pay-policy/none: 3}}\n`,
      'no policy has a limit "pay-policy/none" no policy here has a limit',
    ],
    [
      "a negative count",
      `${HEAD}  cases:\n    - {requester: ana, target: small, expect: allow, used: {a/b: -1}}\n`,
      "a count is a whole number from 0",
    ],
    ["another kind", HEAD.replace("PolicyTest", "Policy"), "E-VALUE"],
    ["an unknown key", `${HEAD.replace("  now:", "  then: x\n  now:")}  cases:\n${ok}`, "5:3 E-UNKNOWN-KEY"],
    ["no YAML", "{", "E-YAML"],
    ["an alias", `a: &x {}\nb: *x\n`, "E-YAML-LIMIT"],
    ["an empty file", "# nothing yet\n", "1:1 E-MISSING the file holds no policy test"],
  ];
  test.each(rows)("%s", (_name, text, wanted) => {
    const { diagnostics, pairs } = testFolder([source("m.yaml", MANIFESTS)], [source("t.policytest.yaml", text)]);
    const lines = diagnostics.map(
      ({ line, column, code, message, hint }) => `${line}:${column} ${code} ${message} ${hint}`,
    );
    expect(pairs).toEqual([]);
    expect(
      lines.some((line) => line.includes(wanted)),
      lines.join("\n"),
    ).toBe(true);
    expect(diagnostics.every(({ file }) => file === "t.policytest.yaml")).toBe(true);
  });

  test("errors of manifests are told, and then nothing is decided", () => {
    const { diagnostics, pairs } = tested(ok, MANIFESTS.replace("policyRef: staff", "policyRef: stuff"));
    expect(diagnostics).toMatchObject([{ file: "m.yaml", code: "E-REFERENCE" }]);
    expect(pairs).toEqual([]);
  });
});

describe("the examples", () => {
  const tests = (readdirSync(EXAMPLES, { recursive: true }) as string[]).filter((name) =>
    name.endsWith(".policytest.yaml"),
  );
  const folders = [...new Set(tests.map((name) => dirname(name)))].sort();
  const filesOf = (folder: string, wanted: RegExp) =>
    readdirSync(join(EXAMPLES, folder))
      .filter((name) => wanted.test(name))
      .map((name) => source(name, readFileSync(join(EXAMPLES, folder, name), "utf8")));

  test("there are some", () => expect(folders).toEqual(["governed-deployment", "incident-triage", "support-desk"]));

  /** Nobody else declares the tool, so that structure denies before this policy is asked. */
  const UNREACHED = "restarts-only-in-incidents";

  // A policy that could be switched off without a failing case would not be tested.
  test.each(folders)("%s: every enforcing policy is needed for its tests to pass", (folder) => {
    const own = filesOf(folder, /\.policytest\.yaml$/);
    const manifests = filesOf(folder, /^[^.]+\.yaml$/);
    expect(problems(testFolder(manifests, own))).toEqual([]);
    const policies = manifests.find(({ file }) => file === "policies.yaml");
    const others = manifests.filter((file) => file !== policies);
    const documents = parseAllDocuments(policies!.bytes.toString()).map((document) => document.toJS());
    const attached = documents.filter(({ spec }) => spec.attachTo.length > 0);
    expect(attached.length).toBeGreaterThan(0);
    for (const observing of attached) {
      const changed = documents.map((document) =>
        document === observing ? { ...document, spec: { ...document.spec, mode: "observe" } } : document,
      );
      const text = changed.map((document) => stringify(document)).join("---\n");
      const result = testFolder([...others, source("policies.yaml", text)], own);
      expect(result.diagnostics, observing.metadata.name).toEqual([]);
      expect(problems(result).length > 0, observing.metadata.name).toBe(observing.metadata.name !== UNREACHED);
    }
  });
});

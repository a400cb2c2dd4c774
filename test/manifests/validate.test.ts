// Holds validation to its table of invalid manifests, its defaults, and its one-pass, sorted, strict reports.

import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { formatDiagnostic } from "../../server/manifests/diagnostics.ts";
import { parseFile } from "../../server/manifests/parse.ts";
import type { Manifest } from "../../server/manifests/specs.ts";
import { type ValidateOptions, validateFiles } from "../../server/manifests/validate.ts";
import { INVALID_MANIFESTS } from "./invalid_manifests.ts";

function validate(yaml: string, options: ValidateOptions = {}) {
  return validateFiles([parseFile({ file: "m.yaml", bytes: Buffer.from(yaml) })], () => undefined, options);
}

describe("invalid manifests", () => {
  it("has at least 70 rows with different names and one mark each", () => {
    expect(new Set(INVALID_MANIFESTS.map((row) => row.name)).size).toBe(INVALID_MANIFESTS.length);
    expect(INVALID_MANIFESTS.length).toBeGreaterThanOrEqual(70);
    for (const row of INVALID_MANIFESTS) expect(row.yaml.split("§").length, row.name).toBe(2);
  });

  for (const { name, yaml, code, says, severity = "error" } of INVALID_MANIFESTS) {
    it(`reports ${code} with place and hint for ${name}`, () => {
      const before = yaml.slice(0, yaml.indexOf("§"));
      const line = before.split("\n").length;
      const column = before.length - before.lastIndexOf("\n");
      const { diagnostics } = validate(yaml.replace("§", ""));
      const shown = diagnostics.map(formatDiagnostic).join("\n");
      const found = diagnostics.filter((diagnostic) => diagnostic.code === code);
      expect(found.length, shown).toBeGreaterThan(0);
      const exact = found.find((diagnostic) => diagnostic.line === line && diagnostic.column === column);
      expect(exact, `expected ${line}:${column} in\n${shown}`).toBeDefined();
      expect(exact?.severity).toBe(severity);
      expect(formatDiagnostic(exact!)).toContain(says);
    });
  }
});

describe("valid manifests", () => {
  const minimal = `
apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: a}
spec: {model: {provider: scripted, script: [{text: hi}]}, tools: [t, {ref: t, as: search-docs}]}
---
apiVersion: orloj.dev/v1
kind: Tool
metadata: {name: t}
spec: {type: command, description: d, command: {argv: [jq]}, inputSchema: {type: object}, effect: read}
---
apiVersion: orloj.dev/v1
kind: Tool
metadata: {name: w}
spec: {type: http, description: d, http: {method: POST, url: "\${{ secret.pay.url }}/x/\${{ args.id }}"}, inputSchema: {type: object}, effect: write}
---
apiVersion: orloj.dev/v1
kind: AgentSystem
metadata: {name: s}
spec:
  nodes: [{name: n, agent: a}, {name: left, agent: a}, {name: right, agent: a}, {name: end, agent: a, input: {l: "\${{ nodes.left.output }}", r: "\${{ nodes.right.output }}"}}]
  edges: [{from: n, to: [left, right]}, {from: [left, right], to: end}]
  output: {value: "\${{ nodes.end.output }}"}
---
apiVersion: orloj.dev/v1
kind: Policy
metadata: {name: p}
spec: {attachTo: [{kind: Tool, name: t}], allow: {match: {requester.groups: [ops]}}}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: f}
spec: {system: s}
`;

  it("fills in every default", () => {
    const { manifests, diagnostics } = validate(minimal, { defaultNamespace: "shop" });
    expect(diagnostics.map(formatDiagnostic)).toEqual([]);
    const specOf = (name: string) =>
      manifests.find(({ manifest }) => manifest.metadata.name === name)!.manifest as Manifest;
    expect(specOf("a").metadata.namespace).toBe("shop");
    expect((specOf("a") as Manifest<"Agent">).spec).toMatchObject({
      runtime: "model",
      limits: { maxTurns: 8, maxToolCalls: 16, timeoutMs: 120_000, maxOutputBytes: 65_536 },
      errorHandling: { onExhausted: "deadLetter" },
      tools: [
        { ref: "t", as: "t", onDenied: "fail" },
        { ref: "t", as: "search-docs" },
      ],
      requirements: { labels: {} },
    });
    const read = specOf("t") as Manifest<"Tool">;
    expect(read.spec).toMatchObject({
      timeoutMs: 30_000,
      guarded: false,
      idempotency: { mode: "none", header: "Idempotency-Key" },
    });
    expect([...read.spec.retry.on].sort()).toEqual([
      "ConnectionReset",
      "Http503",
      "Http5xx",
      "RateLimited",
      "SqlConflict",
      "Timeout",
    ]);
    const write = specOf("w") as Manifest<"Tool">;
    expect(write.spec.idempotency).toEqual({
      mode: "cached",
      header: "Idempotency-Key",
      onUnknownOutcome: "deadLetter",
    });
    expect(write.spec.retry).toMatchObject({ on: ["RateLimited", "Http503", "SqlConflict"], maxAttempts: 3 });
    expect((specOf("p") as Manifest<"Policy">).spec).toMatchObject({ mode: "enforce", checkpoints: ["tool.call"] });
    expect((specOf("f") as Manifest<"WorkflowTemplate">).spec).toMatchObject({
      parameters: { type: "object" },
      timeoutMs: 900_000,
      cancellation: { graceMs: 10_000 },
      priority: "normal",
      retry: {
        on: ["ModelUnavailable", "AgentUnavailable", "AgentFailed", "RateLimited", "Timeout"],
        maxAttempts: 3,
        backoff: { initialMs: 500, maxMs: 20_000, factor: 2, jitter: "full" },
      },
    });
  });

  it("accepts every example that ships with the product", () => {
    const root = new URL("../../examples/", import.meta.url);
    const files = (readdirSync(root, { recursive: true }) as string[]).filter(
      (name) => name.endsWith(".yaml") && !name.endsWith(".policytest.yaml"),
    );
    expect(files.length).toBeGreaterThan(0);
    const parsed = files.map((file) => parseFile({ file, bytes: readFileSync(new URL(file, root)) }));
    const errors = validateFiles(parsed, () => undefined).diagnostics.filter(({ severity }) => severity === "error");
    expect(errors.map(formatDiagnostic)).toEqual([]);
  });

  it("finds what is stored, in its own namespace before system", () => {
    const asked: string[] = [];
    const yaml = minimal.split("---")[0] as string;
    const file = parseFile({ file: "a.yaml", bytes: Buffer.from(yaml) });
    const { diagnostics } = validateFiles([file], (kind, namespace, name) => {
      asked.push(`${kind}/${namespace}/${name}`);
      return undefined;
    });
    expect(asked.slice(0, 2)).toEqual(["Tool/default/t", "Tool/system/t"]);
    expect(diagnostics.map(({ code }) => code)).toEqual(["E-REFERENCE", "E-REFERENCE"]);
  });
});

describe("reports", () => {
  it("gives all errors of a file in one pass, sorted by place", () => {
    const { diagnostics } = validate("kind: Agnet\nspec: {}\nfoo: 1\n");
    expect(diagnostics.map(({ line, column, code }) => `${line}:${column} ${code}`)).toEqual([
      "1:1 E-MISSING",
      "1:1 E-MISSING",
      "1:7 E-VALUE",
      "3:1 E-UNKNOWN-KEY",
    ]);
  });

  it("does not report a reference to a document that has errors of its own", () => {
    const yaml =
      "apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: a}\nspec: {model: {provider: scripted, script: [{text: hi}]}, tools: [t]}\n---\napiVersion: orloj.dev/v1\nkind: Tool\nmetadata: {name: t}\nspec: {type: http}\n";
    expect(validate(yaml).diagnostics.map(({ code }) => code)).not.toContain("E-REFERENCE");
  });

  it("turns warnings into errors when strict", () => {
    const yaml =
      'apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: a}\nspec: {systemPrompt: "${{ x }}", model: {provider: scripted, script: [{text: hi}]}}\n';
    expect(validate(yaml).diagnostics.map(({ severity }) => severity)).toEqual(["warning"]);
    expect(validate(yaml, { strict: true }).diagnostics.map(({ severity }) => severity)).toEqual(["error"]);
  });

  it("writes a finding on one line", () => {
    const [first] = validate("apiVersion: orloj.dev/v1\nkind: Agnet\nmetadata: {name: a}\nspec: {}\n").diagnostics;
    expect(formatDiagnostic(first!)).toBe(
      'm.yaml:2:7: error[E-VALUE] kind: "Agnet" is not one of Agent, AgentSystem, Tool, Policy, WorkflowTemplate (did you mean "Agent"?)',
    );
  });
});

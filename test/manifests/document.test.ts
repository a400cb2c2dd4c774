// Holds stored documents to their round trip: manifest → document → manifest, and document → YAML → the same manifest.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { canonicalJson, type Json } from "../../kit/json.ts";
import { AGENT_LIMITS } from "../../server/manifests/agent.ts";
import { formatDiagnostic } from "../../server/manifests/diagnostics.ts";
import { documentOf, manifestFromDocument } from "../../server/manifests/document.ts";
import { parseFile } from "../../server/manifests/parse.ts";
import { defaultCheckpoints, pathsReadBy } from "../../server/manifests/policy.ts";
import type { ConditionSpec, Manifest, Metadata, PolicySpec } from "../../server/manifests/specs.ts";
import { readFiles } from "../../server/manifests/validate.ts";

const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$/);
const text = fc
  .string({ unit: "grapheme", maxLength: 12 })
  .filter((value) => value.isWellFormed() && !/\0|\$\{\{/.test(value));
const metadata: fc.Arbitrary<Metadata> = fc.record({
  name: label,
  namespace: label,
  labels: fc.dictionary(label, fc.stringMatching(/^[a-z ]{0,10}$/), { maxKeys: 3, noNullPrototype: true }),
  annotations: fc.dictionary(label, fc.stringMatching(/^[a-z ]{0,10}$/), { maxKeys: 2, noNullPrototype: true }),
});
const durationMs = (min: number, max: number) => fc.integer({ min, max });
const retry = fc.record({
  on: fc.uniqueArray(fc.constantFrom("RateLimited", "Timeout", "Http503"), { maxLength: 3 }),
  maxAttempts: fc.integer({ min: 1, max: 100 }),
  backoff: fc.record({
    initialMs: durationMs(0, 1_000),
    maxMs: durationMs(1_000, 100_000),
    factor: fc.integer({ min: 1, max: 5 }),
    jitter: fc.constantFrom("full" as const, "none" as const),
  }),
});
const json: fc.Arbitrary<Json> = fc.oneof(
  text,
  fc.integer(),
  fc.boolean(),
  fc.array(fc.integer(), { maxLength: 3 }),
  fc.constant<Json>({ a: [1, { b: "c" }] }),
);

const agent = fc
  .record({
    metadata,
    description: text,
    prompt: fc.option(text, { nil: undefined }),
    limits: fc.integer({ min: 1, max: 9 }),
    timeoutMs: durationMs(100, 10_000_000),
    retry,
    output: json,
  })
  .map(
    (raw): Manifest<"Agent"> => ({
      kind: "Agent",
      metadata: raw.metadata,
      spec: {
        description: raw.description,
        runtime: "model",
        model: {
          provider: "scripted",
          name: "scripted",
          parameters: { temperature: 0.5 },
          script: [
            { when: "turn == 1", toolCalls: [{ name: "x", arguments: { a: "${{ input.a }}" } }], delayMs: 5 },
            { output: raw.output },
          ],
        },
        systemPrompt: raw.description,
        ...(raw.prompt !== undefined && { prompt: raw.prompt }),
        tools: [{ ref: "t", as: "search-docs", onDenied: "fail", onError: "tell" }],
        inputSchema: { type: "object", properties: { a: { type: "integer" } } },
        repairAttempts: 0,
        limits: { maxTurns: raw.limits, maxToolCalls: raw.limits, timeoutMs: raw.timeoutMs, maxOutputBytes: 1_000 },
        errorHandling: { retry: raw.retry, onExhausted: "fail" },
        requirements: { labels: raw.metadata.labels },
      },
    }),
  );

const outsideAgent = fc
  .record({
    metadata,
    http: fc.boolean(),
    word: fc.stringMatching(/^[a-z]{1,8}$/),
    allowPrivateNetwork: fc.boolean(),
    workDir: fc.option(label, { nil: undefined }),
    timeoutMs: durationMs(100, 10_000_000),
  })
  .map(({ http, word, allowPrivateNetwork, workDir, timeoutMs, ...raw }): Manifest<"Agent"> => {
    const headers = { Authorization: "Bearer ${{ secret.agent.token }}", [`X-${word}`]: word };
    const env = { [word]: "${{ secret.agent.token }}" };
    const block = http
      ? { http: { url: `https://agents.example/${word}`, headers, allowPrivateNetwork } }
      : { command: { argv: ["python3", `${word}.py`], env, ...(workDir !== undefined && { workDir }) } };
    return {
      kind: "Agent",
      metadata: raw.metadata,
      spec: {
        ...{ description: word, runtime: http ? "http" : "command", ...block, systemPrompt: "", tools: [] },
        ...{ outputSchema: { type: "object" }, repairAttempts: 0 },
        limits: { ...AGENT_LIMITS, timeoutMs, maxOutputBytes: 1_000 },
        errorHandling: { onExhausted: "fail" },
        requirements: { labels: {} },
      },
    };
  });

const tool = fc
  .record({
    metadata,
    retry,
    effect: fc.constantFrom("read" as const, "write" as const),
    timeoutMs: durationMs(100, 3_600_000),
    guarded: fc.boolean(),
    body: json,
  })
  .map(
    (raw): Manifest<"Tool"> => ({
      kind: "Tool",
      metadata: raw.metadata,
      spec: {
        type: "http",
        description: "d",
        http: {
          method: "POST",
          url: "${{ secret.a.url }}/x",
          headers: { "X-A": "${{ args.a }}" },
          body: raw.body,
          allowPrivateNetwork: raw.guarded,
        },
        inputSchema: { type: "object" },
        effect: raw.effect,
        guarded: raw.guarded,
        idempotency: { mode: "cached", header: "Idempotency-Key", onUnknownOutcome: "retry" },
        retry: raw.retry,
        timeoutMs: raw.timeoutMs,
      },
    }),
  );

const system = fc
  .record({
    metadata,
    names: fc.uniqueArray(fc.stringMatching(/^n[a-z0-9_]{0,5}$/), { minLength: 3, maxLength: 6 }),
    otherwise: fc.boolean(),
    value: json,
  })
  .map((raw): Manifest<"AgentSystem"> => {
    const [first = "", ...rest] = raw.names;
    return {
      kind: "AgentSystem",
      metadata: raw.metadata,
      spec: {
        description: "",
        nodes: raw.names.map((name) => ({ name, agent: "a", join: "all", route: "all", input: { v: raw.value } })),
        edges: rest.map((to, index) => ({
          from: first,
          to,
          ...(!raw.otherwise && { when: "true" }),
          otherwise: raw.otherwise,
          outcome: "succeeded",
          // Targets of one edge set are written as one.
          set: raw.otherwise ? 0 : index,
        })),
        output: { value: raw.value },
      },
    };
  });

const values = fc.array(fc.stringMatching(/^[a-z]{1,5}$/), { minLength: 1, maxLength: 3 });
const condition: fc.Arbitrary<ConditionSpec> = fc.letrec<{ node: ConditionSpec }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 3 },
    fc.record({
      match: fc.record({
        "requester.groups": values,
        "context.tags": fc.dictionary(label, values, { minKeys: 1, maxKeys: 2, noNullPrototype: true }),
      }),
    }),
    fc.record({ all: fc.array(tie("node"), { minLength: 1, maxLength: 2 }) }),
    fc.record({ any: fc.array(tie("node"), { minLength: 1, maxLength: 2 }) }),
    fc.record({ not: tie("node") }),
  ),
})).node;
const policy = fc
  .record({
    metadata,
    allow: condition,
    message: text,
    kind: fc.constantFrom("Tool" as const, "Agent" as const, "WorkflowTemplate" as const),
    limits: fc.array(
      fc.record({
        key: fc.subarray(["requester.id", "context.tags.customer-id", "run.id"]),
        max: fc.integer({ min: 1, max: 1_000_000_000 }),
        windowMs: fc.integer({ min: 1, max: 31 * 24 * 60 }).map((minutes) => minutes * 60_000),
      }),
      { maxLength: 3 },
    ),
  })
  .map((raw): Manifest<"Policy"> => {
    const attachTo: PolicySpec["attachTo"] = [{ kind: raw.kind, name: "x" }];
    const limits = raw.limits.map((limit, index) => ({ name: `l${index}`, ...limit }));
    const checkpoints = defaultCheckpoints(attachTo, pathsReadBy({ allow: raw.allow, limits }));
    return {
      kind: "Policy",
      metadata: raw.metadata,
      spec: {
        description: "",
        mode: "enforce",
        attachTo,
        checkpoints,
        allow: raw.allow,
        limits,
        message: raw.message,
      },
    };
  });

const template = fc
  .record({
    metadata,
    retry,
    timeoutMs: durationMs(1_000, 100_000_000),
    graceMs: durationMs(3_000, 100_000),
    input: json,
  })
  .map(
    (raw): Manifest<"WorkflowTemplate"> => ({
      kind: "WorkflowTemplate",
      metadata: raw.metadata,
      spec: {
        description: "",
        system: "s",
        parameters: { type: "object" },
        input: { v: raw.input },
        output: { schema: { type: "object" } },
        tags: {
          a: { from: "claim", claim: "c", required: true },
          b: { from: "template", value: "v" },
          c: { from: "request", required: false },
        },
        timeoutMs: raw.timeoutMs,
        cancellation: { graceMs: raw.graceMs },
        retry: raw.retry,
        priority: "high",
      },
    }),
  );

const manifests: Readonly<Record<string, fc.Arbitrary<Manifest>>> = {
  Agent: agent,
  "Agent outside": outsideAgent,
  Tool: tool,
  AgentSystem: system,
  Policy: policy,
  WorkflowTemplate: template,
};

describe("stored documents", () => {
  for (const [kind, arbitrary] of Object.entries(manifests)) {
    it(`give back the ${kind} that was stored, and the same text again`, () => {
      fc.assert(
        fc.property(arbitrary, (manifest) => {
          const document = documentOf(manifest);
          const back = manifestFromDocument(document);
          expect(back).toEqual(manifest);
          expect(canonicalJson(documentOf(back))).toBe(canonicalJson(document));
        }),
        { numRuns: 60 },
      );
    });

    it(`can be applied again as YAML without any change: ${kind}`, () => {
      fc.assert(
        fc.property(arbitrary, (manifest) => {
          const yaml = stringify(documentOf(manifest), {
            defaultStringType: "QUOTE_DOUBLE",
            aliasDuplicateObjects: false,
          });
          const parsed = parseFile({ file: "m.yaml", bytes: Buffer.from(yaml) });
          const read = readFiles([parsed]);
          const found = [...read.diagnostics, ...read.findings.flatMap(({ list }) => list)];
          expect(found.filter(({ severity }) => severity === "error").map(formatDiagnostic)).toEqual([]);
          expect(read.documents.map((document) => document.manifest)).toEqual([manifest]);
        }),
        { numRuns: 40 },
      );
    });
  }

  it("are refused loudly when they cannot be read", () => {
    expect(() => manifestFromDocument({ kind: "Agent" })).toThrow(/invariant broken: a stored manifest cannot be read/);
  });
});

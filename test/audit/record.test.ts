// What an audit record says, how long it may be, and what never reaches it.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, jsonDigest, sha256 } from "../../kit/json.ts";
import { AUDIT_KINDS, type AuditEvent, workerActor } from "../../server/audit/events.ts";
import { auditRecord, decisionDetail, RECORD_BYTES_MAX, tokenHash } from "../../server/audit/record.ts";
import { compilePolicies } from "../../server/policy/compile.ts";
import { decide } from "../../server/policy/evaluate.ts";
import { targetsOf } from "../../server/policy/targets.ts";
import { policy, toolInput } from "../policy/policy_fixtures.ts";

const succeeded: AuditEvent = {
  kind: "task.succeeded",
  namespace: "support",
  runId: "run_1",
  taskId: "task_1",
  actor: workerActor("w1"),
  detail: {
    node: "triage",
    iteration: 0,
    attempt: 1,
    outputDigest: "sha256:00",
    transitions: [{ of: "node", node: "triage", iteration: 0, from: "ACTIVE", to: "SUCCEEDED" }],
  },
};

describe("auditRecord", () => {
  test("gives the columns and canonical text without time", () => {
    const row = auditRecord(succeeded);
    expect(row).toMatchObject({
      kind: "task.succeeded",
      namespace: "support",
      run_id: "run_1",
      task_id: "task_1",
      actor: "worker:w1",
    });
    expect(row.record).toBe(
      '{"actor":"worker:w1","detail":{"attempt":1,"iteration":0,"node":"triage","outputDigest":"sha256:00",' +
        '"transitions":[{"from":"ACTIVE","iteration":0,"node":"triage","of":"node","to":"SUCCEEDED"}]},' +
        '"kind":"task.succeeded","namespace":"support","runId":"run_1","taskId":"task_1"}',
    );
  });

  test("leaves empty subjects out of the text and empty in the columns", () => {
    const row = auditRecord({
      kind: "token.created",
      actor: "server",
      detail: { tokenId: "tok_1", principal: "dev", roles: ["admin"], method: "development-token" },
    });
    expect(row).toMatchObject({ namespace: "", run_id: "", task_id: "" });
    expect(Object.keys(JSON.parse(row.record))).toEqual(["actor", "detail", "kind"]);
  });

  test("replaces the longest details by digest and size until the record fits", () => {
    const message = "x".repeat(RECORD_BYTES_MAX);
    const row = auditRecord({
      ...succeeded,
      kind: "task.failed",
      detail: { node: "triage", iteration: 0, attempt: 1, failure: { class: "Crash", message } },
    });
    expect(JSON.parse(row.record).detail).toEqual({
      node: "triage",
      iteration: 0,
      attempt: 1,
      failure: {
        omitted: true,
        digest: jsonDigest({ class: "Crash", message }),
        bytes: canonicalJson({ class: "Crash", message }).length,
      },
    });
  });

  test("never exceeds the limit and is always canonical text that Postgres takes", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 20 }),
      fc.constant("\u0000\ud800"),
      fc.nat(80_000).map((length) => "é".repeat(length)),
    );
    fc.assert(
      fc.property(text, text, fc.array(text, { maxLength: 4 }), (worker, reason, referrers) => {
        const { event: _, ...row } = auditRecord({
          kind: "resource.deleted",
          namespace: "n",
          runId: "r",
          taskId: "t",
          actor: workerActor(worker),
          detail: { kind: "Tool", name: reason, generation: 1, digest: "", forced: true, referrers },
        });
        expect(Buffer.byteLength(row.record)).toBeLessThanOrEqual(RECORD_BYTES_MAX);
        expect(canonicalJson(JSON.parse(row.record))).toBe(row.record);
        for (const value of Object.values(row)) expect(value.isWellFormed() && !value.includes("\u0000")).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

test("a decision is recorded with every verdict and the digest of its arguments, not the arguments", () => {
  const input = toolInput({ args: { secretLooking: "canary-4711" } });
  const set = compilePolicies(
    [
      policy("b", { allow: { match: { "requester.groups": ["finance"] } } }),
      policy("a", { mode: "observe", deny: { match: { "requester.ids": ["ana"] } } }),
    ],
    "9",
  );
  const detail = decisionDetail(decide(set, input, targetsOf(input)), input);
  expect(detail).toMatchObject({
    checkpoint: "tool.call",
    allowed: false,
    reason: "not_permitted",
    decidedBy: "platform/b",
    policyRevision: "9",
    requester: "ana",
    workflow: "release",
    agent: "releaser",
    tool: "deploy",
    argumentsDigest: jsonDigest({ secretLooking: "canary-4711" }),
    verdicts: [
      { policy: "platform/a", mode: "observe", reason: "forbidden" },
      { policy: "platform/b", mode: "enforce", reason: "not_permitted" },
    ],
  });
  expect(auditRecord({ kind: "decision", actor: "server", detail }).record).not.toContain("canary-4711");
});

test("a token is recorded as eight hex digits of its hash", () => {
  expect(tokenHash("abc")).toBe(sha256("abc").slice(7, 15));
  expect(tokenHash("abc")).toMatch(/^[0-9a-f]{8}$/);
});

test("kinds are unique, and their groups can be asked for by a prefix that ends in a dot", () => {
  expect(new Set(AUDIT_KINDS).size).toBe(AUDIT_KINDS.length);
  for (const kind of AUDIT_KINDS) expect(kind).toMatch(/^[a-z_]+(\.[a-z_]+)?$/);
});

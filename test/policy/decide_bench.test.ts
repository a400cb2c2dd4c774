// What `npm run bench -- --suite decide` decides, without its clock: the policies differ, each could deny, and all pass its documents.

import { expect, test } from "vitest";
import { ATTACHED, benchPolicies, documentAt } from "../../bench/decide.ts";
import { compilePolicies } from "../../server/policy/compile.ts";
import { decide } from "../../server/policy/evaluate.ts";
import { targetsOf } from "../../server/policy/targets.ts";
import type { PolicyInput } from "../../server/policy/types.ts";

function decided(count: number, input: PolicyInput) {
  return decide(compilePolicies(benchPolicies(count), "1"), input, targetsOf(input));
}

test("a hundred different policies: eighty that match, ten windows, ten in CEL", () => {
  const policies = benchPolicies(100);
  expect(new Set(policies.map(({ spec: { allow, deny } }) => JSON.stringify([allow, deny]))).size).toBe(100);
  const count = (member: string) => policies.filter(({ spec }) => Object.hasOwn(spec.allow ?? {}, member)).length;
  expect([count("any"), count("time"), count("cel")]).toEqual([80, 10, 10]);
});

test.each(ATTACHED)("every document of the benchmark passes all %i, and every one is evaluated", (attached) => {
  for (let index = 0; index < 24_000; index += 997) {
    expect(decided(attached, documentAt(index))).toMatchObject({ allowed: true });
    expect(decided(attached, documentAt(index)).verdicts).toHaveLength(attached);
  }
});

test("each of them denies what it does not allow", () => {
  const input = documentAt(0);
  const failing = (document: PolicyInput) =>
    decided(100, document)
      .verdicts.filter(({ passes }) => !passes)
      .map(({ name }) => Number(name.slice(1)) % 10);
  const outsider = failing({ ...input, requester: { ...input.requester, groups: ["developers"] } });
  expect(new Set(outsider)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7]));
  expect(outsider).toHaveLength(80);
  expect(failing({ ...input, nowMs: Date.parse("2026-03-07T12:00:00Z") })).toEqual(Array(10).fill(8));
  expect(failing({ ...input, args: { service: "checkout", amount: 5_000 } })).toEqual(Array(10).fill(9));
});

// Runs the policy tests of a folder against the manifests of that folder, without a server.
// Called by cli/policy_test.ts and by tests. Pure: files come as bytes. A file that is wrong is reported, never passed over.
// Every pair of a requester and a target is decided: as its cases say, or, if no case lists it, expecting a denial.

import { type Diagnostic, Findings, type Position } from "../manifests/diagnostics.ts";
import { locate } from "../manifests/expressions.ts";
import { parseFile, type SourceFile } from "../manifests/parse.ts";
import { checkFiles, readFiles } from "../manifests/validate.ts";
import type { DecidingPlace, Explanation } from "./explain.ts";
import { type FilePlace, type LeafCoverage, type PlaceOf, TestCoverage } from "./test_coverage.ts";
import { type Expected, type PolicyTest, readPolicyTest, type TestCase } from "./test_document.ts";
import { TestFixtures } from "./test_fixtures.ts";
import type { Decision } from "./types.ts";

/** How one pair was decided, and whether as expected. */
export interface PairResult {
  readonly file: string;
  readonly test: string;
  /** Place of its case; of the target for a pair that no case lists. */
  readonly at: Position;
  readonly requester: string;
  readonly target: string;
  readonly nowMs: number;
  /** False: no case lists it, so it is expected to be denied. */
  readonly listed: boolean;
  readonly expected: Expected;
  readonly explanation: Explanation;
  /** What differs from what is expected; empty if nothing does. */
  readonly problem: string;
  /** Place of the node that decided a denial. */
  readonly deciding?: DecidingPlace & { readonly place?: FilePlace };
}

/** What a folder's tests say. */
export interface FolderResult {
  /** Errors of manifests and tests; with any of them nothing was decided. */
  readonly diagnostics: readonly Diagnostic[];
  readonly pairs: readonly PairResult[];
  readonly leaves: readonly LeafCoverage[];
}

/** Runs tests; see the file header. */
export function testFolder(manifests: readonly SourceFile[], tests: readonly SourceFile[]): FolderResult {
  const read = readFiles(manifests.map(parseFile));
  const checked = checkFiles(read, () => undefined);
  const findings: Findings[] = [];
  const parsed = tests.map(parseFile);
  const documents = parsed.flatMap((file) =>
    file.documents.flatMap((tree) => {
      const own = new Findings(file.file);
      findings.push(own);
      return readPolicyTest(own, tree) ?? [];
    }),
  );
  const fixtures = new TestFixtures(checked.manifests.map(({ manifest }) => manifest));
  const runnable = documents.map((test) => {
    const own = new Findings(test.file);
    findings.push(own);
    reportUnknownLimits(own, test, fixtures);
    return { test, targets: new Map(test.targets.map((each) => [each.name, fixtures.target(own, test, each)])) };
  });
  const empty = parsed.filter((file) => file.documents.length === 0 && file.diagnostics.length === 0);
  for (const { file } of empty) {
    const own = new Findings(file);
    findings.push(own);
    own.error("E-MISSING", { line: 1, column: 1 }, "", "the file holds no policy test", "add one, or remove the file");
  }
  const found = [...checked.diagnostics, ...parsed.flatMap((file) => file.diagnostics)];
  const errors = [...found, ...findings.flatMap(({ list }) => list)].filter(({ severity }) => severity === "error");
  if (errors.length > 0) return { diagnostics: errors, pairs: [], leaves: [] };

  const placeOf = placesIn(read.documents);
  const coverage = new TestCoverage(fixtures.policies);
  const pairs = runnable.flatMap(({ test, targets }) =>
    pairsOf(test).map(({ requester, target, at, listed, nowMs, used, expected }): PairResult => {
      const who = test.requesters.find(({ name }) => name === requester);
      const what = targets.get(target);
      if (who === undefined || what === undefined) throw new Error(`${requester} × ${target} was checked before`);
      const explanation = fixtures.decide(what, who.value, nowMs, ({ policy, limit }) =>
        usedOf(used, policy, limit, test),
      );
      coverage.note(explanation);
      const { deciding } = explanation;
      const place = deciding && placeOf(deciding.policy, deciding.at);
      return {
        ...{ file: test.file, test: test.name, at, requester, target, nowMs, listed, expected, explanation },
        problem: problemOf(expected, explanation.decision),
        ...(deciding && { deciding: { ...deciding, ...(place && { place }) } }),
      };
    }),
  );
  return { diagnostics: [], pairs, leaves: coverage.leaves(placeOf) };
}

interface Pair extends Omit<TestCase, "requesters" | "targets"> {
  readonly requester: string;
  readonly target: string;
  readonly listed: boolean;
}

function pairsOf(test: PolicyTest): Pair[] {
  const listed = test.cases.flatMap(({ requesters, targets, ...rest }) =>
    requesters.flatMap((requester) => targets.map((target): Pair => ({ ...rest, requester, target, listed: true }))),
  );
  const seen = new Set(listed.map(({ requester, target }) => JSON.stringify([requester, target])));
  const others = test.requesters.flatMap(({ name: requester }) =>
    test.targets
      .filter(({ name: target }) => !seen.has(JSON.stringify([requester, target])))
      .map(({ name: target, at }): Pair => {
        const expected = { verdict: "deny" } as const;
        return { requester, target, at, listed: false, nowMs: test.nowMs, used: {}, expected };
      }),
  );
  return [...listed, ...others];
}

function problemOf(expected: Expected, decision: Decision): string {
  const got = decision.allowed
    ? "it is allowed"
    : `it is denied: ${decision.reason}${decision.decidedBy === "" ? "" : ` by ${decision.decidedBy}`}`;
  if (decision.allowed !== (expected.verdict === "allow")) return `expected ${expected.verdict}, but ${got}`;
  if (expected.reason !== undefined && expected.reason !== decision.reason) {
    return `expected ${expected.reason}, but ${got}`;
  }
  if (expected.decidedBy === undefined || expected.decidedBy === decision.decidedBy) return "";
  return `expected ${expected.decidedBy} to decide, but ${got}`;
}

// A policy of the test's namespace may be named without it.
function usedOf(used: TestCase["used"], policy: string, limit: string, { namespace }: PolicyTest): number {
  const short = policy.startsWith(`${namespace}/`) ? policy.slice(namespace.length + 1) : policy;
  return used[`${short}/${limit}`] ?? used[`${policy}/${limit}`] ?? 0;
}

// A count that no limit reads would make a test pass for the wrong reason.
function reportUnknownLimits(findings: Findings, test: PolicyTest, { policies }: TestFixtures): void {
  const known = policies.flatMap(({ namespace, name, spec }) =>
    spec.limits.flatMap((limit) => [
      `${namespace}/${name}/${limit.name}`,
      ...(namespace === test.namespace ? [`${name}/${limit.name}`] : []),
    ]),
  );
  for (const { at, used } of test.cases) {
    for (const key of Object.keys(used).filter((name) => !known.includes(name))) {
      const hint = known.length === 0 ? "no policy here has a limit" : `known: ${known.join(", ")}`;
      findings.error("E-REFERENCE", at, "used", `no policy has a limit "${key}"`, hint);
    }
  }
}

function placesIn(documents: ReturnType<typeof readFiles>["documents"]): PlaceOf {
  const trees = new Map(
    documents.map(({ manifest: { kind, metadata }, tree, findings }) => [
      `${kind} ${metadata.namespace}/${metadata.name}`,
      { tree, file: findings.file },
    ]),
  );
  return (policy, at) => {
    const found = trees.get(`Policy ${policy}`);
    if (found === undefined) return undefined;
    const { line, column } = locate(found.tree, "", at).tree.at;
    return { file: found.file, line, column };
  };
}

// The verb `orloj policy test`: runs *.policytest.yaml against the manifests beside them, without a server.
// Called by policy.ts. Each test sees the manifests of its own folder, and those that -f adds.
// Exit codes: 0 everything as expected, 1 a pair is not, a file is wrong, or coverage is below --min-coverage; 2 nothing to run.

import { dirname } from "node:path";
import type { Command } from "commander";
import type { Json } from "../kit/json.ts";
import { formatDiagnostic } from "../server/manifests/diagnostics.ts";
import { coverageOf, type FilePlace, type LeafCoverage } from "../server/policy/test_coverage.ts";
import { type FolderResult, type PairResult, testFolder } from "../server/policy/test_folder.ts";
import type { Context } from "./context.ts";
import { EXIT, UsageError } from "./failure.ts";
import { table } from "./format.ts";
import { type ManifestFile, readManifestFiles, readPolicyTests } from "./manifest_files.ts";
import { collect } from "./options.ts";
import { nodeSentence, shownNode } from "./policy_text.ts";
import { safeLine } from "./sanitize.ts";

interface Options {
  readonly filename?: string[];
  readonly minCoverage?: number;
}

/** Adds the verb to `policy`. */
export function registerTest(policy: Command, context: Context): void {
  policy
    .command("test")
    .description("Run policy tests (*.policytest.yaml) against the manifests of their folders; asks no server.")
    .argument("<paths...>", "folders (recursive) or test files")
    .option("-f, --filename <path>", "further manifests: a file or folder; repeatable", collect)
    .option("--min-coverage <percent>", "fail when the leaves took less of their values", parsePercent)
    .action((paths: string[], options: Options) => test(context, paths, options));
}

function parsePercent(text: string): number {
  if (/^\d{1,3}$/.test(text) && Number(text) <= 100) return Number(text);
  throw new UsageError(`--min-coverage ${text}: use a whole number from 0 to 100`);
}

async function test(context: Context, paths: readonly string[], options: Options): Promise<void> {
  const tests = readPolicyTests(paths);
  const results: FolderResult[] = [];
  for (const [folder, files] of Map.groupBy(tests, ({ name }) => dirname(name))) {
    const manifests = await readManifestFiles([folder, ...(options.filename ?? [])], context.host.readInput);
    results.push(testFolder(sources(manifests), sources(files)));
  }
  const diagnostics = results.flatMap((result) => result.diagnostics);
  const pairs = results.flatMap((result) => result.pairs);
  const leaves = mergeLeaves(results.flatMap((result) => result.leaves));
  const failed = pairs.filter(({ problem }) => problem !== "");
  const coverage = percentOf(leaves);
  const tooLow = diagnostics.length === 0 && options.minCoverage !== undefined && coverage < options.minCoverage;
  context.exitCode = diagnostics.length > 0 || failed.length > 0 || tooLow ? EXIT.failed : EXIT.ok;
  if (context.json) {
    context.printJson({
      passed: pairs.length - failed.length,
      failed: failed.length,
      pairs: pairs.map(pairJson),
      coverage: { percent: coverage, ...coverageOf(leaves), leaves: leaves.map(leafJson) },
      diagnostics: diagnostics.map((finding) => ({ ...finding })),
    });
    return;
  }
  context.print(...diagnostics.map((finding) => safeLine(formatDiagnostic(finding))));
  if (diagnostics.length > 0) return;
  for (const [file, own] of Map.groupBy(pairs, (pair) => pair.file)) context.print(fileLine(file, own));
  context.print(...failed.flatMap(failureLines));
  context.print("", ...coverageTable(leaves, context), coverageLine(leaves));
  if (tooLow) context.note(`Coverage ${coverage}% is below --min-coverage ${options.minCoverage}.`);
  context.print(`${pairs.length - failed.length} passed, ${failed.length} failed`);
}

function sources(files: readonly ManifestFile[]) {
  const encoder = new TextEncoder();
  return files.map(({ name, content }) => ({ file: name, bytes: encoder.encode(content) }));
}

// The same manifests may serve the tests of several folders.
function mergeLeaves(leaves: readonly LeafCoverage[]): LeafCoverage[] {
  const groups = Map.groupBy(leaves, ({ policy, path, place }) => JSON.stringify([place?.file, policy, path]));
  return [...groups.values()].map((same) => {
    const [first] = same as [LeafCoverage, ...LeafCoverage[]];
    const seen = [...first.seen, ...first.missing].filter((value) => same.some((leaf) => leaf.seen.includes(value)));
    return { ...first, seen, missing: [...first.seen, ...first.missing].filter((value) => !seen.includes(value)) };
  });
}

function percentOf(leaves: readonly LeafCoverage[]): number {
  const { covered, possible } = coverageOf(leaves);
  return possible === 0 ? 100 : Math.floor((100 * covered) / possible);
}

function fileLine(file: string, pairs: readonly PairResult[]): string {
  const good = pairs.filter(({ problem }) => problem === "").length;
  const unlisted = pairs.filter(({ listed }) => !listed).length;
  const rest = unlisted === 0 ? "" : `; ${unlisted} not listed, so expected to be denied`;
  return safeLine(`${file}: ${good} of ${pairs.length} pairs as expected${rest}`);
}

function failureLines({
  file,
  at,
  requester,
  target,
  problem,
  listed,
  nowMs,
  explanation,
  deciding,
}: PairResult): string[] {
  const pair = `${requester} × ${target}${listed ? "" : " (not listed)"} at ${new Date(nowMs).toISOString()}`;
  const lines = [`FAIL ${placeText({ file, ...at })}: ${pair}: ${problem}`];
  if (deciding !== undefined) {
    const where = deciding.place === undefined ? deciding.policy : placeText(deciding.place);
    const { node } = deciding;
    lines.push(`     ${where}: ${node === undefined ? deciding.path : nodeSentence(shownNode(node))}`);
  } else if (explanation.decision.allowed) {
    const enforcing = explanation.policies.filter(({ verdict }) => verdict.mode === "enforce");
    const names = enforcing.map(({ verdict }) => `${verdict.namespace}/${verdict.name}`);
    lines.push(`     ${names.length === 0 ? "no enforcing policy is attached" : `passed by ${names.join(", ")}`}`);
  }
  return lines.map(safeLine);
}

function placeText({ file, line, column }: FilePlace): string {
  return `${file}:${line}:${column}`;
}

function coverageTable(leaves: readonly LeafCoverage[], context: Context): string[] {
  const rows = leaves.map(({ policy, path, place, seen, missing }) => [
    place === undefined ? "-" : placeText(place),
    `${policy} ${path}`,
    ...(["true", "false", "unknown"] as const).map((value) =>
      seen.includes(value) ? "seen" : missing.includes(value) ? "-" : "cannot be",
    ),
  ]);
  return leaves.length === 0 ? [] : table(["PLACE", "LEAF", "TRUE", "FALSE", "UNKNOWN"], rows, context.paint, 100);
}

function coverageLine(leaves: readonly LeafCoverage[]): string {
  const { covered, possible } = coverageOf(leaves);
  return `coverage: ${percentOf(leaves)}%, ${covered} of ${possible} values of ${leaves.length} leaves`;
}

function pairJson(pair: PairResult): Json {
  const { file, test: name, at, requester, target, nowMs, listed, expected, explanation, problem, deciding } = pair;
  const { allowed, reason, decidedBy, message } = explanation.decision;
  return {
    ...{ file, test: name, line: at.line, column: at.column, requester, target, listed },
    now: new Date(nowMs).toISOString(),
    expected: { ...expected },
    decision: { allowed, reason, decidedBy, message },
    deciding: deciding
      ? { policy: deciding.policy, path: deciding.path, place: deciding.place ? { ...deciding.place } : null }
      : null,
    problem,
  };
}

function leafJson({ policy, path, place, seen, missing }: LeafCoverage): Json {
  return { policy, path, place: place ? { ...place } : null, seen: [...seen], missing: [...missing] };
}

// `orloj policy test` as a process: the examples that ship, exit codes, JSON, coverage, and a folder without tests.

import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test, vi } from "vitest";
import { runOrloj, temporaryFolder } from "./run_orloj.ts";

// Each test starts processes; a loaded machine may take seconds for one.
vi.setConfig({ testTimeout: 30_000 });

const EXAMPLES = resolve(import.meta.dirname, "../../examples");

test("every policy test of the examples passes, without a server", async () => {
  const ended = await runOrloj(["policy", "test", EXAMPLES, "--min-coverage", "90", "-o", "json"], {
    endpoint: "http://127.0.0.1:9",
  });
  const result = JSON.parse(ended.out) as { failed: number; passed: number; pairs: { file: string }[] };
  expect(ended).toMatchObject({ code: 0, err: "" });
  expect(result).toMatchObject({ failed: 0, diagnostics: [], coverage: { percent: expect.any(Number) } });
  expect(result.passed).toBeGreaterThan(70);
  expect(new Set(result.pairs.map(({ file }) => file.slice(EXAMPLES.length + 1)))).toEqual(
    new Set([
      "governed-deployment/governed-deployment.policytest.yaml",
      "incident-triage/incident-triage.policytest.yaml",
      "support-desk/support-desk.policytest.yaml",
    ]),
  );
});

test("a policy that changed fails its test: exit 1, with the line of the case and of the deciding node", async () => {
  using folder = temporaryFolder();
  cpSync(join(EXAMPLES, "governed-deployment"), join(folder.path, "deploy"), { recursive: true });
  const policies = join(folder.path, "deploy/policies.yaml");
  writeFileSync(policies, readFileSync(policies, "utf8").replace("[engineering]", "[finance]"));
  const [text, json] = await Promise.all([
    runOrloj(["policy", "test", "deploy"], { directory: folder.path }),
    runOrloj(["policy", "test", "deploy", "-o", "json"], { directory: folder.path }),
  ]);
  expect(text).toMatchObject({ code: 1, err: "" });
  expect(text.out).toMatch(
    /^FAIL deploy\/governed-deployment\.policytest\.yaml:\d+:7: ana × deploy-v8 at 2026-03-03T10:00:00\.000Z: expected allow, but it is denied: not_permitted by delivery\/deploy-engineering-only$/m,
  );
  expect(text.out).toMatch(
    /^ {5}deploy\/policies\.yaml:18:31: spec\.allow\.match\.requester\.groups is false: wants \["finance"\]; requester\.groups is \["engineering"\]$/m,
  );
  expect(text.out).toMatch(/\n49 passed, 2 failed\n$/);
  const failed = JSON.parse(json.out).pairs.filter(({ problem }: { problem: string }) => problem !== "");
  expect(json.code).toBe(1);
  expect(failed[0]).toMatchObject({
    ...{ requester: "ana", target: "deploy-v8", listed: true, expected: { verdict: "allow" } },
    decision: { allowed: false, reason: "not_permitted", decidedBy: "delivery/deploy-engineering-only" },
    deciding: { path: "spec.allow.match.requester.groups", place: { file: "deploy/policies.yaml", line: 18 } },
  });
});

test("too little coverage fails; each leaf shows which values it took", async () => {
  const [low, enough] = await Promise.all([
    runOrloj(["policy", "test", "incident-triage", "--min-coverage", "84"], { directory: EXAMPLES }),
    runOrloj(["policy", "test", "incident-triage", "--min-coverage", "83"], { directory: EXAMPLES }),
  ]);
  expect(low).toMatchObject({ code: 1, err: "Coverage 83% is below --min-coverage 84.\n" });
  expect(enough).toMatchObject({ code: 0, err: "" });
  expect(enough.out).toMatch(
    /^incident-triage\/policies\.yaml:17:23 +operations\/restarts-only-in-incidents spec\.allow\.match\.workflow\.names +seen +- +cannot be$/m,
  );
  expect(enough.out).toContain("coverage: 83%, 10 of 12 values of 6 leaves\n12 passed, 0 failed\n");
});

test("manifests that others share come with -f; errors of files are told with their place", async () => {
  using folder = temporaryFolder();
  const write = (name: string, text: string) => writeFileSync(join(folder.path, name), text);
  cpSync(join(EXAMPLES, "governed-deployment"), join(folder.path, "g"), { recursive: true });
  const policies = readFileSync(join(folder.path, "g/policies.yaml"), "utf8");
  const [rest, library] = [policies.slice(0, policies.lastIndexOf("---")), policies.slice(policies.lastIndexOf("---"))];
  write("g/policies.yaml", rest);
  write("library.yaml", library);
  const [without, having] = await Promise.all([
    runOrloj(["policy", "test", "g"], { directory: folder.path }),
    runOrloj(["policy", "test", "g/governed-deployment.policytest.yaml", "-f", "library.yaml"], {
      directory: folder.path,
    }),
  ]);
  expect(without).toMatchObject({ code: 1, err: "" });
  expect(without.out).toMatch(/^g\/policies\.yaml:\d+:\d+: error\[E-REFERENCE\] .*"office-hours"/);
  expect(having).toMatchObject({ code: 0, err: "" });
});

test.each([
  [["policy", "test", "nowhere"], "nowhere cannot be read: there is no such file"],
  [["policy", "test", "release-notes"], "no *.policytest.yaml under release-notes"],
  [["policy", "test", "support-desk", "--min-coverage", "101"], "--min-coverage 101: use a whole number from 0 to 100"],
  [["policy", "test"], "missing required argument 'paths'"],
  [["policy", "taste"], "unknown command 'taste'"],
])("%j is a usage error", async (words, message) => {
  const ended = await runOrloj(words, { directory: EXAMPLES });
  expect(ended).toMatchObject({ code: 2, out: "", err: expect.stringContaining(message) });
});

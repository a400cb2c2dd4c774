// `orloj doctor` and `orloj top` as people and scripts see them, against a scripted server and without any.
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { RELEASE } from "../../kit/release.ts";
import { refusal, type Script, startScriptedServer } from "../sdk/scripted_server.ts";
import { runOrloj, runVerb, temporaryFolder } from "./run_orloj.ts";

vi.setConfig({ testTimeout: 90_000 });

const now = () => timestampFromMs(Date.now());
const finding = (severity: string, id = "disk.space") => ({
  ...{
    id,
    severity,
    subject: "/home",
    message: "5 MiB of 100 MiB are free",
    nextStep: severity === "ok" ? "" : "make room",
  },
});

function diagnosed(...severities: string[]): Script {
  const findings = severities.map((severity) => finding(severity));
  return { fleet: { diagnose: () => ({ serverTime: now(), replicaId: "rep_1", version: RELEASE, findings }) } };
}

test.each([
  [["ok"], 0, "ok"],
  [["ok", "warning"], 1, "warning"],
  [["error", "warning"], 2, "error"],
] as const)("findings %j end with %i", async (severities, code, worst) => {
  using folder = temporaryFolder();
  await using server = await startScriptedServer(diagnosed(...severities));
  const at = { endpoint: server.endpoint, directory: folder.path };
  const json = await runVerb(["doctor", "-o", "json"], at);
  expect(json).toMatchObject({ code, err: "" });
  expect(JSON.parse(json.out)).toMatchObject({ worst });
  const text = await runVerb(["doctor"], at);
  expect(text.code).toBe(code);
  expect(text.out.includes("    Next: make room")).toBe(code > 0);
  expect(text.out).toMatch(/^✔ server\.connection +rep_1 of release /m);
  const problems = await runVerb(["doctor", "--problems"], at);
  expect(problems.out).not.toContain("✔");
});

test("skews of releases and clocks are told", async () => {
  using folder = temporaryFolder();
  await using server = await startScriptedServer({
    fleet: { diagnose: () => ({ serverTime: timestampFromMs(Date.now() - 60_000), version: "0.0.1" }) },
  });
  const ended = await runVerb(["doctor"], { endpoint: server.endpoint, directory: folder.path });
  expect(ended.code).toBe(1);
  expect(ended.out).toContain(`the server is of release 0.0.1, this client of ${RELEASE}`);
  expect(ended.out).toMatch(/! clock\.client +the clocks of client and server are (59|60)\.\d s apart/);
});

test.each([
  [Code.Unauthenticated, "CREDENTIALS_MISSING", 2, "✘ server.credentials"],
  [Code.PermissionDenied, "PERMISSION_DENIED", 1, "! server.rights"],
  [Code.Unimplemented, "UNIMPLEMENTED", 1, "! server.release"],
  [Code.Internal, "INVARIANT_BROKEN", 2, "✘ server.answer"],
] as const)(
  "a server that answers %s with %s is told apart from one that is away",
  async (code, reason, exit, text) => {
    using folder = temporaryFolder();
    await using server = await startScriptedServer({
      fleet: {
        diagnose() {
          throw refusal(code, reason, "no");
        },
      },
    });
    const ended = await runVerb(["doctor"], { endpoint: server.endpoint, directory: folder.path });
    expect(ended).toMatchObject({ code: exit, out: expect.stringContaining(text) });
  },
);

test("without a server it says what the home tells: a config that others read, a lock left behind, the last words of a database", async () => {
  using folder = temporaryFolder();
  await using server = await startScriptedServer({});
  await server[Symbol.asyncDispose]();
  const home = join(folder.path, ".orloj");
  mkdirSync(join(home, "postgres"), { recursive: true });
  writeFileSync(join(home, "config.json"), JSON.stringify({ endpoint: server.endpoint, token: "t0ken" }));
  chmodSync(join(home, "config.json"), 0o644);
  writeFileSync(join(home, "postgres/PG_VERSION"), "18\n");
  writeFileSync(join(home, "postgres.lock"), "999999999-1-1");
  writeFileSync(join(home, "postgres.log"), "LOG: fine\nFATAL:  no room left on the device\n");
  const ended = await runVerb(["doctor"], { directory: folder.path });
  expect(ended.code).toBe(2);
  expect(ended.out).toContain(`✘ server.connection`);
  expect(ended.out).toContain("Next: start one with: orloj server");
  expect(ended.out).toMatch(/! home\.config .*others may read or write it/);
  expect(ended.out).toMatch(/✔ home\.lock .*process 999999999 left its lock behind/);
  expect(ended.out).toMatch(/! home\.log .*no room left on the device/);
  expect(ended.out).toMatch(/✔ home\.database .*PostgreSQL 18 is stopped/);
  expect(ended.out).not.toContain("t0ken");
});

test("a context that there is not is a finding, not the end", async () => {
  using folder = temporaryFolder();
  const ended = await runVerb(["--context", "nope", "doctor"], { directory: folder.path, env: { HOME: folder.path } });
  expect(ended).toMatchObject({ code: 2, err: "", out: expect.stringContaining("there is no context nope") });
});

const numbers = [
  ["runs", { state: "RUNNING" }, 4],
  ["runs_waiting_for_slot", {}, 2],
  ["tasks", { state: "READY" }, 5],
  ["tasks", { state: "LEASED" }, 3],
  ["sessions", { state: "active" }, 2],
  ["slots", {}, 8],
  ["dead_letters", { cause: "attempts" }, 1],
  ["queue_tasks", { route: "r1", runtime: "model", handler: "", labels: "zone=gpu" }, 5],
  ["queue_first_age_seconds", { route: "r1" }, 75],
  ["events_per_second", { kind: "run.created" }, 1.5],
  ["event_loop_lag_seconds", { quantile: "0.99" }, 0.012],
  ["replica_sessions", { replica: "rep_1" }, 2],
  ["replica_slots", { replica: "rep_1" }, 8],
  ["replica_leases", { replica: "rep_1" }, 3],
].map(([name, labels, value]) => ({ name, labels, value })) as {
  name: string;
  labels: Record<string, string>;
  value: number;
}[];

test("top prints sums, queues and replicas once where there is no terminal, with one call", async () => {
  await using server = await startScriptedServer({
    fleet: { getStatus: () => ({ readTime: now(), replicaId: "rep_1", version: "1.2.3", numbers }) },
  });
  const { code, out, err } = await runVerb(["top"], server);
  expect({ code, err, calls: server.seen.length }).toEqual({ code: 0, err: "", calls: 1 });
  expect(out).toMatch(/^Runs +4 RUNNING {2}\(2 wait for their turn\)$/m);
  expect(out).toMatch(/^Tasks +5 READY {2}3 LEASED$/m);
  expect(out).toMatch(/^Workers +2 active {2}slots 3 of 8 taken$/m);
  expect(out).toMatch(/^Rates +runs created 1\.5\/s/m);
  expect(out).toMatch(/^Lag +event loop 12ms/m);
  expect(out).toMatch(/^model +- +zone=gpu +5 +1m15s$/m);
  expect(out).toMatch(/^rep_1 +2 +8 +3$/m);
  const json = await runVerb(["top", "--once", "-o", "json"], server);
  expect(JSON.parse(json.out)).toMatchObject({
    version: "1.2.3",
    numbers: [{ name: "runs", value: 4 }, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}],
  });
});

test("top -o json goes on with a line a tick until it is interrupted", async () => {
  await using server = await startScriptedServer({
    fleet: { getStatus: () => ({ readTime: now(), replicaId: "rep_1", version: "1.2.3", numbers: [] }) },
  });
  const ended = await runOrloj(["top", "-o", "json", "--interval", "100ms"], {
    endpoint: server.endpoint,
    onOutput: (out, interrupt) => out.split("\n").length > 3 && interrupt(),
  });
  expect(ended.code).toBe(130);
  for (const line of ended.out.trimEnd().split("\n")) expect(JSON.parse(line)).toMatchObject({ replicaId: "rep_1" });
});

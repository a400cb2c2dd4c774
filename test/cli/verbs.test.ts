// The verbs as processes against a scripted server: exit codes, JSON, error texts, what is sent.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { AuditRecordSchema } from "../../proto/gen/orloj/v1/common_pb.ts";
import { DiagnosticSchema } from "../../proto/gen/orloj/v1/error_pb.ts";
import type { ApplyRequest, DeleteResourceRequest } from "../../proto/gen/orloj/v1/manifest_pb.ts";
import { NodeState, RunState, TaskState } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { refusal, runOf, startScriptedServer, succeeded } from "../sdk/scripted_server.ts";
import { runOrloj, temporaryFolder } from "./run_orloj.ts";

// Each test starts processes; a loaded machine may take seconds for one.
vi.setConfig({ testTimeout: 30_000 });

const record = (id: bigint, kind: string, body: object, taskId = "") =>
  create(AuditRecordSchema, {
    id,
    kind,
    taskId,
    runId: "run_1",
    actor: "server",
    time: timestampFromMs(1_700_000_000_000 + Number(id) * 10),
    recordJson: JSON.stringify(body),
  });

test("version and help succeed without a server, a wrong verb is a usage error", async () => {
  const [version, help, wrong] = await Promise.all([
    runOrloj(["version", "-o", "json"]),
    runOrloj(["invoke", "--help"]),
    runOrloj(["runz"]),
  ]);
  expect(version.code).toBe(0);
  expect(JSON.parse(version.out)).toMatchObject({ version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
  expect(help).toMatchObject({ code: 0, out: expect.stringContaining("--idempotency-key") });
  expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("Did you mean runs?") });
  expect(wrong.err).toMatch(/^error\[E-USAGE\] .+\n$/);
});

test("a Node that is too old is told which one is needed", async () => {
  const pretend = `data:text/javascript,Object.defineProperty(process.versions,"node",{value:"20.19.0"})`;
  const ended = await runOrloj(["version"], { nodeArguments: ["--import", pretend] });
  expect(ended).toMatchObject({ code: 2, out: "", err: expect.stringContaining("needs Node 22.18 or newer") });
});

test("no server: exit 5 and how to start one", async () => {
  const server = await startScriptedServer({});
  await server[Symbol.asyncDispose]();
  const ended = await runOrloj(["runs"], { endpoint: server.endpoint });
  expect(ended.code).toBe(5);
  expect(ended.err).toContain(
    `error[E-SERVER-UNREACHABLE] no server answers at ${server.endpoint}: connection refused`,
  );
  expect(ended.err).toContain("orloj server");
});

test.each([
  ["RUN_NOT_FOUND", Code.NotFound, 3, "error[E-RUN-NOT-FOUND] run_1 is not there. Next: orloj runs"],
  ["CREDENTIALS_MISSING", Code.Unauthenticated, 4, "Next: pass --token or set ORLOJ_TOKEN"],
  ["PERMISSION_DENIED", Code.PermissionDenied, 4, "error[E-PERMISSION-DENIED]"],
  ["STORAGE_UNAVAILABLE", Code.Unavailable, 5, "error[E-STORAGE-UNAVAILABLE]"],
  ["REQUEST_INVALID", Code.InvalidArgument, 6, "error[E-REQUEST-INVALID]"],
  ["RUN_FINISHED", Code.FailedPrecondition, 7, "Next: orloj describe run run_1 shows how it ended"],
  ["INVARIANT_BROKEN", Code.Internal, 8, "error[E-INVARIANT-BROKEN]"],
] as const)("%s ends with its exit code and next step", async (reason, code, exitCode, text) => {
  await using server = await startScriptedServer({
    workflows: {
      cancelRun() {
        throw refusal(code, reason, "run_1 is not there.", { run: "run_1" });
      },
    },
  });
  const ended = await runOrloj(["cancel", "run_1"], { endpoint: server.endpoint });
  expect(ended).toMatchObject({ code: exitCode, out: "", err: expect.stringContaining(text) });
});

test("with -o json an error is one JSON line on standard error", async () => {
  await using server = await startScriptedServer({
    workflows: {
      cancelRun() {
        throw refusal(Code.NotFound, "RUN_NOT_FOUND", "run_1 not found");
      },
    },
  });
  const ended = await runOrloj(["cancel", "run_1", "-o", "json"], { endpoint: server.endpoint });
  expect(ended).toMatchObject({ code: 3, out: "" });
  expect(JSON.parse(ended.err)).toMatchObject({ error: { code: "E-RUN-NOT-FOUND", next: "orloj runs" } });
});

test("apply reads folders recursively in name order, passes over policy tests and hidden files, and takes standard input", async () => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, "m/sub"), { recursive: true });
  for (const name of ["m/b.yaml", "m/a.yml", "m/sub/c.yaml", "m/x.policytest.yaml", "m/.hidden.yaml", "m/notes.json"]) {
    writeFileSync(join(folder.path, name), `# ${name}`);
  }
  let request: ApplyRequest | undefined;
  await using server = await startScriptedServer({
    manifests: {
      apply(received) {
        request = received;
        return { results: [{ kind: "Tool", namespace: "support", name: "t", action: "created", generation: 1n }] };
      },
    },
  });
  const ended = await runOrloj(["apply", "-f", "m", "-f", "-", "-n", "support", "--strict"], {
    endpoint: server.endpoint,
    directory: folder.path,
    input: "kind: Tool",
  });
  expect(ended).toMatchObject({ code: 0, err: "" });
  expect(ended.out).toBe("created     Tool/support/t  generation 1\n1 created, 0 configured, 0 unchanged\n");
  expect(request?.files.map((file) => file.name)).toEqual(["m/a.yml", "m/b.yaml", "m/sub/c.yaml", "<stdin>"]);
  expect(request?.files.at(-1)?.content).toBe("kind: Tool");
  expect(request).toMatchObject({ defaultNamespace: "support", strict: true });
});

test("apply --model sends another model and says for whom; where nothing is scripted it sends nothing", async () => {
  using folder = temporaryFolder();
  const scripted =
    "kind: Agent\nmetadata: {name: a}\nspec:\n  model:\n    provider: scripted\n    script: []\n  tools: []\n";
  writeFileSync(join(folder.path, "a.yaml"), scripted);
  writeFileSync(join(folder.path, "t.yaml"), "kind: Tool\n");
  const sent: string[] = [];
  await using server = await startScriptedServer({
    manifests: {
      apply({ files }) {
        sent.push(...files.map(({ content }) => content));
        return { results: [] };
      },
    },
  });
  const at = { endpoint: server.endpoint, directory: folder.path };
  const [swapped, none, wrong] = await Promise.all([
    runOrloj(["apply", "-f", "a.yaml", "--model", "openai/m"], at),
    runOrloj(["apply", "-f", "t.yaml", "--model", "openai/m"], at),
    runOrloj(["apply", "-f", "a.yaml", "--model", "gpt"], at),
  ]);
  expect(swapped).toMatchObject({ code: 0, err: "openai/m in place of the scripted model of a\n" });
  expect(none).toMatchObject({ code: 2, err: expect.stringContaining("no agent in these files has a scripted model") });
  expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("use PROVIDER/NAME") });
  expect(sent).toEqual([
    'kind: Agent\nmetadata: {name: a}\nspec:\n  model:\n    {"provider":"openai","name":"m"}\n\n  tools: []\n',
  ]);
});

test("invalid manifests: a line a finding with its position, exit 1", async () => {
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, "a.yaml"), "x");
  const finding = create(DiagnosticSchema, {
    severity: "error",
    code: "E-UNKNOWN-KEY",
    file: "a.yaml",
    line: 3,
    column: 5,
    path: "spec.promt",
    message: "unknown key",
    hint: 'did you mean "prompt"?',
  });
  await using server = await startScriptedServer({
    manifests: {
      apply() {
        throw refusal(Code.InvalidArgument, "MANIFEST_INVALID", "1 error in 1 file", {}, [finding]);
      },
      validate: () => ({ valid: false, diagnostics: [finding] }),
    },
  });
  const at = { endpoint: server.endpoint, directory: folder.path };
  const line = 'a.yaml:3:5: error[E-UNKNOWN-KEY] spec.promt: unknown key (did you mean "prompt"?)\n';
  const [apply, validate, json] = await Promise.all([
    runOrloj(["apply", "-f", "a.yaml"], at),
    runOrloj(["validate", "-f", "a.yaml"], at),
    runOrloj(["validate", "-f", "a.yaml", "-o", "json"], at),
  ]);
  expect(apply).toMatchObject({ code: 1, out: "" });
  expect(apply.err.startsWith(line)).toBe(true);
  expect(validate).toMatchObject({ code: 1, out: line });
  expect(json.code).toBe(1);
  expect(JSON.parse(json.out)).toMatchObject({ valid: false, diagnostics: [{ code: "E-UNKNOWN-KEY", line: 3 }] });
});

test("a manifest path that does not exist is a usage error that names it", async () => {
  const ended = await runOrloj(["apply", "-f", "nowhere.yaml"]);
  expect(ended).toMatchObject({
    code: 2,
    err: expect.stringContaining("nowhere.yaml cannot be read: there is no such file"),
  });
});

test("get walks all pages and prints one JSON document", async () => {
  await using server = await startScriptedServer({
    manifests: {
      listResources: ({ pageToken, kind }) =>
        pageToken === ""
          ? { resources: [{ kind, namespace: "a", name: "one", manifestJson: '{"x":1}' }], nextPageToken: "p2" }
          : { resources: [{ kind, namespace: "a", name: "two" }] },
    },
  });
  const [json, text] = await Promise.all([
    runOrloj(["get", "tools", "-A", "-o", "json"], { endpoint: server.endpoint }),
    runOrloj(["get", "tools", "-A"], { endpoint: server.endpoint }),
  ]);
  expect(JSON.parse(json.out).items).toMatchObject([
    { kind: "Tool", name: "one", manifest: { x: 1 } },
    { kind: "Tool", name: "two", manifest: null },
  ]);
  expect(text.out).toMatch(/^KIND {2}NAMESPACE {2}NAME {2}GENERATION {2}UPDATED {2}LABELS\nTool/);
});

test("delete takes KIND/NAME and --force, and says why it is refused", async () => {
  const requests: DeleteResourceRequest[] = [];
  await using server = await startScriptedServer({
    manifests: {
      deleteResource(request) {
        requests.push(request);
        if (!request.force) throw refusal(Code.FailedPrecondition, "RESOURCE_IN_USE", "Agent default/a uses it");
        return {};
      },
    },
  });
  const refused = await runOrloj(["delete", "tool/t"], { endpoint: server.endpoint });
  const forced = await runOrloj(["delete", "tool", "t", "--force"], { endpoint: server.endpoint });
  expect(refused).toMatchObject({ code: 7, err: expect.stringContaining("Next: delete what refers to it first") });
  expect(forced).toMatchObject({ code: 0, out: "deleted  Tool/default/t\n" });
  expect(requests).toMatchObject([{ kind: "Tool", name: "t", force: false }, { force: true }]);
});

test("describe run tells facts, graph, tasks, tool calls and the timeline", async () => {
  const task = { id: "task_1", runId: "run_1", node: "triage", item: -1, attempt: 2, deliveries: 1, worker: "w1" };
  await using server = await startScriptedServer({
    workflows: {
      getRun: () => ({ run: succeeded("run_1") }),
      listTasks: () => ({ tasks: [{ ...task, state: TaskState.SUCCEEDED }] }),
      getTask: () => ({ task, toolCalls: [{ requestId: "req_1", tool: "read-log", state: "done", attempt: 1 }] }),
    },
    audit: {
      listAuditRecords: () => ({
        records: [
          record(0n, "run.created", {
            detail: { workflow: "w", transitions: [{ of: "node", node: "triage", to: "ACTIVE" }] },
          }),
          record(3n, "task.leased", { detail: { attempt: 2, delivery: 2, worker: "w1" } }, "task_1"),
          record(
            4n,
            "task.denied",
            {
              detail: {
                node: "triage",
                attempt: 2,
                decision: {
                  allowed: false,
                  reason: "forbidden",
                  checkpoint: "tool.call",
                  decidedBy: "p/x",
                  verdicts: [{ policy: "p/x", mode: "enforce", reason: "forbidden" }],
                },
              },
            },
            "task_1",
          ),
        ],
      }),
    },
  });
  const ended = await runOrloj(["describe", "run", "run_1"], { endpoint: server.endpoint });
  expect(ended).toMatchObject({ code: 0, err: "" });
  expect(ended.out).toContain("State      SUCCEEDED after 4.2s");
  expect(ended.out).toMatch(/│ ✔ triage {2}succeeded .*│/);
  expect(ended.out).toMatch(/task_1 {2}triage .*SUCCEEDED {2}2 {8}1 {12}w1/);
  expect(ended.out).toMatch(/triage {2}read-log {2}done/);
  const timeline = ended.out.slice(ended.out.indexOf("Timeline")).trimEnd().split("\n").slice(1);
  expect(timeline.map((line) => line.trim().replace(/ {2,}/g, "  "))).toEqual([
    "+0ms  run.created  workflow=w",
    "↳ node triage ACTIVE",
    "+30ms  task.leased  triage  attempt=2  delivery=2  worker=w1",
    "+40ms  task.denied  triage  DENIED forbidden at tool.call by p/x (p/x forbidden)  attempt=2",
  ]);
});

test("audit list sends its filters; a time that is none is a usage error", async () => {
  const kinds: string[] = [];
  await using server = await startScriptedServer({
    audit: {
      listAuditRecords({ filter }) {
        kinds.push(...(filter?.kinds ?? []), filter?.runId ?? "", String(filter?.startTime?.seconds));
        return { records: [record(1n, "run.created", {})] };
      },
    },
  });
  const words = [
    "audit",
    "list",
    "--run",
    "run_1",
    "--kind",
    "task.",
    "--kind",
    "decision",
    "--since",
    "2030-01-01T00:00:00Z",
  ];
  const ended = await runOrloj([...words, "-o", "json"], { endpoint: server.endpoint });
  expect(JSON.parse(ended.out)).toMatchObject({ items: [{ id: "1", kind: "run.created", record: {} }], more: false });
  expect(kinds).toEqual(["task.", "decision", "run_1", "1893456000"]);
  const wrong = await runOrloj(["audit", "list", "--since", "yesterday"], { endpoint: server.endpoint });
  expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("--since yesterday") });
});

test("audit list --follow goes on after the last record when the stream breaks", async () => {
  const after: bigint[] = [];
  await using server = await startScriptedServer({
    audit: {
      async *watchAuditRecords({ afterId }, { signal }) {
        after.push(afterId);
        if (after.length === 1) yield { records: [record(1n, "run.created", {}), record(2n, "task.leased", {})] };
        if (after.length === 1) throw refusal(Code.Unavailable, "SHUTTING_DOWN", "draining");
        yield { records: [record(3n, "run.finished", {})] };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
  });
  const ended = await runOrloj(["audit", "list", "--follow"], {
    endpoint: server.endpoint,
    onOutput: (out, interrupt) => {
      if (out.includes("run.finished")) interrupt();
    },
  });
  expect(after).toEqual([0n, 2n]);
  expect(ended.code).toBe(130);
  expect(ended.out.trimEnd().split("\n")).toHaveLength(3);
});

test("the token of config.json is found upwards and goes to its own server and this machine only", async () => {
  using folder = temporaryFolder();
  const deep = join(folder.path, "a/b");
  mkdirSync(deep, { recursive: true });
  mkdirSync(join(folder.path, ".orloj"));
  await using server = await startScriptedServer({ workflows: { listRuns: () => ({ runs: [] }) } });
  const config = { endpoint: server.endpoint, token: "from-config" };
  writeFileSync(join(folder.path, ".orloj/config.json"), JSON.stringify(config));
  expect((await runOrloj(["runs"], { directory: deep })).code).toBe(0);
  expect(server.seen[0]?.authorization).toBe("Bearer from-config");
  const flag = await runOrloj(["--token", "from-flag", "runs"], { directory: deep });
  expect(flag.code).toBe(0);
  expect(server.seen[1]?.authorization).toBe("Bearer from-flag");
});

test("runs in a state, node states and workers print as tables that a hostile name cannot break", async () => {
  await using server = await startScriptedServer({
    workflows: {
      listRuns: ({ states }) => ({
        runs: [
          runOf("run_1", {
            workflow: "evil\u001b[31m\nname",
            state: states[0] ?? RunState.PENDING,
            nodes: [{ state: NodeState.ACTIVE }],
          }),
        ],
      }),
    },
    fleet: { listWorkers: () => ({ workers: [{ name: "w\u009b1", sessionId: "ses_1", state: "active", slots: 4 }] }) },
  });
  const runs = await runOrloj(["runs", "--state", "timed-out"], { endpoint: server.endpoint });
  const workers = await runOrloj(["workers"], { endpoint: server.endpoint });
  expect(runs.out).toContain("evil\\x1b[31m name");
  expect(runs.out).toContain("TIMED_OUT");
  expect(workers.out).toContain("w\\x9b1");
  expect(runs.out + workers.out).not.toMatch(/[\u001b\u009b]/);
});

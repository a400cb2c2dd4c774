// What people see of their tasks with `orloj logs`: lines of workers, programs and handlers, while they run and after; never a secret; never a flood.

import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { type RunningProcess, runOrloj, startOrloj, startProcess } from "../harness/processes.ts";
import { agent, commandTool, httpTool, single } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

const ONCE = {
  ...{ on: ["Timeout"], maxAttempts: 1 },
  backoff: { initial: "10ms", max: "10ms", factor: 1, jitter: "none" },
};
const CANARY = "canary-of-the-logs-4711";
let stage: Stage;
let teller: RunningProcess;

beforeAll(async () => {
  stage = await startStage({ env: { ORLOJ_SECRET_KEY_VALUE: CANARY } });
  teller = await stage.worker("teller");
});

const logs = (args: readonly string[]) => runOrloj(["logs", ...args], { server: stage.server });

test("lines tell attempts, models and tools, with the standard error of programs, without payloads and secrets", async () => {
  const script = `process.stderr.write("began with " + process.env.KEY + "\\nhalf done\\n"); process.stdout.write('{"a":"private result"}')`;
  await stage.apply(
    commandTool("grind", [process.execPath, "-e", script], {
      command: { argv: [process.execPath, "-e", script], env: { KEY: "${{ secret.key.value }}" } },
    }),
    agent(
      "grinder",
      [
        { when: "turn == 1", toolCalls: [{ name: "grind", arguments: { q: "private question" } }] },
        { output: { ok: true } },
      ],
      {
        tools: ["grind"],
      },
    ),
    ...single("grinder"),
  );
  const run = await stage.client.workflow("grinder").invoke();
  await run.result();
  const followed = await logs([run.id, "-f"]);
  expect(followed.code).toBe(0);
  const lines = followed.stdout.trimEnd().split("\n");
  expect(lines.every((line) => /^\d{4}-\d\d-\d\dT[\d:.]+Z only (info|warn) /.test(line))).toBe(true);
  const words = lines.map((line) => line.replace(/^\S+ only \w+ +/, "").replace(/ms=\d+/, "ms=_"));
  expect(words).toEqual([
    "attempt begins attempt=1 agent=grinder worker=teller",
    "model answered provider=scripted model=script turn=1 ms=_ toolCalls=1",
    "stderr: began with [redacted]",
    "stderr: half done",
    "tool answered tool=grind type=command attempt=1 ms=_ bytes=22",
    "model answered provider=scripted model=script turn=2 ms=_ toolCalls=0",
    "attempt succeeded ms=_",
  ]);
  expect(followed.stdout).not.toMatch(/private|canary/);

  const { stdout } = await logs([run.id]);
  expect(stdout).toBe(followed.stdout);
  const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
  const taskId = tasks[0]?.id ?? "";
  const ofTask = await logs([taskId, "--level", "info"]);
  expect(ofTask.stdout).toBe(stdout.replaceAll(" only ", " "));
  const json = JSON.parse((await logs([run.id, "-o", "json"])).stdout) as {
    items: { taskId: string; lines: { text: string }[] }[];
  };
  expect(json.items.flatMap((item) => item.lines)).toHaveLength(7);
  expect(json.items[0]?.taskId).toBe(taskId);
});

test("a failed attempt is told with its class, and the next one by its number", async () => {
  stage.sink.respond("/flaky", (_call, number) => (number === 1 ? { status: 503 } : { body: "{}" }));
  await stage.apply(
    httpTool("flaky", "/flaky", { effect: "read", retry: ONCE }),
    agent("prone", [{ when: "turn == 1", toolCalls: [{ name: "flaky", arguments: {} }] }, { output: {} }], {
      tools: [{ ref: "flaky", onError: "fail" }],
      errorHandling: { retry: { ...ONCE, on: ["ToolFailed"], maxAttempts: 2 } },
    }),
    ...single("prone"),
  );
  const run = await stage.client.workflow("prone").invoke();
  await run.result();
  const { stdout } = await logs([run.id, "-f"]);
  expect(stdout).toMatch(/only warn {2}tool answered tool=flaky type=http attempt=1 ms=\d+ error=Http5xx/);
  expect(stdout).toMatch(/only warn {2}attempt failed ms=\d+ class=ToolFailed/);
  expect(stdout).toMatch(/only \(attempt 2\) info {2}attempt begins attempt=2/);
});

test("a program that floods its standard error is not slowed down, and costs 64 KiB", async () => {
  const script = `const line = "x".repeat(999) + "\\n"; for (let i = 0; i < 20000; i += 1) process.stderr.write(line); process.stderr.write("the end\\n"); process.stdout.write("{}")`;
  await stage.apply(
    commandTool("flood", [process.execPath, "-e", script]),
    agent("flooder", [{ when: "turn == 1", toolCalls: [{ name: "flood", arguments: {} }] }, { output: {} }], {
      tools: ["flood"],
    }),
    ...single("flooder"),
  );
  const run = await stage.client.workflow("flooder").invoke();
  await run.result();
  const { stdout } = await logs([run.id, "-f"]);
  expect(stdout).toMatch(/stderr: … \d+ bytes are left out …/);
  expect(stdout).toContain("stderr: the end");
  expect(stdout).toMatch(/attempt succeeded/);
  expect(stdout.length).toBeLessThan(80_000);
});

test("who follows sees lines while the task runs, and those of handler code", async () => {
  const { home, worker } = stage.server;
  const env = {
    ORLOJ_HOME: home,
    ORLOJ_WORKER_ENDPOINTS: worker.replace(/^https?:\/\//, ""),
    ORLOJ_WORKER_NAME: "coded",
  };
  const program = startProcess(process.execPath, [join(import.meta.dirname, "handler_worker.ts")], { env });
  await program.waitFor(/\bready\b/);
  await stage.apply(
    {
      ...{ apiVersion: "orloj.dev/v1", kind: "Agent", metadata: { name: "chatty" } },
      spec: { runtime: "handler", handler: { name: "chatty" } },
    },
    ...single("chatty"),
  );
  stage.sink.hold("/chat");
  const run = await stage.client.workflow("chatty").invoke({ url: stage.sink.url });
  await stage.sink.waitForCount("/chat", 1);
  const following = startOrloj(["logs", run.id, "-f"], { env: { ORLOJ_HOME: home, ORLOJ_SERVER: stage.server.api } });
  await following.waitFor(/info {2}halfway step=1/);
  expect(following.output.stdout).not.toContain("nearly");
  stage.sink.release("/chat");
  expect(await following.ended).toMatchObject({ code: 0 });
  expect(following.output.stdout).toMatch(/warn {2}nearly/);
  program.signal("SIGTERM");
  await program.ended;
});

test("the log of a worker carries the ids of run, task and trace; a worker that is told so keeps no lines", async () => {
  const env = { ORLOJ_LOG_FORMAT: "json", ORLOJ_TASK_LOGS: "off" };
  const [, worker] = await Promise.all([teller.stop(), stage.worker("silent", env)]);
  await stage.apply(agent("failing", [{ error: "ModelRefused" }]), ...single("failing"));
  const run = await stage.client.workflow("failing").invoke();
  const line = await worker.waitFor(/{[^\n]*"message":"task failed"[^\n]*}/);
  const { tasks } = await stage.client.workflows.listTasks({ runId: run.id });
  const { traceId } = await run.get();
  expect(JSON.parse(line[0])).toMatchObject({ task: tasks[0]?.id, run: run.id, trace: traceId, node: "only" });
  expect((await logs([run.id])).stderr).toContain("Nothing was logged");
  await run.cancel("enough");
});

test.each([
  [["nothing"], 2, "is no id of a run or a task"],
  [["run_01jd0000000000000000000000"], 3, "E-RUN-NOT-FOUND"],
  [["task_01jd0000000000000000000000", "-f"], 3, "E-TASK-NOT-FOUND"],
  [["task_01jd0000000000000000000000", "--node", "a"], 2, "--node is for the logs of a run"],
  [["run_1", "--level", "loud"], 2, "use one of debug, info, warn, error"],
  [["run_1", "--since", "yesterday"], 2, "use a duration such as 15m"],
])("orloj logs %j exits with %i: %s", async (args, code, message) => {
  const result = await logs(args);
  expect(result.code).toBe(code);
  expect(result.stderr).toContain(message);
});

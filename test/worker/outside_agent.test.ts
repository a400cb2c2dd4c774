// Agents outside of the worker, an endpoint and a program: what they are given, what of their answer becomes the output, what their
// failures are called, and that nothing of them is left when their task is over.

import { chmodSync, mkdtempSync, readFileSync, realpathSync, rmSync, watch, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { Redactor } from "../../kit/redactor.ts";
import { runOutsideAgent } from "../../worker/agent/outside_agent.ts";
import { TaskStopped } from "../../worker/agent/stop.ts";
import type { AgentTask, TaskEnd } from "../../worker/agent/task.ts";
import type { AgentView } from "../../worker/agent/view.ts";
import { createAddressGuard } from "../../worker/tool/addresses.ts";
import { createAgentCalls } from "../../worker/tool/agent_calls.ts";
import { MemoryWatch } from "../../worker/tool/memory_watch.ts";
import { startCountingServer } from "../harness/counting_server.ts";
import { alive } from "./alive.ts";
import { agentTask, RecordingPort } from "./recording_port.ts";

const clock = systemClock();
const sink = await startCountingServer();
const folder = realpathSync(mkdtempSync(join(tmpdir(), "agents-")));
afterAll(() => rmSync(folder, { recursive: true }));
const commandPath = `${dirname(process.execPath)}:/usr/bin:/bin`;
const LIMITS = { maxTurns: 1, maxToolCalls: 0, timeoutMs: 20_000, maxOutputBytes: 1_000 };

interface Given {
  readonly agent?: Partial<AgentView>;
  readonly secrets?: readonly string[];
  readonly signal?: AbortSignal;
  readonly networks?: readonly string[];
  readonly memoryBytes?: number;
}

async function run(agentMeans: NonNullable<AgentTask["agentMeans"]>, given: Given = {}): Promise<TaskEnd> {
  const { agent, secrets = [], signal = new AbortController().signal, networks = ["127.0.0.0/8"] } = given;
  const task = agentTask({ runtime: agentMeans.kind, limits: LIMITS, ...agent }, { agentMeans, agentSecrets: secrets });
  const memory = new MemoryWatch(clock, given.memoryBytes ?? 1e9);
  const network = { guard: createAddressGuard([...networks]), clock };
  const agents = createAgentCalls(network, { clock, commandPath, workDir: folder, memory });
  return await runOutsideAgent(task, new RecordingPort(), signal, { agents, clock, redactor: new Redactor() });
}

const http = (path: string, given: Given & { readonly url?: string; readonly headers?: Record<string, string> } = {}) =>
  run(
    {
      ...{ kind: "http", method: "POST", url: given.url ?? sink.url + path, headers: given.headers ?? {} },
      allowPrivateNetwork: true,
    },
    given,
  );

/** Runs a Node program. */
function program(source: string, given: Given & { readonly env?: Record<string, string> } = {}) {
  const file = join(folder, `${Math.abs(hash(source))}.mjs`);
  writeFileSync(file, source);
  return run({ kind: "command", argv: ["node", file], env: given.env ?? {}, workDir: "" }, given);
}

const hash = (text: string) => [...text].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) | 0, 7);

const failed = (failureClass: string, says: string | RegExp, retryable = true) => ({
  ...{ kind: "failed", class: failureClass, retryable },
  message: typeof says === "string" ? expect.stringContaining(says) : expect.stringMatching(says),
});

const ROUTE = { type: "object", required: ["route"], properties: { route: { enum: ["billing", "tech"] } } };

describe("an endpoint", () => {
  test("gets the input as the body, with its headers, and its answer is the output, whatever type it says", async () => {
    sink.respond("/fine", () => ({ headers: { "content-type": "text/plain" }, body: ' {"route": "tech"}\n' }));
    const end = await http("/fine", { headers: { "Idempotency-Key": "task_1" }, agent: { outputSchema: ROUTE } });
    expect(end).toEqual({ kind: "succeeded", output: { route: "tech" } });
    expect(sink.calls("/fine")).toMatchObject([
      { method: "POST", body: '{"question":"why"}', idempotencyKey: "task_1" },
    ]);
  });

  test.each<[string, number, Record<string, string>, string, object]>([
    ["an answer that is no JSON", 200, {}, "hello", failed("OutputInvalid", "the answer is not JSON: ")],
    ["an empty answer", 200, {}, "", failed("OutputInvalid", "the answer is not JSON")],
    ["a misfit", 200, {}, '{"route": "sales"}', failed("OutputInvalid", "does not fit the agent's outputSchema")],
    ["an answer that is too large", 200, {}, `"${"x".repeat(1_000)}"`, failed("OutputTooLarge", "1000 bytes", false)],
    [
      "a refusal",
      422,
      {},
      '{"detail": "no question"}',
      failed("AgentRefused", '422: {"detail": "no question"}', false),
    ],
    ["a crash", 500, {}, "", failed("AgentUnavailable", /answered 500$/)],
    ["a large reason", 500, {}, "x".repeat(5_000), failed("AgentUnavailable", /answered 500$/)],
    ["too many", 429, { "retry-after": "7" }, "", { ...failed("RateLimited", "429"), retryAfterMs: 7_000 }],
    ["a pause", 503, { "retry-after": "2" }, "", { ...failed("AgentUnavailable", "503"), retryAfterMs: 2_000 }],
    ["a redirect", 307, { location: "/fine" }, "", failed("AgentInvalid", "redirected (307)", false)],
    ["compression", 200, { "content-encoding": "gzip" }, "{}", failed("OutputInvalid", "compressed")],
  ])("that answers with %s fails its task", async (name, status, headers, body, expected) => {
    const path = `/${name.replaceAll(" ", "-")}`;
    sink.respond(path, () => ({ status, headers, body }));
    const outputSchema = name === "a misfit" ? { outputSchema: ROUTE } : {};
    expect(await http(path, { agent: { limits: LIMITS, ...outputSchema } })).toEqual(expected);
    expect(sink.count(path)).toBe(1);
  });

  test("that cannot be reached fails its task: refused by the network, or by the worker before anything is sent", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    expect(await http("", { url: `http://127.0.0.1:${port}/` })).toEqual(failed("AgentUnavailable", "ECONNREFUSED"));
    expect(await http("/private", { networks: [] })).toEqual(failed("AgentInvalid", "address of the endpoint", false));
    expect(await http("", { url: "http://169.254.169.254/" })).toEqual(failed("AgentInvalid", "address", false));
    expect(sink.count("/private")).toBe(0);
  });

  test("that echoes a secret does not bring it into output or failure", async () => {
    sink.respond("/echo", () => ({ body: '{"said": "Bearer canary-99", "canary-99": ["x canary\\u002d99"]}' }));
    sink.respond("/tells", () => ({ status: 400, body: "no canary-99 here" }));
    const secrets = ["canary-99"];
    expect(await http("/echo", { secrets })).toEqual({
      kind: "succeeded",
      output: { said: "Bearer [redacted]", "[redacted]": ["x [redacted]"] },
    });
    expect(await http("/tells", { secrets })).toEqual(failed("AgentRefused", "no [redacted] here", false));
  });

  test("that does not answer is given up when the time is over, and when the task is cancelled or its lease lost", async () => {
    sink.hold("/slow");
    const limits = { ...LIMITS, timeoutMs: 300 };
    expect(await http("/slow", { agent: { limits } })).toEqual(failed("Timeout", "did not end within 300 ms"));
    await sink.waitForAbort("/slow");
    for (const [cause, kind] of [
      ["cancelled", "cancelled"],
      ["lost", "dropped"],
      ["interrupted", "interrupted"],
    ] as const) {
      const stop = new AbortController();
      sink.hold(`/${cause}`);
      const end = http(`/${cause}`, { signal: stop.signal });
      await sink.waitForCount(`/${cause}`, 1);
      stop.abort(new TaskStopped(cause));
      expect(await end).toMatchObject({ kind });
      await sink.waitForAbort(`/${cause}`);
    }
  });
});

describe("a program", () => {
  test("gets the input on stdin and only its own environment, and what it prints is the output", async () => {
    const source = `let text = ""; for await (const chunk of process.stdin) text += chunk;
      console.error("thinking"); console.log(JSON.stringify({ input: JSON.parse(text), env: process.env }));`;
    const env = { ORLOJ_TASK_ID: "task_1", TOKEN: "canary-77" };
    expect(await program(source, { env, secrets: ["canary-77"] })).toEqual({
      kind: "succeeded",
      output: { input: { question: "why" }, env: { ORLOJ_TASK_ID: "task_1", TOKEN: "[redacted]", PATH: commandPath } },
    });
  });

  test.each<[string, string, object, object]>([
    [
      "exits with another code than 0",
      'console.error("no model for canary-77"); process.exit(3)',
      {},
      failed("AgentFailed", "the command exited with 3: no model for [redacted]"),
    ],
    ["is ended by a signal", 'process.kill(process.pid, "SIGKILL")', {}, failed("AgentFailed", "SIGKILL")],
    ["prints no JSON", 'console.log("done canary-77")', {}, failed("OutputInvalid", "the answer is not JSON")],
    ["prints too much", 'console.log("x".repeat(5_000))', {}, failed("OutputTooLarge", "1000 bytes", false)],
    ["misfits", 'console.log("{}")', { agent: { outputSchema: ROUTE } }, failed("OutputInvalid", "outputSchema")],
    [
      "holds too much memory",
      "const held = Buffer.alloc(300_000_000, 1); setInterval(() => held.length, 1_000)",
      { memoryBytes: 200_000_000 },
      failed("AgentFailed", "more memory"),
    ],
  ])("that %s fails its task", async (_name, source, given, expected) => {
    const end = await program(source, { secrets: ["canary-77"], ...given });
    expect(end).toEqual(expected);
    expect(JSON.stringify(end)).not.toContain("canary");
  });

  test("that this worker does not have, or that would work elsewhere, fails its task", async () => {
    const means = { kind: "command", argv: ["no-such-agent"], env: {}, workDir: "" } as const;
    expect(await run(means)).toEqual(failed("AgentInvalid", "ORLOJ_COMMAND_PATH", false));
    expect(await run({ ...means, argv: ["node"], workDir: ".." })).toEqual(
      failed("AgentInvalid", "ORLOJ_WORK_DIR", false),
    );
  });

  test("that is stopped ends with everything that it started", async () => {
    const script = join(folder, "spawner.sh");
    writeFileSync(script, "#!/bin/sh\nsleep 300 &\necho $$ $! > pids.new; mv pids.new pids\nwait\n");
    chmodSync(script, 0o755);
    const stop = new AbortController();
    const started = new Promise<void>((resolve) => {
      const watcher = watch(folder, (_event, name) => {
        if (name !== "pids") return;
        watcher.close();
        resolve();
      });
    });
    const end = run({ kind: "command", argv: [script], env: {}, workDir: "" }, { signal: stop.signal });
    await started;
    const pids = readFileSync(join(folder, "pids"), "utf8").trim().split(" ").map(Number);
    expect(pids.map(alive)).toEqual([true, true]);
    stop.abort(new TaskStopped("cancelled"));
    expect(await end).toEqual({ kind: "cancelled" });
    // Both were sent their signal by now; the kernel takes a moment to end them.
    await expect.poll(() => pids.map(alive)).toEqual([false, false]);
  });
});

test("an assignment that does not say how its agent is reached fails the task", async () => {
  const task = agentTask({ runtime: "http" });
  const agents = createAgentCalls({ guard: createAddressGuard([]), clock }, { clock, commandPath, workDir: folder });
  const dependencies = { agents, clock, redactor: new Redactor() };
  const end = await runOutsideAgent(task, new RecordingPort(), new AbortController().signal, dependencies);
  expect(end).toEqual(failed("WorkerError", "does not say how agent a is reached"));
});

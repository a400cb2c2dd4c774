// The agent loop against a played server: resume, decisions, retries, limits, stops.

import { expect, test, vi } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { seededRandom } from "../../kit/random.ts";
import { REDACTED, Redactor } from "../../kit/redactor.ts";
import { runTask } from "../../worker/agent/loop.ts";
import { TaskStopped } from "../../worker/agent/stop.ts";
import type { AgentTask, TaskEnd, Turn } from "../../worker/agent/task.ts";
import type { AgentView } from "../../worker/agent/view.ts";
import { ModelError, type ModelRequest } from "../../worker/model/adapter.ts";
import { failedRun, type ToolExecutors, type ToolRun } from "../../worker/tool/executor.ts";
import { agentTask, type Decide, fakeExecutors, RecordingPort, toolView } from "./recording_port.ts";

const clock = systemClock();
const model = { provider: "test", name: "m", hasSecretRef: false, script: [] };
const call = (name: string, args = {}): Turn["toolCalls"][number] => ({ name, arguments: args });

/** Turn n of the plan answers turn n. */
function planned(plan: readonly Turn[]) {
  const requests: ModelRequest[] = [];
  const ask = async (request: ModelRequest) => {
    requests.push(request);
    return plan[request.turn - 1] ?? { text: "end", toolCalls: [] };
  };
  return { ask, requests };
}

async function run(
  task: AgentTask,
  port: RecordingPort,
  adapter: { ask(request: ModelRequest): Promise<Turn> },
  executors: ToolExecutors = fakeExecutors((tool) => ({ ok: true, result: { tool } })),
  signal = new AbortController().signal,
): Promise<TaskEnd> {
  const redactor = new Redactor();
  const random = seededRandom(1);
  return await runTask(task, port, signal, { models: { test: adapter }, executors, clock, random, redactor });
}

const plan: Turn[] = [
  { text: "look", toolCalls: [call("search", { q: 1 }), call("search", { q: 2 })] },
  { text: "act", toolCalls: [call("act")] },
  { text: "answer", toolCalls: [] },
];
const twoTools = { model, tools: [toolView("search"), toolView("act")] } satisfies Partial<AgentView>;

test("a task that crashes after any fact resumes there: no turn asked twice, no recorded call made twice", async () => {
  const whole = new RecordingPort();
  await run(agentTask(twoTools), whole, planned(plan));
  expect(whole.facts).toEqual(["turn 1", "result 2", "result 3", "turn 4", "result 5", "turn 6"]);
  for (let facts = 0; facts < whole.facts.length; facts += 1) {
    const effects: string[] = [];
    const executors = fakeExecutors((tool, args) => {
      effects.push(`${tool} ${JSON.stringify(args)}`);
      return { ok: true, result: { tool } };
    });
    const first = new RecordingPort();
    first.crashAfter(facts);
    expect(await run(agentTask(twoTools), first, planned(plan), executors)).toEqual({ kind: "dropped" });
    const recorded = first.facts.length;
    const second = new RecordingPort(first.journal);
    const asked = planned(plan);
    const end = await run(agentTask(twoTools, { journal: first.journal }), second, asked, executors);
    expect(end).toEqual({ kind: "succeeded", output: { text: "answer" } });
    expect(second.journal).toEqual(whole.journal);
    expect([...first.facts, ...second.facts]).toEqual(whole.facts);
    const turnsBefore = first.journal.filter((entry) => entry.kind === "turn").length;
    expect(asked.requests.map((request) => request.turn)).toEqual([1, 2, 3].slice(turnsBefore));
    // Only the one call whose result was lost with the crash may have had its effect twice; the ledger guards that one.
    const unrecorded = whole.facts[recorded]?.startsWith("result") ? 1 : 0;
    expect(effects.length).toBe(3 + unrecorded);
  }
});

test("the conversation of a resumed task equals the uninterrupted one", async () => {
  const whole = new RecordingPort();
  const uninterrupted = planned(plan);
  await run(agentTask(twoTools), whole, uninterrupted);
  const resumed = planned(plan);
  await run(
    agentTask(twoTools, { journal: whole.journal.slice(0, 5) }),
    new RecordingPort(whole.journal.slice(0, 5)),
    resumed,
  );
  expect(resumed.requests[0]?.messages).toEqual(uninterrupted.requests[2]?.messages);
});

test("a tool is tried again for the classes of its policy, each attempt with a decision of its own", async () => {
  const retry = {
    on: ["Http5xx"],
    maxAttempts: 3,
    backoff: { initialMs: 1, maxMs: 1, factor: 1, jitter: "none" as const },
  };
  const runs: ToolRun[] = [
    failedRun("Http503", "busy", false),
    failedRun("Http5xx", "bad", true),
    { ok: true, result: 7 },
  ];
  const port = new RecordingPort();
  const end = await run(
    agentTask({ model, tools: [toolView("act", { retry })] }),
    port,
    planned([{ text: "", toolCalls: [call("act")] }]),
    fakeExecutors(() => runs.shift() as ToolRun),
  );
  expect(end.kind).toBe("succeeded");
  expect(port.requests.map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
  expect(port.reports.map(({ journalSequence }) => journalSequence)).toEqual([0, 0, 2]);
});

test("a tool's failure is told to the model when its onError is tell", async () => {
  const asked = planned([{ text: "", toolCalls: [call("act")] }]);
  const failing = fakeExecutors(() => failedRun("Http4xx", "the endpoint answered 404", false));
  const port = new RecordingPort();
  await run(agentTask({ model, tools: [toolView("act")] }), port, asked, failing);
  expect(port.reports[0]?.journalSequence).toBe(2);
  expect(asked.requests[1]?.messages.at(-1)).toMatchObject({
    role: "tool",
    text: '{"error":{"class":"Http4xx","message":"the endpoint answered 404"}}',
  });
});

test("a tool's failure fails the task with ToolFailed when its onError is fail, and leaves no journal entry", async () => {
  const port = new RecordingPort();
  const end = await run(
    agentTask({ model, tools: [toolView("act", { onError: "fail" })] }),
    port,
    planned([{ text: "", toolCalls: [call("act")] }]),
    fakeExecutors(() => failedRun("RateLimited", "slow down", false, 1_500)),
  );
  expect(end).toMatchObject({ kind: "failed", class: "ToolFailed", retryable: true, retryAfterMs: 1_500 });
  expect(port.reports.map(({ journalSequence }) => journalSequence)).toEqual([0]);
  expect(port.journal.length).toBe(1);
});

test("invalid arguments reach the model as an error, take a journal entry and count as a call", async () => {
  const asked = planned([{ text: "", toolCalls: [call("act")] }]);
  const port = new RecordingPort([], () => ({ kind: "invalidArguments", message: "orderId is missing" }));
  const limits = { maxTurns: 8, maxToolCalls: 1, timeoutMs: 60_000, maxOutputBytes: 1_000 };
  const end = await run(agentTask({ model, tools: [toolView("act", { onError: "fail" })], limits }), port, asked);
  expect(end.kind).toBe("succeeded");
  expect(port.facts).toEqual(["turn 1", "turn 3"]);
  expect(asked.requests[1]?.results).toMatchObject({ act: { error: { class: "InvalidArguments" } } });
});

test("invalid arguments of a tool node fail it, also when another worker finds them in the journal", async () => {
  const agent = { model, tools: [toolView("act", { onInvalid: "fail" })] };
  const port = new RecordingPort([], () => ({ kind: "invalidArguments", message: "orderId is missing" }));
  const failed = {
    ...{ kind: "failed", class: "ToolFailed", retryable: false },
    message: "tool act failed with InvalidArguments: orderId is missing",
  };
  const asked = planned([{ text: "", toolCalls: [call("act")] }]);
  expect(await run(agentTask(agent), port, asked)).toEqual(failed);
  expect(port.facts).toEqual(["turn 1"]);
  const resumed = new RecordingPort(port.journal);
  expect(await run(agentTask(agent, { journal: port.journal }), resumed, planned([]))).toEqual(failed);
  expect([resumed.facts, resumed.requests]).toEqual([[], []]);
});

test("a call that the server's journal does not ask for fails the task, and the model hears nothing of it", async () => {
  const asked = planned([{ text: "", toolCalls: [call("act")] }]);
  const port = new RecordingPort([], () => ({ kind: "denied", code: "not_asked", taskEnded: false }));
  const end = await run(agentTask({ model, tools: [toolView("act")] }), port, asked);
  expect(end).toMatchObject({ kind: "failed", class: "ToolFailed", retryable: true });
  expect(asked.requests).toHaveLength(1);
  expect(port.facts).toEqual(["turn 1"]);
});

test("a cached result is used without running the tool", async () => {
  const executor = vi.fn();
  const asked = planned([{ text: "", toolCalls: [call("act")] }]);
  const port = new RecordingPort([], () => ({ kind: "cached", result: { id: 9 } }));
  await run(agentTask({ model, tools: [toolView("act")] }), port, asked, fakeExecutors(executor));
  expect(executor).not.toHaveBeenCalled();
  expect(port.reports).toEqual([]);
  expect(asked.requests[1]?.results).toEqual({ act: { id: 9 } });
});

test("a call in flight elsewhere or without an answer is asked again as the same attempt", async () => {
  const port = new RecordingPort([], (_, asked) =>
    asked === 1 ? { kind: "retryAfter", delayMs: 1 } : asked === 2 ? { kind: "unavailable", message: "" } : "grant",
  );
  const end = await run(
    agentTask({ model, tools: [toolView("act")] }),
    port,
    planned([{ text: "", toolCalls: [call("act")] }]),
  );
  expect(end.kind).toBe("succeeded");
  expect(port.requests.map(({ attempt }) => attempt)).toEqual([1, 1, 1]);
});

test.each<ReturnType<Decide>>([
  { kind: "denied", code: "forbidden", taskEnded: true },
  { kind: "unknownOutcome" },
  { kind: "conflict" },
  { kind: "leaseLost" },
])("the task is dropped quietly on $kind", async (decision) => {
  const port = new RecordingPort([], () => decision);
  const end = await run(
    agentTask({ model, tools: [toolView("act")] }),
    port,
    planned([{ text: "", toolCalls: [call("act")] }]),
  );
  expect(end).toEqual({ kind: "dropped" });
});

test("a tool that echoes its secret puts it neither into the journal nor into the model's next turn", async () => {
  const secret = "canary-4711";
  const echoed: ToolRun[] = [
    { ok: true, result: { [`key ${secret}`]: [secret, Buffer.from(`user:${secret}`).toString("base64"), 5] } },
    failedRun("ExitStatus", `bad key ${encodeURIComponent(secret)}`, false),
  ];
  const port = new RecordingPort();
  port.secrets = [secret];
  const asked = planned([
    { text: "", toolCalls: [call("act")] },
    { text: `I saw ${secret}`, toolCalls: [call("act", { key: secret })] },
    { text: secret, toolCalls: [] },
  ]);
  const task = agentTask({ model, tools: [toolView("act")] });
  const end = await run(
    task,
    port,
    asked,
    fakeExecutors(() => echoed.shift() as ToolRun),
  );
  expect(end).toEqual({ kind: "succeeded", output: { text: REDACTED } });
  const told = asked.requests.map(({ messages, results }) => [messages, results]);
  expect(JSON.stringify([told, port.journal, port.requests])).not.toMatch(/canary|Y2FuYXJ5/);
  expect(JSON.stringify(port.reports[0]?.outcome)).toContain(`"key ${REDACTED}":["${REDACTED}"`);
  expect(port.reports[1]?.outcome).toMatchObject({ failure: { message: `bad key ${REDACTED}` } });
  expect(port.requests[1]?.arguments).toEqual({ key: REDACTED });
});

test("a model's key that its provider echoes is in no turn and no failure", async () => {
  const agentMeans = { kind: "model", headers: { "X-Gateway": "Key canary-key-2" } } as const;
  const secrets = { modelSecret: "canary-key-1", agentMeans, agentSecrets: ["canary-key-2"] };
  const task = agentTask({ model, tools: [] }, secrets);
  const port = new RecordingPort();
  const echoing = planned([{ text: "your keys are canary-key-1, canary-key-2", toolCalls: [] }]);
  const end = await run(task, port, echoing);
  expect(echoing.requests).toMatchObject([{ secret: "canary-key-1", headers: { "X-Gateway": "Key canary-key-2" } }]);
  expect(end).toEqual({ kind: "succeeded", output: { text: `your keys are ${REDACTED}, ${REDACTED}` } });
  expect(JSON.stringify(port.journal)).not.toContain("canary");
  const refusing = {
    ask: () => Promise.reject(new ModelError("ModelRefused", "canary-key-1 is not a key")),
  };
  expect(await run(task, new RecordingPort(), refusing)).toMatchObject({ message: `${REDACTED} is not a key` });
});

test("a result that does not fit the tool's output schema is ResultInvalid", async () => {
  const port = new RecordingPort();
  const grant = port.callTool.bind(port);
  port.callTool = async (request) => {
    const decision = await grant(request);
    if (decision.kind !== "granted") return decision;
    return { kind: "granted", grant: { ...decision.grant, outputSchema: { type: "object", required: ["id"] } } };
  };
  await run(agentTask({ model, tools: [toolView("act")] }), port, planned([{ text: "", toolCalls: [call("act")] }]));
  expect(port.reports[0]?.outcome).toMatchObject({ ok: false, failure: { class: "ResultInvalid", ambiguous: true } });
});

const schema = { type: "object", required: ["route"], properties: { route: { enum: ["a", "b"] } } };
test.each<[string, Partial<AgentView>, string, Partial<TaskEnd>]>([
  ["text without a schema", {}, "hi", { kind: "succeeded", output: { text: "hi" } }],
  ["JSON text without a schema stays text", {}, '{"a":1}', { kind: "succeeded", output: { text: '{"a":1}' } }],
  ["JSON that fits", { outputSchema: schema }, ' {"route":"a"}', { kind: "succeeded", output: { route: "a" } }],
  ["JSON that does not fit", { outputSchema: schema }, '{"route":"c"}', { class: "OutputInvalid", retryable: true }],
  ["no JSON", { outputSchema: schema }, "route a", { class: "OutputInvalid", retryable: true }],
  ["too many bytes", {}, "é".repeat(501), { class: "OutputTooLarge", retryable: false }],
])("output: %s", async (_, agent, text, expected) => {
  const end = await run(agentTask({ model, ...agent }), new RecordingPort(), planned([{ text, toolCalls: [] }]));
  expect(end).toMatchObject(expected);
});

test("the prompt is rendered over the input, and is the input as JSON without one", async () => {
  const asked = planned([]);
  await run(agentTask({ model, prompt: "Q: ${{ input.question }}" }), new RecordingPort(), asked);
  await run(agentTask({ model }), new RecordingPort(), asked);
  await run(agentTask({ model, prompt: "${{ input }}" }), new RecordingPort(), asked);
  expect(asked.requests.map(({ messages }) => messages[0])).toEqual([
    { role: "user", text: "Q: why" },
    { role: "user", text: '{"question":"why"}' },
    { role: "user", text: '{"question":"why"}' },
  ]);
});

test("withheld tools are not shown to the model", async () => {
  const asked = planned([]);
  await run(agentTask(twoTools, { withheldTools: ["act"] }), new RecordingPort(), asked);
  expect(asked.requests[0]?.tools.map(({ name }) => name)).toEqual(["search"]);
});

test("a model error becomes the task's failure with its class, opinion and wait", async () => {
  const ask = () => Promise.reject(new ModelError("RateLimited", "later", 2_000));
  const end = await run(agentTask({ model }), new RecordingPort(), { ask });
  expect(end).toEqual({ kind: "failed", class: "RateLimited", message: "later", retryable: true, retryAfterMs: 2_000 });
});

test("a model that never answers fails with Timeout at the assignment's limit", async () => {
  const ask = () => new Promise<Turn>(() => {});
  const end = await run(agentTask({ model }, { timeoutMs: 20 }), new RecordingPort(), { ask });
  expect(end).toMatchObject({ kind: "failed", class: "Timeout", retryable: true });
});

test.each([
  ["cancelled", { kind: "cancelled" }],
  ["interrupted", { kind: "interrupted", reason: "draining" }],
] as const)("a tool in flight is aborted when the task is %s, and its fate reported", async (stop, expected) => {
  const controller = new AbortController();
  const port = new RecordingPort();
  const executors = fakeExecutors((_, __, signal) => {
    controller.abort(new TaskStopped(stop));
    expect(signal.aborted).toBe(true);
    return failedRun("Cancelled", "the call was stopped", true);
  });
  const asked = planned([{ text: "", toolCalls: [call("act")] }]);
  const end = await run(agentTask({ model, tools: [toolView("act")] }), port, asked, executors, controller.signal);
  expect(end).toEqual(expected);
  expect(port.reports).toMatchObject([
    { journalSequence: 0, outcome: { failure: { class: "Cancelled", ambiguous: true } } },
  ]);
});

test("a lost lease lets the tool in flight end and reports its result outside the journal", async () => {
  const controller = new AbortController();
  const port = new RecordingPort();
  const executors = fakeExecutors((_, __, signal) => {
    controller.abort(new TaskStopped("lost"));
    expect(signal.aborted).toBe(false);
    return { ok: true, result: 1 };
  });
  const asked = planned([{ text: "", toolCalls: [call("act")] }]);
  const end = await run(agentTask({ model, tools: [toolView("act")] }), port, asked, executors, controller.signal);
  expect(end).toEqual({ kind: "dropped" });
  expect(port.reports).toMatchObject([{ journalSequence: 0, outcome: { ok: true, result: 1 } }]);
});

test("a result that is larger as JSON than its cap is ResponseTooLarge", async () => {
  const port = new RecordingPort();
  const asked = planned([{ text: "", toolCalls: [call("act")] }]);
  const executors = fakeExecutors(() => ({ ok: true, result: "\u0001".repeat(400) }));
  await run(agentTask({ model, tools: [toolView("act")] }), port, asked, executors);
  expect(port.reports[0]?.outcome).toMatchObject({
    ok: false,
    failure: { class: "ResponseTooLarge", ambiguous: true },
  });
});

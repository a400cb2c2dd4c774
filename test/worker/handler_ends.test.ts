// How a task of handler code ends: what it throws and returns, what its tools and the server say, and when it is stopped.

import { expect, test } from "vitest";
import { TaskStopped } from "../../worker/agent/stop.ts";
import type { AgentTask, TaskEnd } from "../../worker/agent/task.ts";
import type { Handler, HandlerContext } from "../../worker/handler/context.ts";
import { AgentError, ToolError } from "../../worker/handler/errors.ts";
import { failedRun, type ToolRun } from "../../worker/tool/executor.ts";
import { failing, run, staged } from "./handler_stage.ts";
import { type Decide, fakeExecutors, toolView } from "./recording_port.ts";

const act: Handler = (_input, ctx) => ctx.tools.act();

test("a tool's failure is a ToolError that the code may catch; uncaught, it fails the task with ToolFailed", async () => {
  const caught: Handler = async (_input, ctx) => {
    const error = await ctx.tools.act().catch((thrown: unknown) => thrown);
    return error instanceof ToolError ? { tool: error.tool, class: error.class, message: error.message } : "none";
  };
  const told = { tool: "act", class: "Http4xx", message: "the endpoint answered 404" };
  const stage = staged();
  expect(await run(caught, stage, {}, { executors: failing })).toEqual({ kind: "succeeded", output: told });
  expect(await run(caught, staged(stage.port.journal))).toEqual({ kind: "succeeded", output: told });
  expect(await run(act, staged(), {}, { executors: failing })).toMatchObject({
    class: "ToolFailed",
    message: "tool act failed with Http4xx: the endpoint answered 404",
  });
  const refused = staged([], () => ({ kind: "invalidArguments", message: "orderId is missing" }));
  const invalid = await run(caught, refused);
  expect(invalid).toMatchObject({ output: { class: "InvalidArguments", message: "orderId is missing" } });
});

test("a tool with onError fail fails the task, and the code cannot catch it; a call beside it ends first", async () => {
  const slow = Promise.withResolvers<ToolRun>();
  const executors = fakeExecutors((tool) => {
    if (tool === "search") return slow.promise;
    setImmediate(() => slow.resolve({ ok: true, result: 1 }));
    return failedRun("RateLimited", "slow down", false, 1_500);
  });
  const stage = staged();
  const agent = { tools: [toolView("search"), toolView("act", { onError: "fail" })] };
  const code: Handler = async (_input, ctx) => {
    await Promise.allSettled([ctx.tools.search(), ctx.tools.act()]);
    return { aborted: ctx.signal.aborted };
  };
  const end = await run(code, stage, { agent }, { executors });
  expect(end).toMatchObject({ kind: "failed", class: "ToolFailed", retryAfterMs: 1_500 });
  expect(stage.port.reports.map(({ journalSequence }) => journalSequence)).toEqual([0, 2]);
});

test.each<[string, Partial<AgentTask>]>([
  ["is not declared", {}],
  ["is withheld", { withheldTools: ["nope"] }],
])("a tool that %s is not there, and no fact leaves for it", async (_which, task) => {
  const stage = staged();
  const agent = { tools: [toolView("search"), toolView("nope")].slice(0, task.withheldTools === undefined ? 1 : 2) };
  const code: Handler = async (_input, ctx) => {
    const error: ToolError = await ctx.tools.nope().catch((thrown: ToolError) => thrown);
    return {
      class: error.class,
      message: error.message,
      names: Object.keys(ctx.tools),
      offered: ctx.agent.tools.length,
    };
  };
  expect(await run(code, stage, { agent, task })).toMatchObject({
    output: {
      class: "Undeclared",
      message: 'agent a has no tool "nope"; it has search',
      names: ["search"],
      offered: 1,
    },
  });
  expect(stage.port.facts).toEqual([]);
});

test.each<ReturnType<Decide>>([
  { kind: "denied", code: "denied", taskEnded: true },
  { kind: "unknownOutcome" },
  { kind: "conflict" },
  { kind: "leaseLost" },
])("on $kind the task is dropped quietly, and the code is aborted", async (decision) => {
  const seen: unknown[] = [];
  const code: Handler = async (_input, ctx) => {
    await ctx.tools.act().catch((error: unknown) => seen.push(error instanceof ToolError, ctx.signal.aborted));
    seen.push(await ctx.record("more", () => 1).catch(() => "refused"));
    return "ignored";
  };
  const stage = staged([], () => decision);
  expect(await run(code, stage)).toEqual({ kind: "dropped" });
  expect(seen).toEqual([false, true, "refused"]);
  expect(stage.port.facts).toEqual(["turn 1"]);
});

test.each<[string, Handler, Partial<TaskEnd>]>([
  [
    "an exception",
    () => Promise.reject(new Error("no luck")),
    { class: "AgentFailed", message: "no luck", retryable: true },
  ],
  ["something that is no error", () => Promise.reject("text"), { class: "AgentFailed", message: "text" }],
  [
    "an AgentError",
    () => Promise.reject(new AgentError("later", { retryAfterMs: 5 })),
    { class: "AgentFailed", retryAfterMs: 5 },
  ],
  [
    "one that is final",
    () => Promise.reject(new AgentError("too old", { retryable: false })),
    { class: "AgentRefused", retryable: false },
  ],
  ["one with a class", () => Promise.reject(new AgentError("x", { class: "OrderTooOld" })), { class: "OrderTooOld" }],
  [
    "no JSON",
    () => ({ at: { when: new Date(0) } }),
    { class: "OutputInvalid", message: "the output is no JSON: .at.when is an object of class Date" },
  ],
  [
    "a number that is none",
    () => [Number.NaN],
    { class: "OutputInvalid", message: "the output is no JSON: [0] is NaN" },
  ],
  ["too much", () => "x".repeat(2_000), { class: "OutputTooLarge", retryable: false }],
  ["nothing", () => undefined, { kind: "succeeded", output: null }],
  [
    "arguments that are no object",
    (_input, ctx) => ctx.tools.act("text"),
    { class: "AgentFailed", message: "the argument of act must be an object, as its inputSchema says" },
  ],
])("a handler that gives %s", async (_which, handler, expected) => {
  expect(await run(handler, staged())).toMatchObject(expected);
});

test("an AgentError takes no class that a manifest cannot name, and no wait that is none", () => {
  expect(() => new AgentError("x", { class: "order too old" })).toThrow(TypeError);
  expect(() => new AgentError("x", { retryAfterMs: -1 })).toThrow(TypeError);
});

test("the output fits the agent's outputSchema", async () => {
  const outputSchema = { type: "object", required: ["id"] };
  expect(await run(() => ({ id: 1 }), staged(), { agent: { outputSchema } })).toMatchObject({ kind: "succeeded" });
  expect(await run(() => ({}), staged(), { agent: { outputSchema } })).toMatchObject({ class: "OutputInvalid" });
});

test.each([
  ["cancelled", { kind: "cancelled" }],
  ["interrupted", { kind: "interrupted", reason: "draining" }],
  ["lost", { kind: "dropped" }],
] as const)(
  "a task that is %s aborts its code, which may tidy up within the grace; what it gives then does not count",
  async (stop, expected) => {
    const stage = staged();
    let tidied = false;
    const code: Handler = async (_input, ctx) => {
      setImmediate(() => stage.stop.abort(new TaskStopped(stop)));
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve, { once: true }));
      await new Promise(setImmediate);
      tidied = true;
      return "late";
    };
    expect(await run(code, stage)).toEqual(expected);
    expect(tidied).toBe(true);
  },
);

test("code that ignores its signal is left behind after the grace, and what it does then has no effect", async () => {
  const stage = staged();
  const left = Promise.withResolvers<HandlerContext>();
  const code: Handler = (_input, ctx) => {
    left.resolve(ctx);
    return new Promise(() => {});
  };
  const end = await run(code, stage, { task: { timeoutMs: 20 } }, { graceMs: 20 });
  expect(end).toMatchObject({ kind: "failed", class: "Timeout" });
  expect(stage.logged.map(([message]) => message)).toEqual([expect.stringContaining("left behind")]);
  const ctx = await left.promise;
  const late = ctx.tools.act().then(
    () => "settled",
    () => "settled",
  );
  expect(await Promise.race([late, new Promise((resolve) => setImmediate(resolve, "pending"))])).toBe("pending");
  expect([stage.port.facts, stage.effects]).toEqual([[], []]);
  expect(stage.logged.at(-1)).toEqual([
    "a handler used its context after its end",
    { task: "task_1", run: "run_1", node: "n" },
  ]);
});

test("a call that the code does not wait for ends before the task does, and its failure ends no process", async () => {
  const stage = staged();
  const code: Handler = async (_input, ctx) => {
    void ctx.tools.act();
    return "done";
  };
  expect(await run(code, stage, {}, { executors: failing })).toEqual({ kind: "succeeded", output: "done" });
  expect(stage.port.facts).toEqual(["turn 1", "result 2"]);
  const meanwhile: Handler = async (_input, ctx) => {
    void ctx.tools.act();
    await ctx.tools.search().catch(() => {});
    return "done";
  };
  expect(await run(meanwhile, staged(), {}, { executors: failing })).toEqual({ kind: "succeeded", output: "done" });
});

// Node keeps a signal that is made of others for as long as it has not aborted and somebody listens to it.
test("when its task is over, the code's signal aborts, and tells who listened", async () => {
  const signals: AbortSignal[] = [];
  const heard: string[] = [];
  const code: Handler = async (_input, ctx) => {
    ctx.signal.addEventListener("abort", () => heard.push(String(ctx.signal.reason)));
    signals.push(ctx.signal);
    return { aborted: ctx.signal.aborted };
  };
  expect(await run(code, staged())).toEqual({ kind: "succeeded", output: { aborted: false } });
  expect([signals[0]?.aborted, heard]).toEqual([true, ["TaskEnded: the task has ended"]]);
});

// Handler code against a played server: what a resumed task repeats, how calls and records reach the journal, how tasks end.

import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { seededRandom } from "../../kit/random.ts";
import { REDACTED, Redactor } from "../../kit/redactor.ts";
import { TaskStopped } from "../../worker/agent/stop.ts";
import type { AgentTask, TaskEnd } from "../../worker/agent/task.ts";
import type { AgentView } from "../../worker/agent/view.ts";
import type { Handler, HandlerContext } from "../../worker/handler/context.ts";
import { AgentError, ToolError } from "../../worker/handler/errors.ts";
import { runHandler } from "../../worker/handler/run_handler.ts";
import type { LogFields } from "../../worker/log.ts";
import { failedRun, type ToolExecutors, type ToolRun } from "../../worker/tool/executor.ts";
import { agentTask, type Decide, fakeExecutors, RecordingPort, toolView } from "./recording_port.ts";

const tools = [toolView("search"), toolView("act")];

/** A stage for one task: what it ran, what it logged, how it stops. */
function staged(journal: RecordingPort["journal"] = [], decide?: Decide) {
  const effects: string[] = [];
  const logged: [string, LogFields | undefined][] = [];
  const stop = new AbortController();
  const port = new RecordingPort(journal, decide);
  const executors = fakeExecutors((tool, args) => {
    effects.push(`${tool} ${JSON.stringify(args)}`);
    return { ok: true, result: { tool, args } };
  });
  return { effects, logged, stop, port, executors };
}

type Staged = ReturnType<typeof staged>;

function run(
  handler: Handler,
  stage: Staged,
  { agent = {}, task = {} }: { agent?: Partial<AgentView>; task?: Partial<AgentTask> } = {},
  more: { executors?: ToolExecutors; graceMs?: number; redactor?: Redactor } = {},
): Promise<TaskEnd> {
  const view = { runtime: "handler", handler: "h", tools, ...agent };
  return runHandler(agentTask(view, { journal: [...stage.port.journal], ...task }), stage.port, stage.stop.signal, {
    handlers: { h: handler },
    executors: more.executors ?? stage.executors,
    clock: systemClock(),
    random: seededRandom(1),
    redactor: more.redactor ?? new Redactor(),
    log: (_level, message, fields) => stage.logged.push([message, fields]),
    graceMs: more.graceMs ?? 5_000,
  });
}

const twoByTwo: Handler = async (input, ctx) => {
  const plan = await ctx.record("plan", () => ({ about: input.question }));
  const [one, two] = await Promise.all([ctx.tools.search({ q: 1 }), ctx.tools.search({ q: 2 })]);
  const done = await ctx.tools.act({ on: [one.args.q, two.args.q] });
  return { plan, done: done.args };
};

test("calls that are made together are one turn, recorded before any of them runs; a recorded value is a turn with its name", async () => {
  const stage = staged();
  const end = await run(twoByTwo, stage);
  expect(end).toEqual({ kind: "succeeded", output: { plan: { about: "why" }, done: { on: [1, 2] } } });
  expect(stage.port.facts).toEqual(["turn 1", "turn 2", "result 3", "result 4", "turn 5", "result 6"]);
  expect(stage.port.journal[0]).toMatchObject({ turn: { record: "plan", text: '{"about":"why"}', toolCalls: [] } });
  expect(stage.port.journal[1]).toMatchObject({
    turn: { text: "", toolCalls: [{ name: "search" }, { name: "search" }] },
  });
});

test("a task that crashes after any fact repeats nothing that is recorded, and ends as if it had not crashed", async () => {
  const whole = staged();
  await run(twoByTwo, whole);
  for (let facts = 0; facts < whole.port.facts.length; facts += 1) {
    const first = staged();
    first.port.crashAfter(facts);
    expect(await run(twoByTwo, first)).toEqual({ kind: "dropped" });
    const second = staged(first.port.journal);
    const made: string[] = [];
    const watched: Handler = (input, ctx) => {
      const record: HandlerContext["record"] = (name, make) => {
        return ctx.record(name, () => {
          made.push(name);
          return make();
        });
      };
      return twoByTwo(input, { ...ctx, record });
    };
    expect(await run(watched, second)).toEqual({
      kind: "succeeded",
      output: { plan: { about: "why" }, done: { on: [1, 2] } },
    });
    expect([...first.port.facts, ...second.port.facts]).toEqual(whole.port.facts);
    expect(made).toEqual(first.port.journal.length > 0 ? [] : ["plan"]);
    // Only calls that were under way may run again; the ledger guards those.
    const recorded = first.port.journal.filter((entry) => entry.kind === "result").length;
    expect(second.effects.length).toBe(3 - recorded);
  }
});

test("recorded calls answer in whatever order the code asks; equal ones one after the other", async () => {
  const first = staged();
  let count = 0;
  const executors = fakeExecutors(() => {
    count += 1;
    return { ok: true, result: count };
  });
  const asked =
    (order: number[]): Handler =>
    async (_input, ctx) => {
      const answers = [];
      for (const q of order) answers.push(await ctx.tools.search({ q }));
      return answers;
    };
  expect(await run(asked([7, 8, 7]), first, {}, { executors })).toMatchObject({ output: [1, 2, 3] });
  const again = staged(first.port.journal);
  expect(await run(asked([8, 7, 7, 7]), again, {}, { executors })).toMatchObject({ output: [2, 1, 3, 4] });
  expect(again.port.facts).toEqual(["turn 7", "result 8"]);
});

test("a call whose arguments held a secret is known again by a worker that does not know the secret", async () => {
  const redactor = new Redactor();
  redactor.learn("canary-4711");
  const code: Handler = (_input, ctx) => ctx.tools.act({ key: "Bearer canary-4711!", n: 1 });
  const first = staged();
  await run(code, first, {}, { redactor });
  expect(JSON.stringify(first.port.journal)).not.toContain("canary");
  const second = staged(first.port.journal);
  expect((await run(code, second)).kind).toBe("succeeded");
  expect(second.effects).toEqual([]);
  const other = staged(first.port.journal);
  await run((_input, ctx) => ctx.tools.act({ key: "Basic canary-4711!", n: 1 }), other);
  expect(other.effects).toHaveLength(1);
});

test("secrets are left out of what handlers record, return, and say", async () => {
  const redactor = new Redactor();
  redactor.learn("canary-4711");
  const stage = staged();
  const end = await run(
    async (_input, ctx) => ({ kept: await ctx.record("r", () => "canary-4711") }),
    stage,
    {},
    { redactor },
  );
  expect(end).toEqual({ kind: "succeeded", output: { kept: REDACTED } });
  const thrown = await run(() => Promise.reject(new Error("bad canary-4711")), staged(), {}, { redactor });
  expect(thrown).toMatchObject({ class: "AgentFailed", message: `bad ${REDACTED}` });
});

const act: Handler = (_input, ctx) => ctx.tools.act();
const failing = fakeExecutors(() => failedRun("Http4xx", "the endpoint answered 404", false));

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

test("limits hold: calls by maxToolCalls, recorded values by maxTurns, over all lives of the task", async () => {
  const limits = { maxTurns: 2, maxToolCalls: 2, timeoutMs: 60_000, maxOutputBytes: 1_000 };
  const calls: Handler = async (_input, ctx) => {
    for (let n = 1; n <= 3; n += 1) await ctx.tools.act({ n }).catch((error: Error) => ctx.log("info", error.name));
  };
  const first = staged();
  expect(await run(calls, first, { agent: { limits } })).toMatchObject({ class: "ToolCallLimit", retryable: false });
  expect(first.effects).toHaveLength(2);
  const again = staged(first.port.journal);
  expect(await run(calls, again, { agent: { limits } })).toMatchObject({ class: "ToolCallLimit" });
  expect(again.effects).toEqual([]);
  const records: Handler = async (_input, ctx) => {
    for (let n = 1; n <= 3; n += 1) await ctx.record("n", () => n);
  };
  expect(await run(records, staged(), { agent: { limits } })).toMatchObject({ class: "TurnLimit" });
});

test("many large arguments are spread over turns that fit into a frame", async () => {
  const text = "x".repeat(60_000);
  const stage = staged();
  const code: Handler = (_input, ctx) =>
    Promise.all([1, 2, 3, 4, 5].map((n) => ctx.tools.act({ n, text }))).then(() => 1);
  const executors = fakeExecutors(() => ({ ok: true, result: 1 }));
  expect((await run(code, stage, {}, { executors })).kind).toBe("succeeded");
  const turns = stage.port.journal.flatMap((entry) => (entry.kind === "turn" ? [entry.turn.toolCalls.length] : []));
  expect(turns).toEqual([2, 2, 1]);
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
});

test.each<[string, (ctx: HandlerContext) => Promise<unknown>, string]>([
  [
    "with a value that is no JSON",
    (ctx) => ctx.record("r", () => new Map()),
    'the record "r" is no JSON: it is an object of class Map',
  ],
  ["without a name", (ctx) => ctx.record("", () => 1), "the name of a record has 1 to 128 characters"],
  [
    "at the same time under one name",
    (ctx) => Promise.all([ctx.record("r", () => 1), ctx.record("r", () => 2)]),
    'two records of the name "r" are made at the same time',
  ],
])("a record %s is refused", async (_which, use, message) => {
  expect(await run(async (_input, ctx) => void (await use(ctx)), staged())).toMatchObject({
    class: "AgentFailed",
    message,
  });
});

test("a record whose maker fails leaves nothing, and one without a value is known again", async () => {
  const stage = staged();
  const code: Handler = async (_input, ctx) => {
    await ctx.record("bad", () => Promise.reject(new Error("no"))).catch(() => {});
    return { none: (await ctx.record("none", () => undefined)) === undefined };
  };
  expect(await run(code, stage)).toMatchObject({ output: { none: true } });
  expect(stage.port.facts).toEqual(["turn 1"]);
  const again = staged(stage.port.journal);
  expect(await run(code, again)).toMatchObject({ output: { none: true } });
  expect(again.port.facts).toEqual([]);
});

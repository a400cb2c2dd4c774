// Handler code against a played server: what a resumed task repeats, how calls and records reach the journal, what its limits are.

import { expect, test } from "vitest";
import { REDACTED, Redactor } from "../../kit/redactor.ts";
import type { Handler, HandlerContext } from "../../worker/handler/context.ts";
import { run, staged } from "./handler_stage.ts";
import { fakeExecutors } from "./recording_port.ts";

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

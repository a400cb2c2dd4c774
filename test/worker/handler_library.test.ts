// The worker as a library with handlers: what it offers the server, what its facts look like on the wire, which options it refuses, and
// what the compiler knows of a handler.

import { expect, expectTypeOf, test } from "vitest";
import { createWorker, type Handler, type HandlerContext, workerOptions } from "../../worker/index.ts";
import type { WorkerOptions } from "../../worker/worker.ts";
import type { PlayedStream } from "./played_server.ts";
import { ackTurn, assign, connected } from "./session_stage.ts";

const limits = { maxTurns: 8, maxToolCalls: 8, timeoutMs: 60_000, maxOutputBytes: 10_000 };

/** Answers the worker's question for a view with an agent of that handler. */
async function serveHandler(stream: PlayedStream, name: string): Promise<void> {
  const asked = await stream.next("fetchViews");
  const spec = { runtime: "handler", handler: { name }, systemPrompt: "", tools: [], limits };
  const viewJson = JSON.stringify({ agents: { a: { name: "a", spec, tools: [] } } });
  stream.send({ case: "views", value: { views: asked.digests.map((digest) => ({ digest, viewJson })) } });
}

const twice: Handler = async (_input, ctx) => {
  return [await ctx.record("day", () => "new"), await ctx.record("day", () => ({ b: 1, a: undefined }))];
};

test("Hello offers the handlers; recorded values are turns with a name, and come back from the journal", async () => {
  const { stream } = await connected({ handlers: { twice } });
  expect(stream.hello).toMatchObject({ runtimes: ["model", "http", "command", "handler"], handlers: ["twice"] });
  const turnJson = '{"record":"day","text":"\\"old\\"","toolCalls":[]}';
  assign(stream, 1, { journal: [{ sequence: 1, entry: { case: "turnJson", value: turnJson } }] });
  await serveHandler(stream, "twice");
  const { turns } = await stream.next("turns");
  expect(turns[0]).toMatchObject({ sequence: 2, turnJson: '{"record":"day","text":"{\\"b\\":1}","toolCalls":[]}' });
  ackTurn(stream, 1, 2);
  const { outcomes } = await stream.next("outcomes");
  expect(outcomes[0]?.outcome).toMatchObject({ case: "outputJson", value: '["old",{"b":1}]' });
});

test("a task of a handler that this worker does not have is given back", async () => {
  const { stream } = await connected({ handlers: { twice }, runtimes: [] });
  expect(stream.hello).toMatchObject({ runtimes: ["handler"], handlers: ["twice"] });
  assign(stream, 1);
  await serveHandler(stream, "other");
  expect((await stream.next("yield")).leases[0]).toMatchObject({ token: "token_1", reason: "unsupported" });
});

test.each<[Partial<WorkerOptions>, string]>([
  [{ handlers: { refundAgent: twice } }, '"refundAgent" is no name of a handler'],
  [{ handlers: { twice: 5 as unknown as Handler } }, 'the handler "twice" is not a function'],
  [{ runtimes: ["magic"] }, '"magic" cannot be chosen; known are model, http, command'],
  [{ runtimes: ["handler"] }, '"handler" cannot be chosen; code is registered with the option `handlers`'],
  [{ runtimes: [] }, "runs nothing"],
])("createWorker refuses %j", (options, message) => {
  const create = () => createWorker({ endpoints: ["127.0.0.1:1"], joinToken: "t", name: "w", ...options });
  expect(create).toThrow(
    expect.objectContaining({ reason: "CONFIG_INVALID", message: expect.stringContaining(message) }),
  );
});

test("workerOptions reads what `orloj worker` reads", () => {
  const options = workerOptions({
    ORLOJ_JOIN_TOKEN: "t",
    ORLOJ_WORKER_ENDPOINTS: "127.0.0.1:9",
    ORLOJ_WORKER_SLOTS: "3",
  });
  expect(options).toMatchObject({ joinToken: "t", endpoints: ["127.0.0.1:9"], slots: 3 });
  expect(() => workerOptions({ ORLOJ_JOIN_TOKEN: "t", ORLOJ_WORKER_SLOTS: "many" })).toThrow(/slots/i);
});

interface Tools {
  refund(args: { orderId: string }): Promise<{ id: string }>;
}

test("the compiler checks a handler that says its types, and lets one be that says none", () => {
  const typed: Handler<{ orderId: string }, { id: string }, Tools> = async ({ orderId }, ctx) => {
    // @ts-expect-error another argument than the tool takes
    const wrong = () => ctx.tools.refund({ order: orderId });
    // @ts-expect-error a tool that it does not have
    const missing = () => ctx.tools.pay({});
    const kept = await ctx.record("kept", async () => ({ cents: 5, wrong, missing }).cents);
    expectTypeOf(kept).toEqualTypeOf<number>();
    return ctx.tools.refund({ orderId });
  };
  // @ts-expect-error an output of another type
  const misfit: Handler<unknown, { id: string }> = () => ({ id: 5 });
  const loose: Handler = async (input, ctx) => ctx.tools.anything({ of: input.any.depth });
  expectTypeOf<HandlerContext["signal"]>().toEqualTypeOf<AbortSignal>();
  const handlers = { typed, misfit, loose };
  expectTypeOf(handlers).toExtend<NonNullable<WorkerOptions["handlers"]>>();
  expect(Object.keys(handlers)).toHaveLength(3);
});

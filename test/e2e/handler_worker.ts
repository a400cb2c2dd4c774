// A worker program with handlers, for handlers.test.ts: what a user's program would be, on the library.
// What its code does outside of tools reaches the counting server, whose address the input names, so that the test can count it.

import { AgentError, createWorker, type Handlers, workerOptions } from "../../worker/index.ts";

const handlers: Handlers = {
  // Records an answer, charges, lingers.
  biller: async ({ url }: { url: string }, ctx) => {
    const plan = await ctx.record(
      "plan",
      async () => (await (await fetch(`${url}/think`)).json()) as { count: number },
    );
    const charged = await ctx.tools.charge({ cents: 5 });
    await ctx.tools.linger();
    return { thoughts: plan.count, charges: charged.count, attempt: ctx.task.attempt };
  },
  // Calls two tools at once, one of which is denied.
  thief: async (_input, ctx) => {
    await Promise.all([ctx.tools.look(), ctx.tools.steal()]);
    return {};
  },
  // Waits until it is stopped, then tells.
  patient: async ({ url }: { url: string }, ctx) => {
    await fetch(`${url}/waiting`);
    await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve, { once: true }));
    await fetch(`${url}/stopped`);
  },
  deaf: async ({ url }: { url: string }) => {
    await fetch(`${url}/deaf`);
    await new Promise(() => {});
  },
  // Says what it does.
  chatty: async ({ url }: { url: string }, ctx) => {
    ctx.log("info", "halfway", { step: 1 });
    await fetch(`${url}/chat`);
    ctx.log("warn", "nearly");
  },
  moody: async (_input, ctx) => {
    if (ctx.task.attempt === 1) throw new Error("not today");
    if (ctx.task.attempt === 2) throw new AgentError("the order is too old", { class: "OrderTooOld" });
  },
};

const worker = createWorker({
  ...workerOptions(process.env),
  handlers,
  runtimes: [],
  handlerGraceMs: 100,
  onReady: (session) => process.stdout.write(`worker ready (session ${session})\n`),
});
process.once("SIGTERM", () => void worker.stop());
await worker.start();
await worker.ended;

// A LangChain agent, and the worker that brings it. Start it instead of, or beside, `orloj worker`; it reads the same variables.
// The loop is LangChain's own. What leaves it goes through ctx: tools, so that policies decide, and answers, so that a crash repeats none.

import { createAgent } from "langchain";
import { createWorker, type Handler, workerOptions } from "orloj/worker";
import { governedTools, recordedAnswers } from "./governed.ts";
import { ScriptedModel } from "./scripted_model.ts";

const refundClerk: Handler<{ readonly question: string }, { readonly answer: string }> = async ({ question }, ctx) => {
  const agent = createAgent({
    model: new ScriptedModel(), // or: "openai:gpt-5-mini", after `npm install @langchain/openai`
    systemPrompt: "You answer customers. Look at the help pages before you refund.",
    tools: governedTools(ctx),
    middleware: [recordedAnswers(ctx)],
  });
  const { messages } = await agent.invoke({ messages: [{ role: "user", content: question }] }, { signal: ctx.signal });
  return { answer: messages.at(-1)?.text ?? "" };
};

const worker = createWorker({
  ...workerOptions(process.env),
  handlers: { "refund-clerk": refundClerk },
  onReady: (session) => process.stdout.write(`worker ready (session ${session})\n`),
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void worker.stop());
await worker.start();
await worker.ended;

// What joins LangChain and Orloj, for any agent and any model: tools that are governed, and answers that a crash does not ask for again.
// Called by worker.ts for each task. Knows nothing of what the agent does.

import { mapChatMessagesToStoredMessages, mapStoredMessagesToChatMessages } from "@langchain/core/messages";
import { AIMessage, createMiddleware, tool } from "langchain";
import type { HandlerContext } from "orloj/worker";

/** The agent's tools of the manifest as LangChain has them. Each call goes through ctx.tools: decided, recorded, given its means. */
export function governedTools({ agent, tools }: HandlerContext) {
  return agent.tools.map(({ name, description, inputSchema }) =>
    tool(async (args) => JSON.stringify(await tools[name](args)), { name, description, schema: inputSchema }),
  );
}

/** Records each answer of the model, whichever it is. After a crash the conversation is had again from the record, up to where it broke off. */
export function recordedAnswers(ctx: HandlerContext) {
  return createMiddleware({
    name: "recordedAnswers",
    wrapModelCall: async (request, ask) => {
      const stored = await ctx.record("answer", async () => {
        ctx.log("info", "asking the model", { messages: request.messages.length });
        const answer = await ask(request);
        if (!AIMessage.isInstance(answer)) throw new Error("the model gave no answer");
        // As JSON says it: a stored message may hold members that JSON has no word for.
        return JSON.stringify(mapChatMessagesToStoredMessages([answer]));
      });
      const [answer] = mapStoredMessagesToChatMessages(JSON.parse(stored));
      return answer as AIMessage;
    },
  });
}

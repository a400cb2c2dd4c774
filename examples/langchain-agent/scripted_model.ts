// A chat model that answers by rules, so that the example needs no key and no network: it looks at the help pages, refunds what the question
// says, and answers. A real model takes its place in worker.ts; LangChain's loop, its tools, and Orloj see no difference.

import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, type BaseMessage, ToolMessage } from "@langchain/core/messages";
import type { ChatResult } from "@langchain/core/outputs";

/** See the file header. Reads questions such as "Please refund A-1001, it was 49 euros". */
export class ScriptedModel extends BaseChatModel {
  constructor() {
    super({});
  }

  override _llmType(): string {
    return "scripted";
  }

  /** Its answers name the tools that they mean; nothing is bound. */
  override bindTools(): this {
    return this;
  }

  override async _generate(messages: BaseMessage[]): Promise<ChatResult> {
    const message = answerTo(messages);
    return { generations: [{ text: message.text, message }] };
  }
}

function answerTo(messages: readonly BaseMessage[]): AIMessage {
  const question = messages.find((message) => message.type === "human")?.text ?? "";
  const results = messages.filter((message) => ToolMessage.isInstance(message));
  const [, orderId] = /\b([A-Z]-\d+)\b/.exec(question) ?? [];
  const [, euros] = /\b(\d+) euros\b/.exec(question) ?? [];
  if (results.length === 0) return calling("search-help", { words: "refund" });
  if (results.length > 1) return new AIMessage(`Done: ${results.at(-1)?.text}`);
  if (orderId === undefined || euros === undefined) return new AIMessage("Which order, and how many euros?");
  return calling("refund", { orderId, amountCents: Number(euros) * 100 });
}

function calling(name: string, args: Record<string, unknown>): AIMessage {
  return new AIMessage({ content: "", tool_calls: [{ type: "tool_call", id: `call-${name}`, name, args }] });
}

// The shapes of the chat completions API, which OpenAI defined and many servers speak: a request from a conversation, and a
// turn from an answer, whole or streamed. Called by openai.ts. Pure.
// Source: OpenAI API reference, "Create chat completion" and "The chat completion chunk object".

import { canonicalJson, isJsonObject, type Json, type JsonObject, parseJson } from "../../kit/json.ts";
import type { RequestedCall, Turn, TurnUsage } from "../agent/task.ts";
import { ModelError, type ModelMessage, type ModelRequest } from "./adapter.ts";
import { providerError, streamedError } from "./endpoint.ts";

/** The members of a request that every server of this API knows. */
export function chatRequest(request: ModelRequest, systemPrompt: string): JsonObject {
  const { model } = request;
  const messages: Json[] = request.messages.map(wireMessage);
  if (systemPrompt !== "") messages.unshift({ role: "system", content: systemPrompt });
  return {
    model: model.name,
    messages,
    ...(request.tools.length === 0
      ? {}
      : {
          tools: request.tools.map((tool) => ({
            type: "function",
            function: { name: tool.name, description: tool.description, parameters: tool.inputSchema },
          })),
        }),
    ...(model.temperature === undefined ? {} : { temperature: model.temperature }),
  };
}

// Call ids are made from position, so that a conversation rebuilt from a journal reads the same.
function wireMessage(message: ModelMessage): JsonObject {
  if (message.role === "user") return { role: "user", content: message.text };
  if (message.role === "tool") {
    return { role: "tool", tool_call_id: callId(message.turn, message.callIndex), content: message.text };
  }
  return {
    role: "assistant",
    content: message.text,
    ...(message.toolCalls.length === 0
      ? {}
      : {
          tool_calls: message.toolCalls.map((call, index) => ({
            id: callId(message.turn, index),
            type: "function",
            function: { name: call.name, arguments: canonicalJson(call.arguments) },
          })),
        }),
  };
}

/** Id of a call by its place; the same whenever the conversation is rebuilt. */
export function callId(turn: number, index: number): string {
  return `call_${turn}_${index}`;
}

/** The turn in a whole answer. @throws ModelError */
export function readCompletion(text: string): Turn {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new ModelError("ModelProtocol", "the model's answer is not JSON");
  }
  const choice = isJsonObject(body) && Array.isArray(body.choices) ? body.choices[0] : undefined;
  const message = isJsonObject(choice) ? choice.message : undefined;
  if (!isJsonObject(body) || !isJsonObject(choice) || !isJsonObject(message)) {
    throw new ModelError("ModelProtocol", "the model's answer has no choices[0].message");
  }
  const content = message.content ?? "";
  if (typeof content !== "string") throw new ModelError("ModelProtocol", "the model's answer has no text content");
  const calls = message.tool_calls ?? [];
  if (!Array.isArray(calls)) throw new ModelError("ModelProtocol", "the model's tool_calls are not a list");
  const answered = { text: content, refusal: message.refusal, finishReason: choice.finish_reason, usage: body.usage };
  return turnOf({ ...answered, calls: calls.map(calledFunction) });
}

interface Answered {
  readonly text: string;
  readonly refusal: Json | undefined;
  readonly finishReason: Json | undefined;
  readonly usage: Json | undefined;
  readonly calls: readonly { readonly name: Json | undefined; readonly arguments: Json | undefined }[];
}

function calledFunction(value: Json): Answered["calls"][number] {
  const called = isJsonObject(value) ? value.function : undefined;
  return isJsonObject(called)
    ? { name: called.name, arguments: called.arguments }
    : { name: undefined, arguments: undefined };
}

function turnOf({ text, refusal, finishReason, usage, calls }: Answered): Turn {
  if (typeof refusal === "string" && refusal !== "") {
    throw new ModelError("ModelRefused", `the model refused: ${refusal}`);
  }
  if (finishReason === "content_filter") {
    throw new ModelError("ModelRefused", "the provider's filter held the answer");
  }
  if (finishReason === "length") throw cutOff();
  return { text, toolCalls: calls.map(readCall), ...usageOf(usage, "prompt_tokens", "completion_tokens") };
}

/** An answer that ended at its limit of tokens: half an answer is none. */
export function cutOff(): ModelError {
  return new ModelError(
    "OutputTooLarge",
    "the model's answer was cut off at its limit of tokens; raise parameters.maxOutputTokens or ask for less",
  );
}

/** Token counts under a provider's own names; {} if it gives none. */
export function usageOf(usage: Json | undefined, input: string, output: string): { readonly usage?: TurnUsage } {
  if (!isJsonObject(usage)) return {};
  const inputTokens = usage[input];
  const outputTokens = usage[output];
  if (!isCount(inputTokens) || !isCount(outputTokens)) return {};
  return { usage: { inputTokens, outputTokens } };
}

function isCount(value: Json | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function readCall(called: Answered["calls"][number]): RequestedCall {
  if (typeof called.name !== "string" || typeof called.arguments !== "string") {
    throw new ModelError("ModelProtocol", "a tool call of the model has no function with name and arguments");
  }
  return { name: called.name, arguments: readArguments(called.name, called.arguments) };
}

/** Arguments as a model wrote them; nothing is {}. @throws ModelError */
export function readArguments(name: string, text: string): JsonObject {
  try {
    const parsed = parseJson(text === "" ? "{}" : text);
    if (isJsonObject(parsed)) return parsed;
  } catch {
    // Falls through to the error below.
  }
  throw new ModelError("ModelProtocol", `the model's arguments for the tool "${name}" are not a JSON object`);
}

/** The turn in a streamed answer. @throws ModelError, also when the stream ends before the answer does */
export async function readCompletionChunks(chunks: AsyncIterable<JsonObject>): Promise<Turn> {
  let text = "";
  let refusal = "";
  let finishReason: Json | undefined;
  let usage: Json | undefined;
  const calls = new Map<number, { name: string; arguments: string }>();
  for await (const chunk of chunks) {
    if (chunk.error !== undefined) throw streamedError(providerError(chunk));
    if (isJsonObject(chunk.usage)) usage = chunk.usage;
    const choice = Array.isArray(chunk.choices) ? chunk.choices[0] : undefined;
    if (!isJsonObject(choice)) continue;
    finishReason = choice.finish_reason ?? finishReason;
    const delta = isJsonObject(choice.delta) ? choice.delta : {};
    if (typeof delta.content === "string") text += delta.content;
    if (typeof delta.refusal === "string") refusal += delta.refusal;
    for (const part of Array.isArray(delta.tool_calls) ? delta.tool_calls : []) addCall(calls, part);
  }
  if (finishReason === undefined) throw new ModelError("ModelUnavailable", "the model's answer broke off");
  const ordered = [...calls].sort(([a], [b]) => a - b).map(([, call]) => call);
  return turnOf({ text, refusal, finishReason, usage, calls: ordered });
}

// The name comes with the first part of a call, the arguments in pieces.
function addCall(calls: Map<number, { name: string; arguments: string }>, part: Json): void {
  if (!isJsonObject(part) || typeof part.index !== "number") {
    throw new ModelError("ModelProtocol", "a part of a tool call of the model has no index");
  }
  const call = calls.get(part.index) ?? { name: "", arguments: "" };
  const piece = isJsonObject(part.function) ? part.function : {};
  calls.set(part.index, {
    name: typeof piece.name === "string" && piece.name !== "" ? piece.name : call.name,
    arguments: call.arguments + (typeof piece.arguments === "string" ? piece.arguments : ""),
  });
}

// Asks models through Anthropic's Messages API, streamed, so that a stopped call stops the model at once.
// Called by the agent loop through the registry. Source: Anthropic API reference, "Messages" and "Streaming messages".
// The shape of a conversation there: roles alternate, the results of one turn's calls are one user message, no text is empty.

import { isJsonObject, type Json, type JsonObject } from "../../kit/json.ts";
import type { RequestedCall, Turn } from "../agent/task.ts";
import { type ModelAdapter, ModelError, type ModelMessage, type ModelRequest } from "./adapter.ts";
import { callId, cutOff, readArguments, usageOf } from "./chat_completions.ts";
import { askEndpoint, providerError, streamedError } from "./endpoint.ts";
import { readEvents } from "./event_stream.ts";
import { type EndpointOptions, ownOrAgentsKey } from "./openai.ts";
import { withOutputSchema } from "./output_request.ts";

/** Anthropic's own API. */
const ANTHROPIC_URL = "https://api.anthropic.com";
const API_VERSION = "2023-06-01";
/** Limit of an answer for agents that declare no maxOutputTokens: this API wants one. */
export const ANTHROPIC_OUTPUT_TOKENS = 8_192;

/** Provider `anthropic`: Anthropic's API, or the gateway that the worker's environment names instead. */
export function createAnthropicAdapter(options: EndpointOptions): ModelAdapter {
  return {
    async ask(request) {
      const key = ownOrAgentsKey(request, options, "ANTHROPIC_API_KEY");
      const response = await askEndpoint(
        {
          url: `${(options.baseUrl ?? ANTHROPIC_URL).replace(/\/+$/, "")}/v1/messages`,
          headers: { "anthropic-version": API_VERSION, ...(key === "" ? {} : { "x-api-key": key }) },
          more: request.headers,
          body: messagesRequest(request),
          signal: request.signal,
        },
        options.clock,
      );
      return await readMessage(readEvents(response, request.signal));
    },
  };
}

function messagesRequest(request: ModelRequest): JsonObject {
  const { model } = request;
  const system = withOutputSchema(request.systemPrompt, request.outputSchema);
  return {
    model: model.name,
    max_tokens: model.maxOutputTokens ?? ANTHROPIC_OUTPUT_TOKENS,
    ...(system === "" ? {} : { system }),
    messages: wireMessages(request.messages),
    ...(request.tools.length === 0
      ? {}
      : {
          tools: request.tools.map((tool) => ({
            name: tool.name,
            description: tool.description,
            input_schema: tool.inputSchema,
          })),
        }),
    ...(model.temperature === undefined ? {} : { temperature: model.temperature }),
    stream: true,
  };
}

function wireMessages(messages: readonly ModelMessage[]): JsonObject[] {
  const wire: { role: string; content: Json[] }[] = [];
  for (const message of messages) {
    const role = message.role === "assistant" ? "assistant" : "user";
    const content = blocksOf(message);
    const last = wire.at(-1);
    if (last?.role === role) last.content.push(...content);
    else if (content.length > 0) wire.push({ role, content });
  }
  return wire;
}

function blocksOf(message: ModelMessage): Json[] {
  const text: Json[] = message.text === "" ? [] : [{ type: "text", text: message.text }];
  if (message.role === "user") return text;
  if (message.role === "tool") {
    return [{ type: "tool_result", tool_use_id: callId(message.turn, message.callIndex), content: message.text }];
  }
  const calls = message.toolCalls.map((call, index) => ({
    type: "tool_use",
    id: callId(message.turn, index),
    name: call.name,
    input: call.arguments,
  }));
  return [...text, ...calls];
}

interface Block {
  text: string;
  /** Set for a tool call. */
  readonly name?: string;
  /** Arguments as they come, in pieces. */
  json: string;
}

/** The turn in a stream of message events. @throws ModelError, also when the stream ends before the message does */
export async function readMessage(events: AsyncIterable<JsonObject>): Promise<Turn> {
  const blocks = new Map<number, Block>();
  const usage: JsonObject = {};
  let stopReason: Json | undefined;
  let ended = false;
  for await (const event of events) {
    if (event.type === "error") throw streamedError(providerError(event));
    if (event.type === "message_start" && isJsonObject(event.message)) addUsage(usage, event.message.usage);
    if (event.type === "content_block_start") blocks.set(indexOf(event), blockOf(event.content_block));
    if (event.type === "content_block_delta") addDelta(blocks.get(indexOf(event)), event.delta);
    if (event.type === "message_delta") {
      if (isJsonObject(event.delta)) stopReason = event.delta.stop_reason ?? stopReason;
      addUsage(usage, event.usage);
    }
    if (event.type === "message_stop") ended = true;
  }
  if (!ended || stopReason === undefined) throw new ModelError("ModelUnavailable", "the model's answer broke off");
  refuseStop(stopReason);
  const ordered = [...blocks].sort(([a], [b]) => a - b).map(([, block]) => block);
  return {
    text: ordered.map((block) => block.text).join(""),
    toolCalls: ordered.flatMap(callOf),
    ...usageOf(usage, "input_tokens", "output_tokens"),
  };
}

// Counts grow while the answer does, and the last ones stand. Tokens read from or written to a cache are input as well.
function addUsage(usage: JsonObject, counts: Json | undefined): void {
  if (!isJsonObject(counts)) return;
  const { input_tokens: input, output_tokens: output } = counts;
  const cached = [counts.cache_creation_input_tokens, counts.cache_read_input_tokens]
    .filter((count) => typeof count === "number")
    .reduce((sum, count) => sum + count, 0);
  if (typeof input === "number") usage.input_tokens = input + cached;
  if (typeof output === "number") usage.output_tokens = output;
}

function indexOf(event: JsonObject): number {
  if (typeof event.index === "number") return event.index;
  throw new ModelError("ModelProtocol", "a content block of the model has no index");
}

// Blocks of other types, such as thinking, are neither text nor calls.
function blockOf(value: Json | undefined): Block {
  const block = isJsonObject(value) ? value : {};
  const text = block.type === "text" && typeof block.text === "string" ? block.text : "";
  if (block.type !== "tool_use") return { text, json: "" };
  if (typeof block.name !== "string") throw new ModelError("ModelProtocol", "a tool call of the model has no name");
  return { text: "", name: block.name, json: "" };
}

function addDelta(block: Block | undefined, delta: Json | undefined): void {
  if (block === undefined || !isJsonObject(delta)) {
    throw new ModelError("ModelProtocol", "a part of the model's answer belongs to no content block");
  }
  if (delta.type === "text_delta" && typeof delta.text === "string") block.text += delta.text;
  if (delta.type === "input_json_delta" && typeof delta.partial_json === "string") block.json += delta.partial_json;
}

function callOf({ name, json }: Block): RequestedCall[] {
  return name === undefined ? [] : [{ name, arguments: readArguments(name, json) }];
}

function refuseStop(reason: Json): void {
  if (reason === "end_turn" || reason === "tool_use" || reason === "stop_sequence") return;
  if (reason === "max_tokens") throw cutOff();
  if (reason === "refusal") throw new ModelError("ModelRefused", "the model refused to answer");
  if (reason === "model_context_window_exceeded") {
    throw new ModelError("ContextTooLong", "the conversation filled the model's context");
  }
  throw new ModelError("ModelProtocol", `the model stopped for the reason ${JSON.stringify(reason).slice(0, 80)}`);
}

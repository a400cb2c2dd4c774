// Asks a model through the chat completions API that OpenAI defined and many servers speak.
// Called by the agent loop through the registry. Source of the shapes: OpenAI API reference, "Create chat completion".
// Never quotes the provider's answer to a refused request beyond its message, and never the key.

import type { Clock } from "../../kit/clock.ts";
import { canonicalJson, isJsonObject, type Json, type JsonObject, parseJson } from "../../kit/json.ts";
import { MIB } from "../../kit/units.ts";
import type { RequestedCall, Turn } from "../agent/task.ts";
import { retryAfterMs } from "../tool/retry_after.ts";
import { type ModelAdapter, ModelError, type ModelMessage, type ModelRequest } from "./adapter.ts";

/** Largest answer of a provider that is read, in bytes. */
const ANSWER_BYTES_MAX = 8 * MIB;
const MESSAGE_CHARACTERS_MAX = 300;

/** The worker's own endpoint and key, for agents that name none. */
export interface OpenAiOptions {
  readonly clock: Clock;
  readonly baseUrl?: string;
  readonly apiKey?: string;
}

/** See the file header. */
export function createOpenAiAdapter(options: OpenAiOptions): ModelAdapter {
  return {
    async ask(request) {
      const baseUrl = request.model.baseUrl ?? options.baseUrl;
      if (baseUrl === undefined) {
        throw new ModelError(
          "ModelAuth",
          "the agent names no baseUrl and the worker has none; set ORLOJ_OPENAI_BASE_URL where the worker runs",
        );
      }
      // The worker's own key goes only to the worker's own endpoint: a manifest must not be able to send it elsewhere.
      const ownEndpoint = request.model.baseUrl === undefined || request.model.baseUrl === options.baseUrl;
      const key = request.secret !== "" ? request.secret : ownEndpoint ? (options.apiKey ?? "") : "";
      const response = await send(`${baseUrl.replace(/\/+$/, "")}/chat/completions`, key, request);
      const text = await readText(response, request.signal);
      if (!response.ok) throw refusal(response, text, options.clock.now());
      return readTurn(text);
    },
  };
}

async function send(url: string, key: string, request: ModelRequest): Promise<Response> {
  try {
    return await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", ...(key === "" ? {} : { authorization: `Bearer ${key}` }) },
      body: JSON.stringify(requestBody(request)),
      signal: request.signal,
      redirect: "error",
    });
  } catch {
    throw new ModelError("ModelUnavailable", "the model's endpoint cannot be reached");
  }
}

async function readText(response: Response, signal: AbortSignal): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > ANSWER_BYTES_MAX) break;
      chunks.push(chunk);
    }
  } catch {
    throw new ModelError("ModelUnavailable", signal.aborted ? "the call was stopped" : "the model's answer broke off");
  }
  if (bytes > ANSWER_BYTES_MAX) throw new ModelError("ModelProtocol", "the model's answer is too large to be read");
  return Buffer.concat(chunks).toString("utf8");
}

function requestBody(request: ModelRequest): JsonObject {
  const { model } = request;
  const messages: Json[] = request.messages.map(wireMessage);
  if (request.systemPrompt !== "") messages.unshift({ role: "system", content: request.systemPrompt });
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
    ...(model.maxOutputTokens === undefined ? {} : { max_tokens: model.maxOutputTokens }),
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

function callId(turn: number, index: number): string {
  return `call_${turn}_${index}`;
}

function refusal(response: Response, text: string, nowMs: number): ModelError {
  const { status } = response;
  const { code, message } = errorOf(text);
  const said = `the model's endpoint answered ${status}${message === "" ? "" : `: ${message}`}`;
  const wait = retryAfterMs(response.headers.get("retry-after"), nowMs);
  if (status === 429) return new ModelError("RateLimited", said, wait);
  if (status === 401 || status === 403) {
    return new ModelError(
      "ModelAuth",
      `the model's endpoint answered ${status}; check the key of the agent's secretRef`,
    );
  }
  if (status === 413 || code === "context_length_exceeded") return new ModelError("ContextTooLong", said);
  if (status >= 500 || status === 408) return new ModelError("ModelUnavailable", said, wait);
  return new ModelError("ModelRefused", said);
}

function errorOf(text: string): { code: string; message: string } {
  try {
    const body = JSON.parse(text) as unknown;
    const error = isJsonObject(body) && isJsonObject(body.error) ? body.error : {};
    const message = typeof error.message === "string" ? error.message.slice(0, MESSAGE_CHARACTERS_MAX) : "";
    return { code: typeof error.code === "string" ? error.code : "", message };
  } catch {
    return { code: "", message: "" };
  }
}

function readTurn(text: string): Turn {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new ModelError("ModelProtocol", "the model's answer is not JSON");
  }
  const choice = isJsonObject(body) && Array.isArray(body.choices) ? body.choices[0] : undefined;
  const message = isJsonObject(choice) ? choice.message : undefined;
  if (!isJsonObject(choice) || !isJsonObject(message)) {
    throw new ModelError("ModelProtocol", "the model's answer has no choices[0].message");
  }
  if (typeof message.refusal === "string" && message.refusal !== "") {
    throw new ModelError("ModelRefused", `the model refused: ${message.refusal.slice(0, MESSAGE_CHARACTERS_MAX)}`);
  }
  if (choice.finish_reason === "content_filter")
    throw new ModelError("ModelRefused", "the provider's filter held the answer");
  const content = message.content ?? "";
  if (typeof content !== "string") throw new ModelError("ModelProtocol", "the model's answer has no text content");
  const calls = message.tool_calls ?? [];
  if (!Array.isArray(calls)) throw new ModelError("ModelProtocol", "the model's tool_calls are not a list");
  return { text: content, toolCalls: calls.map(readCall) };
}

function readCall(value: Json): RequestedCall {
  const called = isJsonObject(value) ? value.function : undefined;
  if (!isJsonObject(called) || typeof called.name !== "string" || typeof called.arguments !== "string") {
    throw new ModelError("ModelProtocol", "a tool call of the model has no function with name and arguments");
  }
  try {
    const parsed = parseJson(called.arguments === "" ? "{}" : called.arguments);
    if (isJsonObject(parsed)) return { name: called.name, arguments: parsed };
  } catch {
    // Falls through to the error below.
  }
  throw new ModelError("ModelProtocol", `the model's arguments for the tool "${called.name}" are not a JSON object`);
}

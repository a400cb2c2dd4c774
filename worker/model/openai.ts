// Asks models through the chat completions API: OpenAI itself, and any server that speaks the same.
// Called by the agent loop through the registry. OpenAI streams, so that a stopped call stops the model at once and a long
// answer is never mistaken for a dead connection; of other servers nothing is asked but what all of them know.

import type { Clock } from "../../kit/clock.ts";
import type { JsonObject } from "../../kit/json.ts";
import { type ModelAdapter, ModelError, type ModelRequest } from "./adapter.ts";
import { chatRequest, readCompletion, readCompletionChunks } from "./chat_completions.ts";
import { askEndpoint, readText } from "./endpoint.ts";
import { readEvents } from "./event_stream.ts";
import { withOutputSchema } from "./output_request.ts";

/** OpenAI's own API. */
const OPENAI_URL = "https://api.openai.com/v1";

/** The worker's own endpoint and key, for agents that name none. */
export interface EndpointOptions {
  readonly clock: Clock;
  readonly baseUrl?: string;
  readonly apiKey?: string;
}

/** Provider `openai`: OpenAI's API, or the gateway that the worker's environment names instead. */
export function createOpenAiAdapter(options: EndpointOptions): ModelAdapter {
  return {
    async ask(request) {
      const key = ownOrAgentsKey(request, options, "OPENAI_API_KEY");
      const response = await askEndpoint(
        {
          url: chatUrl(options.baseUrl ?? OPENAI_URL),
          headers: authorization(key),
          more: request.headers,
          body: openAiRequest(request),
          signal: request.signal,
        },
        options.clock,
      );
      return await readCompletionChunks(readEvents(response, request.signal));
    },
  };
}

/** Provider `openai-compatible`: the server at the agent's baseUrl. */
export function createOpenAiCompatibleAdapter(options: EndpointOptions): ModelAdapter {
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
      const { maxOutputTokens } = request.model;
      const body = {
        ...chatRequest(request, withOutputSchema(request.systemPrompt, request.outputSchema)),
        ...(maxOutputTokens === undefined ? {} : { max_tokens: maxOutputTokens }),
      };
      const { headers: more, signal } = request;
      const asked = { url: chatUrl(baseUrl), headers: authorization(key), more, body, signal };
      return readCompletion(await readText(await askEndpoint(asked, options.clock), signal));
    },
  };
}

/**
 * The key of an agent's secretRef, else the worker's own. A gateway of the operator's may need none.
 *
 * @throws ModelError ModelAuth that names the variable, before anything is sent.
 */
export function ownOrAgentsKey(request: ModelRequest, options: EndpointOptions, variable: string): string {
  const key = request.secret !== "" ? request.secret : (options.apiKey ?? "");
  if (key !== "" || options.baseUrl !== undefined) return key;
  const what = "the agent names no secretRef and the worker has no key of its own";
  throw new ModelError("ModelAuth", `${what}; set ${variable} where the worker runs, or name a secret`);
}

function chatUrl(baseUrl: string): string {
  return `${baseUrl.replace(/\/+$/, "")}/chat/completions`;
}

function authorization(key: string): Record<string, string> {
  return key === "" ? {} : { authorization: `Bearer ${key}` };
}

// `strict` would refuse schemas with optional members. OpenAI takes an object schema only; any other is told in the prompt.
function openAiRequest(request: ModelRequest): JsonObject {
  const { outputSchema, systemPrompt } = request;
  const { maxOutputTokens } = request.model;
  const format =
    outputSchema?.type === "object"
      ? {
          response_format: {
            type: "json_schema",
            json_schema: { name: "answer", schema: outputSchema, strict: false },
          },
        }
      : {};
  return {
    ...chatRequest(request, "response_format" in format ? systemPrompt : withOutputSchema(systemPrompt, outputSchema)),
    ...(maxOutputTokens === undefined ? {} : { max_completion_tokens: maxOutputTokens }),
    ...format,
    stream: true,
    stream_options: { include_usage: true },
  };
}

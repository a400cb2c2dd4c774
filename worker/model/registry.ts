// The model adapters of this worker, one a provider.
// Called once by worker.ts; the session yields tasks whose provider is not here as unsupported.
// A new provider is one more line here.

import type { Clock } from "../../kit/clock.ts";
import type { ModelAdapter } from "./adapter.ts";
import { createAnthropicAdapter } from "./anthropic.ts";
import { createOpenAiAdapter, createOpenAiCompatibleAdapter, type EndpointOptions } from "./openai.ts";
import { createScriptedAdapter } from "./scripted.ts";

/** The worker's own model endpoints and keys, for agents without baseUrl or secretRef. */
export interface ModelOptions {
  /** OpenAI's own API by default. */
  readonly openAiBaseUrl?: string;
  /** Never logged. */
  readonly openAiApiKey?: string;
  /** Anthropic's own API by default. */
  readonly anthropicBaseUrl?: string;
  /** Never logged. */
  readonly anthropicApiKey?: string;
}

/** Adapters by provider. */
export type ModelAdapters = Readonly<Partial<Record<string, ModelAdapter>>>;

/** All adapters. */
export function createModelAdapters(clock: Clock, options: ModelOptions): ModelAdapters {
  const openAi = endpoint(clock, options.openAiBaseUrl, options.openAiApiKey);
  return {
    scripted: createScriptedAdapter(clock),
    openai: createOpenAiAdapter(openAi),
    "openai-compatible": createOpenAiCompatibleAdapter(openAi),
    anthropic: createAnthropicAdapter(endpoint(clock, options.anthropicBaseUrl, options.anthropicApiKey)),
  };
}

function endpoint(clock: Clock, baseUrl: string | undefined, apiKey: string | undefined): EndpointOptions {
  return { clock, ...(baseUrl === undefined ? {} : { baseUrl }), ...(apiKey === undefined ? {} : { apiKey }) };
}

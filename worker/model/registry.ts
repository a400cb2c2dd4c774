// The model adapters of this worker, one a provider.
// Called once by worker.ts; the session yields tasks whose provider is not here as unsupported.
// A new provider is one more line here.

import type { Clock } from "../../kit/clock.ts";
import type { ModelAdapter } from "./adapter.ts";
import { createOpenAiAdapter } from "./openai_compatible.ts";
import { createScriptedAdapter } from "./scripted.ts";

/** The worker's own model endpoint, for agents without baseUrl or secretRef. */
export interface ModelOptions {
  readonly openAiBaseUrl?: string;
  /** Never logged. */
  readonly openAiApiKey?: string;
}

/** Adapters by provider. */
export type ModelAdapters = Readonly<Partial<Record<string, ModelAdapter>>>;

/** All adapters. */
export function createModelAdapters(clock: Clock, options: ModelOptions): ModelAdapters {
  return {
    scripted: createScriptedAdapter(clock),
    "openai-compatible": createOpenAiAdapter({
      clock,
      ...(options.openAiBaseUrl === undefined ? {} : { baseUrl: options.openAiBaseUrl }),
      ...(options.openAiApiKey === undefined ? {} : { apiKey: options.openAiApiKey }),
    }),
  };
}

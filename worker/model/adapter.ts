// What every model adapter is: a conversation in, one turn or a classed error out, abortable.
// Called by agent/loop.ts; registry.ts lists the adapters by provider.
// An adapter keeps no state between turns and never retries: the task's retry policy decides that. It never logs the secret.

import type { Json, JsonObject } from "../../kit/json.ts";
import type { RequestedCall, Turn } from "../agent/task.ts";
import type { ModelView, ToolView } from "../agent/view.ts";

/** One part of the conversation so far. */
export type ModelMessage =
  | { readonly role: "user"; readonly text: string }
  | {
      readonly role: "assistant";
      readonly text: string;
      readonly toolCalls: readonly RequestedCall[];
      readonly turn: number;
    }
  /** Result of call `callIndex` of turn `turn`, as JSON text. */
  | {
      readonly role: "tool";
      readonly turn: number;
      readonly callIndex: number;
      readonly name: string;
      readonly text: string;
    };

/** What one turn is asked with. */
export interface ModelRequest {
  readonly model: ModelView;
  /** Credential that the agent names; empty: the worker's own environment. */
  readonly secret: string;
  /** Headers that the agent declares beside those of the API. Hold secrets. */
  readonly headers: Readonly<Record<string, string>>;
  readonly systemPrompt: string;
  readonly messages: readonly ModelMessage[];
  readonly tools: readonly ToolView[];
  /** JSON Schema of the last answer; absent: text. */
  readonly outputSchema?: JsonObject;
  /** Turn number, from 1. */
  readonly turn: number;
  readonly input: Json;
  /** Last result of each tool by name; an error is {error: {class, message}}. */
  readonly results: JsonObject;
  readonly signal: AbortSignal;
}

/** Answers turns. */
export interface ModelAdapter {
  /**
   * Asks for the next turn.
   *
   * @throws ModelError; whatever it throws once the signal aborted is ignored.
   */
  ask(request: ModelRequest): Promise<Turn>;
}

/** Classes of model failure and whether trying again may help. */
export const MODEL_ERRORS = {
  ModelUnavailable: true,
  RateLimited: true,
  ModelProtocol: true,
  ModelRefused: false,
  ContextTooLong: false,
  OutputTooLarge: false,
  ModelAuth: false,
} as const satisfies Record<string, boolean>;

/** A model that did not answer with a turn. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  readonly class: string;
  /** What the provider asked for, in ms. */
  readonly retryAfterMs: number | undefined;

  /** @param errorClass one of MODEL_ERRORS, or a class that a script names. */
  constructor(errorClass: keyof typeof MODEL_ERRORS | (string & {}), message: string, retryAfterMs?: number) {
    super(message);
    this.class = errorClass;
    this.retryAfterMs = retryAfterMs;
  }

  /** False only for classes that are known not to heal; an unknown class is left to the retry policy. */
  get retryable(): boolean {
    return (MODEL_ERRORS as Record<string, boolean>)[this.class] ?? true;
  }
}

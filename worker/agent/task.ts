// What a task is to the agent loop: the assignment, its journal, and the port through which its facts leave.
// Made by worker/session/ from wire frames; used by loop.ts, tool_call.ts and the tests, which play the server.
// Holds no wire type: the session translates.

import type { Json, JsonObject } from "../../kit/json.ts";
import type { CommandMeans, HttpMeans, ToolFailure, ToolMeans } from "../tool/executor.ts";
import type { TaskObserver } from "./observer.ts";
import type { AgentView } from "./view.ts";

/** A tool call as a model asked for it. */
export interface RequestedCall {
  readonly name: string;
  readonly arguments: JsonObject;
}

/** Tokens of one model response, as the provider counts them. */
export interface TurnUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** One recorded model response. */
export interface Turn {
  readonly text: string;
  readonly toolCalls: readonly RequestedCall[];
  /** Absent if the provider gives none. It is on record and decides nothing. */
  readonly usage?: TurnUsage;
  /** Name under which handler code recorded a value, which `text` then holds as JSON; absent: a turn of a model, or calls of handler code. */
  readonly record?: string;
}

/** A recorded tool result: a value, or the error that the model was told. */
export type RecordedResult =
  | { readonly ok: true; readonly result: Json }
  | { readonly ok: false; readonly errorClass: string; readonly errorMessage: string };

/** One journal entry; sequences are 1, 2, 3, … without a gap. */
export type JournalEntry =
  | { readonly kind: "turn"; readonly sequence: number; readonly turn: Turn }
  | {
      readonly kind: "result";
      readonly sequence: number;
      readonly turnSequence: number;
      readonly callIndex: number;
      readonly tool: string;
      readonly outcome: RecordedResult;
    };

/** What a model is asked with beside what its API needs. Holds secrets. */
export interface ModelMeans {
  readonly kind: "model";
  readonly headers: Readonly<Record<string, string>>;
}

/** A task to execute, resolved: view and whole journal are at hand. */
export interface AgentTask {
  readonly taskId: string;
  readonly runId: string;
  readonly node: string;
  readonly attempt: number;
  /** W3C trace id of the run; absent: it is in none. */
  readonly trace?: string;
  readonly agent: AgentView;
  readonly input: Json;
  readonly journal: readonly JournalEntry[];
  /** Time left for this attempt in ms; absent: the agent's own limit. */
  readonly timeoutMs?: number;
  /** Aliases that the model must not see. */
  readonly withheldTools: readonly string[];
  /** Model credential; empty if the agent names none. Never logged. */
  readonly modelSecret: string;
  /** How an agent outside of this worker is reached, without its input, or its model asked; absent for others. Never logged. */
  readonly agentMeans?: HttpMeans | CommandMeans | ModelMeans;
  /** Secret values that agentMeans holds: they are left out of what is told of the task. */
  readonly agentSecrets: readonly string[];
  /** Tool calls recorded by earlier attempts, whether or not the journal still holds them. */
  readonly toolCallsSpent: number;
  /** Is told what happens; absent: nobody looks. */
  readonly observer?: TaskObserver;
}

/** A request for the server's decision on one tool attempt. */
export interface ToolCallRequest {
  readonly turnSequence: number;
  readonly callIndex: number;
  readonly tool: string;
  readonly arguments: JsonObject;
  /** From 1. */
  readonly attempt: number;
}

/** Permission and means for one tool attempt. */
export interface ToolGrant {
  readonly callId: bigint;
  readonly grantId: string;
  readonly timeoutMs: number;
  readonly resultBytesMax: number;
  readonly means: ToolMeans;
  /** Secret values that the means hold: they are left out of what is told of the call. */
  readonly secrets: readonly string[];
  /** JSON Schema of the result; absent: anything. */
  readonly outputSchema?: JsonObject;
}

/** The server's decision. */
export type ToolDecision =
  | { readonly kind: "granted"; readonly grant: ToolGrant }
  | { readonly kind: "cached"; readonly result: Json }
  | { readonly kind: "denied"; readonly code: string; readonly taskEnded: boolean }
  | { readonly kind: "retryAfter"; readonly delayMs: number }
  | { readonly kind: "invalidArguments"; readonly message: string }
  | { readonly kind: "unavailable"; readonly message: string }
  | { readonly kind: "unknownOutcome" }
  | { readonly kind: "conflict" }
  | { readonly kind: "leaseLost" };

/** The end of one granted tool attempt. */
export interface ToolReport {
  readonly callId: bigint;
  readonly grantId: string;
  readonly outcome:
    | { readonly ok: true; readonly result: Json }
    | { readonly ok: false; readonly failure: ToolFailure };
  readonly durationMs: number;
  /** Journal sequence that it takes; 0: it takes none. */
  readonly journalSequence: number;
}

/**
 * Where the facts of one task go. Promises resolve once the server recorded the fact and reject with TaskStopped when the
 * lease is lost. They survive reconnects: unacknowledged facts are sent again.
 */
export interface TaskPort {
  recordTurn(sequence: number, turn: Turn): Promise<void>;
  callTool(request: ToolCallRequest): Promise<ToolDecision>;
  recordToolResult(report: ToolReport): Promise<void>;
  /** Resolves at once while the lease is known to be sound, else when it is again; never rejects before the task stops. */
  leaseSound(signal: AbortSignal): Promise<void>;
}

/** How a task ended on this worker; dropped reports nothing. */
export type TaskEnd =
  | { readonly kind: "succeeded"; readonly output: Json }
  | {
      readonly kind: "failed";
      readonly class: string;
      readonly message: string;
      readonly retryable: boolean;
      readonly retryAfterMs?: number;
    }
  | { readonly kind: "cancelled" }
  | { readonly kind: "interrupted"; readonly reason: string }
  | { readonly kind: "dropped" };

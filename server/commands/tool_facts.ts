// What a worker asks and tells about tool calls, and what it is answered.
// Made by dispatch/worker_facts from wire frames; decided by authorize_tool_call.ts, recorded by record_tool_results.ts.

import type { MeansValue } from "../grant/render.ts";
import type { Presented, SettleItem } from "./settle_items.ts";

/** A worker wants to call a tool. */
export interface ToolCallFact extends Presented {
  /** Journal sequence of the turn that asked, and index in it. */
  readonly turnSequence: number;
  readonly callIndex: number;
  /** Name as the agent declares it. */
  readonly tool: string;
  readonly argumentsJson: string;
  readonly attempt: number;
  readonly worker: string;
}

/** Permission and means for one attempt. Holds secrets: never logged, never stored. */
export interface Grant {
  readonly grantId: string;
  readonly requestId: string;
  readonly timeoutMs: number;
  readonly resultBytesMax: number;
  readonly means: MeansValue;
  /** Secret values that the means hold. */
  readonly secrets: readonly string[];
  /** JSON Schema text; absent: any result. */
  readonly outputSchemaJson?: string;
}

/** Answer to a tool call. */
export type ToolAnswer =
  | { readonly type: "granted"; readonly grant: Grant }
  | { readonly type: "cached"; readonly resultJson: string }
  | { readonly type: "denied"; readonly code: string }
  | { readonly type: "retry_after"; readonly delayMs: number }
  | { readonly type: "unknown_outcome" }
  | { readonly type: "conflict" }
  | { readonly type: "failed" }
  | { readonly type: "lease_lost" }
  /** The recorded turn did not ask for this call; nothing changed. */
  | { readonly type: "not_asked" }
  | { readonly type: "invalid_arguments"; readonly message: string };

/** An answer, and what must be settled before it is given. */
export interface Authorized {
  readonly answer: ToolAnswer;
  readonly settle?: SettleItem;
}

/** A worker tells how a granted attempt ended. */
export interface ToolResultFact extends Presented {
  readonly grantId: string;
  readonly result:
    | { readonly ok: true; readonly resultJson: string }
    | { readonly ok: false; readonly class: string; readonly message: string; readonly ambiguous: boolean };
  readonly durationMs: number;
  /** Journal sequence that a final result takes; 0 when another attempt follows. */
  readonly journalSequence: number;
  readonly worker: string;
}

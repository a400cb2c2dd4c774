// The coalesced commands: one coalescer a kind of hot write, shared by every session and call of this replica.
// Made by replica.ts. Callers are answered after their batch committed; a batch that fails is split until the guilty item is alone.

import { Coalescer } from "../../kit/coalescer.ts";
import { DomainError } from "../../kit/errors.ts";
import { authorizeToolCalls } from "./authorize_tool_call.ts";
import type { CommandContext } from "./context.ts";
import type { InvokeResult } from "./control_plane.ts";
import { invoke } from "./invoke.ts";
import type { InvokeItem } from "./judge_invocation.ts";
import { type RecordedResult, recordToolResults } from "./record_tool_results.ts";
import { recordTurns, type TurnFact } from "./record_turns.ts";
import { settle } from "./settle.ts";
import type { SettleItem, SettleVerdict } from "./settle_items.ts";
import type { Authorized, ToolCallFact, ToolResultFact } from "./tool_facts.ts";

const BATCH_MAX = 200;
const WAITING_MAX = 20_000;

/** See the file header. */
export interface CommandServices {
  readonly invoke: Coalescer<InvokeItem, InvokeResult>;
  readonly settle: Coalescer<SettleItem, SettleVerdict>;
  readonly turns: Coalescer<TurnFact, SettleVerdict>;
  readonly authorize: Coalescer<ToolCallFact, Authorized>;
  readonly results: Coalescer<ToolResultFact, RecordedResult>;
}

const OPTIONS = {
  batchMax: BATCH_MAX,
  waitingMax: WAITING_MAX,
  isShared: (error: unknown) => error instanceof DomainError && error.reason === "STORAGE_UNAVAILABLE",
  overflow: () => new DomainError("TOO_MANY", "too many writes wait for the database; send again later"),
};

/** The coalescers over a context. */
export function createServices(context: CommandContext): CommandServices {
  return {
    invoke: new Coalescer((items) => invoke(context, items), OPTIONS),
    settle: new Coalescer((items) => settle(context, items), OPTIONS),
    turns: new Coalescer((facts) => recordTurns(context, facts), OPTIONS),
    authorize: new Coalescer((facts) => authorizeToolCalls(context, facts), OPTIONS),
    results: new Coalescer((facts) => recordToolResults(context, facts), OPTIONS),
  };
}

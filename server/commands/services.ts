// The coalesced commands: one coalescer a kind of hot write, shared by every session and call of this replica.
// Made by replica.ts. Callers are answered after their batch committed; a batch that fails is split until the guilty item is alone.

import type { Clock } from "../../kit/clock.ts";
import { type BatchWriter, Coalescer, type CoalescerOptions } from "../../kit/coalescer.ts";
import { DomainError } from "../../kit/errors.ts";
import { authorizeToolCalls } from "./authorize_tool_call.ts";
import type { CommandContext } from "./context.ts";
import type { InvokeResult } from "./control_plane.ts";
import { invoke } from "./invoke.ts";
import type { InvokeItem } from "./judge_invocation.ts";
import { keepTaskLogs, type TaskLogChunk } from "./keep_task_logs.ts";
import { type RecordedResult, recordToolResults } from "./record_tool_results.ts";
import { recordTurns, type TurnFact } from "./record_turns.ts";
import { settle } from "./settle.ts";
import type { SettleItem, SettleVerdict } from "./settle_items.ts";
import type { Authorized, ToolCallFact, ToolResultFact } from "./tool_facts.ts";

const BATCH_MAX = 200;
const WAITING_MAX = 20_000;
/** Log lines are no facts: they wait for each other, so that they cost a transaction a tenth of a second and not one a task. */
const LOGS_GATHER_MS = 100;
const LOGS_MAX = 2_000;

/** See the file header. */
export interface CommandServices {
  readonly invoke: Coalescer<InvokeItem, InvokeResult>;
  readonly settle: Coalescer<SettleItem, SettleVerdict>;
  readonly turns: Coalescer<TurnFact, SettleVerdict>;
  readonly authorize: Coalescer<ToolCallFact, Authorized>;
  readonly results: Coalescer<ToolResultFact, RecordedResult>;
  readonly logs: Coalescer<TaskLogChunk, true>;
}

const OPTIONS = {
  batchMax: BATCH_MAX,
  waitingMax: WAITING_MAX,
  isShared: (error: unknown) => error instanceof DomainError && error.reason === "STORAGE_UNAVAILABLE",
  overflow: () => new DomainError("TOO_MANY", "too many writes wait for the database; send again later"),
};

/** Told when a batch begins; what it returns is told how it ended. */
export type BatchObserver = (kind: keyof CommandServices, items: number) => (committed: boolean) => void;

/** The coalescers over a context. @param clock absent: log lines of tasks do not wait for others */
export function createServices(
  context: CommandContext,
  observe: BatchObserver = () => () => undefined,
  clock?: Clock,
): CommandServices {
  const coalesced = <Item, Result>(
    kind: keyof CommandServices,
    write: BatchWriter<Item, Result>,
    more: Partial<CoalescerOptions> = {},
  ) =>
    new Coalescer<Item, Result>(
      async (items) => {
        const ended = observe(kind, items.length);
        let committed = false;
        try {
          const results = await write(items);
          committed = true;
          return results;
        } finally {
          ended(committed);
        }
      },
      { ...OPTIONS, ...more },
    );
  const gathering = clock && { batchMax: LOGS_MAX, gather: () => clock.sleep(LOGS_GATHER_MS) };
  return {
    invoke: coalesced("invoke", (items) => invoke(context, items)),
    settle: coalesced("settle", (items) => settle(context, items)),
    turns: coalesced("turns", (facts) => recordTurns(context, facts)),
    authorize: coalesced("authorize", (facts) => authorizeToolCalls(context, facts)),
    results: coalesced("results", (facts) => recordToolResults(context, facts)),
    logs: coalesced("logs", (chunks) => keepTaskLogs(context, chunks), gathering),
  };
}

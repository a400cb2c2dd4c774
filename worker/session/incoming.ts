// What each frame of a server that has taken this worker in means: hands it to whom it is for.
// Called by session.ts for every frame that is not about the stream itself.
// Decides nothing; a kind of frame that is not known is from a newer server, and is ignored.

import type { Log } from "../log.ts";
import type { Facts } from "./facts.ts";
import type { JournalFetches, Views } from "./fetches.ts";
import type { LeaseKeeper } from "./lease_keeper.ts";
import type { ResponseFrame } from "./stream.ts";
import type { TaskTable } from "./task_table.ts";

/** Whom frames are for. */
export interface Receivers {
  readonly tasks: TaskTable;
  readonly facts: Facts;
  readonly keeper: LeaseKeeper;
  readonly views: Views;
  readonly journals: JournalFetches;
  readonly log: Log;
}

/** Hands a frame on. */
export function takeFrame(frame: ResponseFrame, { tasks, facts, keeper, views, journals, log }: Receivers): void {
  switch (frame.case) {
    case "assign":
      tasks.assign(frame.value.assignments);
      break;
    case "renewAck":
      keeper.acknowledged(frame.value.sequence);
      for (const token of frame.value.lostTokens) tasks.lost(token);
      tasks.cancel(frame.value.cancels);
      break;
    case "turnAcks":
      for (const { token, sequence, verdict, error } of frame.value.acks) {
        facts.turnAcknowledged(token, sequence, verdict, error);
      }
      break;
    case "toolDecisions":
      for (const decision of frame.value.decisions) facts.decided(decision);
      break;
    case "toolResultAcks":
      for (const ack of frame.value.acks) facts.resultAcknowledged(ack.callId, ack.verdict, ack.error);
      break;
    case "outcomeAcks":
      for (const ack of frame.value.acks) facts.outcomeAcknowledged(ack.token, ack.verdict, ack.error);
      break;
    case "cancel":
      tasks.cancel(frame.value.tasks);
      break;
    case "views":
      views.deliver(frame.value);
      break;
    case "journalPages":
      journals.deliver(frame.value);
      break;
    default:
      log("debug", "unknown frame ignored", { frame: String(frame.case) });
  }
}

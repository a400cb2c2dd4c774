// Gathers what goes to the server and sends it once an event-loop turn: one frame a kind, whatever the number of items.
// Filled by the task table, the facts and the lease keeper; attached to a stream by session.ts after Welcome.
// While detached it takes nothing: whoever owns an item offers it again after the next Welcome.
// Bounded: beyond OUTBOX_ITEMS_MAX waiting items the connection is given up, as the server no longer reads.

import { create } from "@bufbuild/protobuf";
import { MIB } from "../../kit/units.ts";
import {
  AcceptLeasesSchema,
  CallToolsSchema,
  CancelAckSchema,
  CreditSchema,
  FetchJournalSchema,
  FetchWorkerViewsSchema,
  type Outcome,
  RecordToolResultsSchema,
  RecordTurnsSchema,
  RenewLeasesSchema,
  ReportOutcomesSchema,
  type TaskLog,
  TaskLogSchema,
  type ToolCall,
  type ToolResult,
  type TurnRecord,
  WriteTaskLogsSchema,
  YieldedLeaseSchema,
  YieldLeasesSchema,
} from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { TaskLogLines } from "../telemetry/task_logs.ts";
import type { FrameStream, RequestFrame } from "./stream.ts";

/** Items that may wait for a server that does not read. */
export const OUTBOX_ITEMS_MAX = 20_000;
/** Items and payload bytes of one frame; one item may be larger than the bytes. */
const FRAME_ITEMS_MAX = 500;
const FRAME_BYTES_AIM = 1 * MIB;

/** A fact that the server acknowledges, as it travels. */
export type FactItem =
  | { readonly kind: "turn"; readonly value: TurnRecord }
  | { readonly kind: "result"; readonly value: ToolResult }
  | { readonly kind: "outcome"; readonly value: Outcome }
  | { readonly kind: "call"; readonly value: ToolCall };

/** Anything that leaves through the outbox. */
export type OutboxItem =
  | FactItem
  | { readonly kind: "accept"; readonly token: string }
  | { readonly kind: "yield"; readonly token: string; readonly reason: "draining" | "moving" | "unsupported" | "full" }
  | { readonly kind: "cancelAck"; readonly token: string }
  | { readonly kind: "log"; readonly value: TaskLog }
  | { readonly kind: "fetchView"; readonly digest: string }
  | { readonly kind: "fetchJournal"; readonly taskId: string; readonly token: string; readonly afterSequence: number }
  | {
      readonly kind: "renew";
      readonly tokens: readonly string[];
      readonly sequence: bigint;
      readonly lastAssign: bigint;
    }
  | { readonly kind: "credit"; readonly freeSlots: number; readonly lastAssign: bigint };

// Results and log lines leave before outcomes, so that the last word about a task comes last; the credit comes after what freed it.
const ORDER = [
  "accept",
  "yield",
  "cancelAck",
  "turn",
  "result",
  "log",
  "outcome",
  "call",
  "fetchView",
  "fetchJournal",
  "renew",
  "credit",
] as const satisfies readonly OutboxItem["kind"][];

type Queues = { [Kind in OutboxItem["kind"]]: Extract<OutboxItem, { kind: Kind }>[] };

/** See the file header. */
export class Outbox {
  #queues = emptyQueues();
  #waiting = 0;
  #stream: FrameStream | undefined;
  #writable = true;
  #scheduled = false;

  /** False: what is added is lost. */
  get attached(): boolean {
    return this.#stream !== undefined;
  }

  /** Sends through this stream from now on. */
  attach(stream: FrameStream): void {
    this.detach();
    this.#stream = stream;
    this.#writable = true;
  }

  /** Forgets the stream and every waiting item. */
  detach(): void {
    this.#stream = undefined;
    this.#queues = emptyQueues();
    this.#waiting = 0;
  }

  /** The stream has room again. */
  writable(): void {
    this.#writable = true;
    this.#flush();
  }

  /** Takes an item for the next flush; a newer credit replaces one that waits. */
  add(item: OutboxItem): void {
    if (this.#stream === undefined) return;
    const queue = this.#queues[item.kind] as OutboxItem[];
    if (item.kind === "credit") this.#waiting -= queue.splice(0).length;
    queue.push(item);
    this.#waiting += 1;
    if (this.#waiting > OUTBOX_ITEMS_MAX) {
      const stream = this.#stream;
      this.detach();
      stream.cancel();
      return;
    }
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    for (const kind of ORDER) {
      const queue = this.#queues[kind] as OutboxItem[];
      while (queue.length > 0) {
        if (this.#stream === undefined || !this.#writable) return;
        const items = queue.splice(0, frameLength(queue));
        this.#waiting -= items.length;
        this.#writable = this.#stream.write(frameOf(kind, items));
      }
    }
  }

  /** Sends at once what may be sent. */
  flush(): void {
    this.#flush();
  }
}

function emptyQueues(): Queues {
  return {
    accept: [],
    yield: [],
    cancelAck: [],
    turn: [],
    result: [],
    log: [],
    outcome: [],
    call: [],
    fetchView: [],
    fetchJournal: [],
    renew: [],
    credit: [],
  };
}

function frameLength(queue: readonly OutboxItem[]): number {
  const kind = queue[0]?.kind;
  if (kind === "renew" || kind === "credit" || kind === "fetchJournal") return 1;
  let bytes = 0;
  let count = 0;
  for (const item of queue) {
    bytes += payloadLength(item);
    if (count > 0 && (bytes > FRAME_BYTES_AIM || count >= FRAME_ITEMS_MAX)) break;
    count += 1;
  }
  return count;
}

// UTF-16 units, close enough to the bytes for an aim far below the limit.
function payloadLength(item: OutboxItem): number {
  switch (item.kind) {
    case "turn":
      return item.value.turnJson.length;
    case "call":
      return item.value.argumentsJson.length;
    case "result":
      return item.value.result.case === "resultJson" ? item.value.result.value.length : 256;
    case "outcome":
      return item.value.outcome.case === "outputJson" ? item.value.outcome.value.length : 256;
    case "log":
      return item.value.lines.reduce((sum, line) => sum + line.length, 0);
    default:
      return 64;
  }
}

function frameOf(kind: OutboxItem["kind"], items: readonly OutboxItem[]): RequestFrame {
  const of = <Kind extends OutboxItem["kind"]>(_kind: Kind) => items as readonly Extract<OutboxItem, { kind: Kind }>[];
  switch (kind) {
    case "accept":
      return { case: "accept", value: create(AcceptLeasesSchema, { tokens: of(kind).map(({ token }) => token) }) };
    case "yield": {
      const leases = of(kind).map(({ token, reason }) => create(YieldedLeaseSchema, { token, reason }));
      return { case: "yield", value: create(YieldLeasesSchema, { leases }) };
    }
    case "cancelAck":
      return { case: "cancelAck", value: create(CancelAckSchema, { tokens: of(kind).map(({ token }) => token) }) };
    case "turn":
      return { case: "turns", value: create(RecordTurnsSchema, { turns: of(kind).map(({ value }) => value) }) };
    case "result":
      return {
        case: "toolResults",
        value: create(RecordToolResultsSchema, { results: of(kind).map(({ value }) => value) }),
      };
    case "outcome":
      return {
        case: "outcomes",
        value: create(ReportOutcomesSchema, { outcomes: of(kind).map(({ value }) => value) }),
      };
    case "log":
      return { case: "taskLogs", value: create(WriteTaskLogsSchema, { logs: of(kind).map(({ value }) => value) }) };
    case "call":
      return { case: "toolCalls", value: create(CallToolsSchema, { calls: of(kind).map(({ value }) => value) }) };
    case "fetchView":
      return {
        case: "fetchViews",
        value: create(FetchWorkerViewsSchema, { digests: of(kind).map(({ digest }) => digest) }),
      };
    case "fetchJournal":
      return { case: "fetchJournal", value: create(FetchJournalSchema, first(of(kind))) };
    case "renew": {
      const { tokens, sequence, lastAssign } = first(of(kind));
      const value = create(RenewLeasesSchema, { tokens: [...tokens], sequence, lastAssignSequence: lastAssign });
      return { case: "renew", value };
    }
    case "credit": {
      const { freeSlots, lastAssign } = first(of(kind));
      return { case: "credit", value: create(CreditSchema, { freeSlots, lastAssignSequence: lastAssign }) };
    }
  }
}

function first<Item>(items: readonly Item[]): Item {
  return items[0] as Item;
}

/** Sends log lines of a task; false while there is no stream: they would be lost. */
export function sendLogs(outbox: Outbox, { taskId, token, lines, dropped }: TaskLogLines): boolean {
  if (!outbox.attached) return false;
  outbox.add({ kind: "log", value: create(TaskLogSchema, { taskId, token, lines: [...lines], dropped }) });
  return true;
}

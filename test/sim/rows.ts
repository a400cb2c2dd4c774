// What the simulated database holds, and the operations by which replicas change it: the vocabulary of this folder.
// Ids are short words (r1, t2, k3, s1, g4), so that a counterexample reads well. Times are database time in ms.

import type { GraphPlan, GraphState } from "../../server/graph/types.ts";
import type { LossReason } from "../../server/queue/loss.ts";
import type { RunCause, TaskState } from "../../server/queue/states.ts";

export interface RunRow {
  readonly id: string;
  readonly flow: number;
  readonly plan: GraphPlan;
  readonly key: string;
  graph: GraphState;
  parked: boolean;
  dueMs: number | undefined;
  remainingMs: number | undefined;
}

export interface TaskRow {
  readonly id: string;
  readonly run: RunRow;
  readonly node: string;
  readonly claimOrder: number;
  /** Root of its lineage: what its requests are named after. */
  readonly origin: string;
  readonly replayOf: string;
  /** What became of it as a dead letter, and by which request. */
  letter: "open" | "replayed" | "discarded" | undefined;
  letterRequest: string;
  state: TaskState;
  attempt: number;
  deliveries: number;
  dueMs: number | undefined;
  outcomeToken: string | null;
  outcomeDigest: string | null;
}

export interface ReadyRow {
  readonly task: TaskRow;
  readonly late: { readonly token: string; readonly sessionId: string } | undefined;
}

export interface LeaseRow {
  readonly task: TaskRow;
  readonly token: string;
  readonly sessionId: string;
  readonly attempt: number;
  readonly delivery: number;
  readonly claimMs: number;
  accepted: boolean;
}

export interface SessionRow {
  readonly id: string;
  readonly instance: string;
  epoch: number;
  replica: number;
  state: "active" | "draining" | "lost" | "closed";
  expireMs: number;
}

/** A turn asks for the tool named, with the argument given; no tool: it is the last one. `nonce` tells two answers of a model apart. */
export interface TurnBody {
  readonly nonce: number;
  readonly tool: string;
  readonly arg: number;
}

export interface JournalRow {
  readonly kind: "turn" | "result" | "failure";
  readonly turn?: TurnBody;
  /** The turn that a result answers. */
  readonly turnSequence?: number;
  readonly result?: string;
}

export interface LedgerRow {
  readonly request_id: string;
  readonly task: TaskRow;
  readonly tool: string;
  readonly arguments_digest: string;
  state: "granted" | "done" | "failed" | "denied" | "unknown";
  attempt: number;
  grant_id: string;
  grant_token: string;
  result: string | null;
  failure: string | null;
}

/** One audit record, as far as it is compared. */
export interface RecordRow {
  readonly kind: string;
  /** Run or task. */
  readonly of: string;
}

export interface Presented {
  readonly task: string;
  readonly token: string;
  readonly session: string;
}

export type Outcome =
  | { readonly type: "succeeded"; readonly x: boolean }
  | { readonly type: "failed"; readonly class: string }
  | { readonly type: "cancelled" }
  | { readonly type: "interrupted" };

export type Item =
  | (Presented & { readonly type: "outcome"; readonly outcome: Outcome })
  | (Presented & { readonly type: "denied" })
  | (Presented & { readonly type: "park" | "fail"; readonly class: string })
  | { readonly type: "lost"; readonly task: string; readonly token: string; readonly reason: LossReason }
  | { readonly type: "wake"; readonly task: string }
  | { readonly type: "replay"; readonly task: string; readonly repeat: boolean }
  | { readonly type: "discard"; readonly task: string }
  | { readonly type: "stop"; readonly run: string; readonly cause: RunCause }
  | { readonly type: "run_due"; readonly run: string };

export type TurnFact = Presented & { readonly sequence: number; readonly body: TurnBody };
export type CallFact = Presented & { readonly turnSequence: number; readonly tool: string; readonly arg: number };
export type ResultFact = Presented & {
  readonly grant: string;
  readonly sequence: number;
  readonly ok: boolean;
  readonly ambiguous: boolean;
  readonly value: string;
};

/** Of an operation that may make tasks: the session with slots for them; absent: there are none. */
export interface Seated {
  readonly seat?: string;
}

export type Op =
  | (Seated & { readonly op: "invoke"; readonly flow: number; readonly key: string })
  | { readonly op: "open"; readonly session: string; readonly instance: string; readonly resume: string }
  | { readonly op: "renew"; readonly session: string; readonly epoch: number; readonly held: readonly Presented[] }
  | { readonly op: "accept"; readonly task: string; readonly token: string }
  | { readonly op: "claim"; readonly session: string; readonly free: number }
  | { readonly op: "turns"; readonly facts: readonly TurnFact[] }
  | { readonly op: "calls"; readonly facts: readonly CallFact[] }
  | { readonly op: "results"; readonly facts: readonly ResultFact[] }
  | (Seated & { readonly op: "settle"; readonly items: readonly Item[] })
  | { readonly op: "find" }
  | { readonly op: "mark_lost"; readonly sessions: readonly string[] }
  | { readonly op: "drain"; readonly session: string }
  | { readonly op: "close"; readonly session: string }
  | { readonly op: "time"; readonly ms: number }
  | { readonly op: "policy"; readonly denied: "" | "agent" | "tool" };

/** What a transaction meets. abort: it never commits. lost_ack: it commits and nobody is told. */
export type Fault = "" | "abort" | "lost_ack";

export interface Assigned {
  readonly task: string;
  readonly token: string;
  readonly session: string;
  readonly journal: readonly JournalRow[];
}

export interface Findings {
  readonly lost: readonly {
    readonly task: string;
    readonly token: string;
    readonly reason: "expired" | "unaccepted";
  }[];
  readonly due: readonly string[];
  readonly dueRuns: readonly string[];
  readonly expired: readonly string[];
}

export type Answer =
  | { readonly type: "granted"; readonly grant: string; readonly request: string }
  | { readonly type: "cached"; readonly result: string }
  | {
      readonly type: "conflict" | "failed" | "unknown_outcome" | "denied" | "not_asked" | "retry_after" | "lease_lost";
    };

/** Verdicts of an operation, in the order of its facts or items; other members as the operation has them. */
export interface Result {
  readonly verdicts?: readonly string[];
  readonly answers?: readonly Answer[];
  /** What must be settled before the answers are given. */
  readonly settle?: readonly Item[];
  readonly assigned?: readonly Assigned[];
  readonly run?: string;
  readonly session?: string;
  readonly epoch?: number;
  readonly alive?: boolean;
  readonly still?: readonly { readonly token: string; readonly stopping: boolean }[];
  readonly found?: Findings;
}

/** One operation as it happened, for the oracle, for the SQL layer and for people. */
export interface Traced {
  readonly op: Op;
  readonly replica: number;
  readonly fault: Fault;
  /** What it did, also when nobody was told; undefined if it did not commit. */
  readonly result: Result | undefined;
}

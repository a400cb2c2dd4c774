// What a worker session needs of its surroundings: the seam between one stream and the registry of all.
// Implemented by session_registry.ts, called by worker_session.ts.

import type { Clock } from "../../kit/clock.ts";
import type { Hello, Welcome } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { CommandContext } from "../commands/context.ts";
import type { CommandServices } from "../commands/services.ts";
import type { LossReason } from "../queue/loss.ts";
import type { TaskLogIntake } from "./task_logs.ts";
import type { HeldAssignment, WorkerSession } from "./worker_session.ts";

/** How a session ended. */
export interface SessionEnd {
  readonly polite: boolean;
  /** Its Hello was accepted. */
  readonly wasOpen: boolean;
  /** What the worker did against the protocol, or a failure of the server; empty if neither. */
  readonly reason: string;
  /** The worker broke the protocol. */
  readonly violation: boolean;
}

/** What a session needs of its surroundings. */
export interface SessionHost {
  readonly clock: Clock;
  readonly context: CommandContext;
  readonly services: CommandServices;
  /** Takes what the worker logs about its tasks. */
  readonly taskLogs: TaskLogIntake;
  open(session: WorkerSession, hello: Hello): Promise<Welcome>;
  opened(session: WorkerSession): void;
  ended(session: WorkerSession, how: SessionEnd): void;
  setDraining(session: WorkerSession, windowMs: number): Promise<void>;
  /** Records that a session presented lease tokens which it was never given; resolves when it is recorded, and never rejects. */
  refuse(session: WorkerSession, fact: string, tokens: readonly string[]): Promise<void>;
  creditChanged(): void;
  renewalsPending(session: WorkerSession): void;
  giveBack(session: WorkerSession, held: readonly HeldAssignment[], reason: LossReason, note: string): void;
}

// What a worker session needs of its surroundings: the seam between one stream and the registry of all.
// Implemented by session_registry.ts, called by worker_session.ts.

import type { Clock } from "../../kit/clock.ts";
import type { Hello, Welcome } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { CommandContext } from "../commands/context.ts";
import type { CommandServices } from "../commands/services.ts";
import type { LossReason } from "../queue/loss.ts";
import type { HeldAssignment, WorkerSession } from "./worker_session.ts";

/** What a session needs of its surroundings. */
export interface SessionHost {
  readonly clock: Clock;
  readonly context: CommandContext;
  readonly services: CommandServices;
  open(session: WorkerSession, hello: Hello): Promise<Welcome>;
  opened(session: WorkerSession): void;
  ended(session: WorkerSession, how: { polite: boolean; wasOpen: boolean; reason: string }): void;
  setDraining(session: WorkerSession, windowMs: number): Promise<void>;
  creditChanged(): void;
  renewalsPending(): void;
  giveBack(session: WorkerSession, held: readonly HeldAssignment[], reason: LossReason, note: string): void;
}

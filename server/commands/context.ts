// What every command is given by main: the store, caches, ids, secrets, the redactor, and where to send hints after a commit.
// Commands keep no other state. Hints only shorten waits; the tick finds whatever a lost hint was about.

import type { Ids } from "../../kit/ids.ts";
import type { Redactor } from "../../kit/redactor.ts";
import type { SecretAccess } from "../secrets/secret_access.ts";
import type { Store } from "../storage/store.ts";
import type { Logger } from "../telemetry/log.ts";
import type { Caches } from "./caches.ts";
import type { Seats } from "./new_leases.ts";

/** A task of a session of this or another replica that is to be stopped. */
export interface CancelOrder {
  readonly sessionId: string;
  readonly taskId: string;
  readonly token: string;
  readonly reason: CancelReason;
  readonly graceMs: number;
}

/** Why a task is stopped. */
export type CancelReason = "user" | "timeout" | "sibling" | "superseded";

/** Where commands tell of what they committed. Never throws. */
export interface Hints {
  /** Tasks became READY. */
  workReady(): void;
  /** In these groups of runs somebody waits although a slot is free. */
  slotsFree(groups: readonly string[]): void;
  /** Runs changed state or gained events. */
  runsChanged(runIds: readonly string[]): void;
  /** Leased tasks are to be stopped; sessions of other replicas are found by their tick. */
  cancel(orders: readonly CancelOrder[]): void;
}

/** See the file header. */
export interface CommandContext {
  readonly store: Store;
  readonly caches: Caches;
  readonly ids: Ids;
  readonly log: Logger;
  readonly secrets: SecretAccess;
  /** Knows every secret that this replica handed out; what workers tell passes through it before it is used. */
  readonly redactor: Redactor;
  readonly hints: Hints;
  /** Where new tasks may go at once; absent: all are queued. */
  readonly seats?: Seats;
}

// Removes what is over its time in the background: batches with a breath between them, then a long jittered pause.
// Started by replica.ts on every replica; they may all do it at once, and any of them may die in the middle of a batch.
// Never decides what goes: commands/remove_expired.ts does.

import type { Clock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import type { Random } from "../../kit/random.ts";
import { MINUTE } from "../../kit/units.ts";
import type { CommandContext } from "../commands/context.ts";
import {
  type RetentionSettings,
  removeExpiredAudit,
  removeExpiredRuns,
  removeLeftovers,
} from "../commands/remove_expired.ts";
import type { Store } from "../storage/store.ts";

/** Between two sweeps (half to one and a half of it), and between two batches of one, in ms. */
const PAUSE_MS = { sweep: 5 * MINUTE, batch: 200 };

/** See the file header. */
export class Retention {
  readonly #context: CommandContext;
  readonly #maintenance: Store | undefined;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #settings: RetentionSettings;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  /** @param maintenance as the role that may remove audit records; absent: they are kept */
  constructor(
    context: CommandContext,
    maintenance: Store | undefined,
    clock: Clock,
    random: Random,
    settings: RetentionSettings,
  ) {
    this.#context = context;
    this.#maintenance = maintenance;
    this.#clock = clock;
    this.#random = random;
    this.#settings = settings;
  }

  start(): void {
    this.#running ??= this.#loop();
  }

  /** Resolves once the batch that is under way has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #loop(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#clock.sleep(PAUSE_MS.sweep * (0.5 + this.#random.next()), signal);
      if (signal.aborted) return;
      await this.sweep().catch((error: unknown) => {
        this.#context.log.warn("retention.failed", { error: messageOf(error) });
      });
    }
  }

  /** Removes everything that is over its time, batch by batch. @throws DomainError for database trouble */
  async sweep(): Promise<void> {
    const { store } = this.#context;
    const { auditMs } = this.#settings;
    await this.#batches(() => removeExpiredRuns(store, this.#settings));
    await this.#batches(() => removeLeftovers(store));
    const maintenance = this.#maintenance;
    if (auditMs !== undefined && maintenance !== undefined) {
      await this.#batches(() => removeExpiredAudit(maintenance, auditMs));
    }
  }

  async #batches(remove: () => Promise<boolean>): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted && (await remove())) await this.#clock.sleep(PAUSE_MS.batch, signal);
  }
}

// Seals the audit trail in the background: less than a second behind while records come, and hardly a look while none do.
// Started by replica.ts on every replica, woken by what it commits and by the tick, which sees what anybody did; any of them may die at any statement. The one that seals goes on, the others watch.
// Never decides what may be sealed: commands/seal_audit.ts does.

import type { Clock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import type { CommandContext } from "../commands/context.ts";
import { type SealCheckpoint, sealAudit } from "../commands/seal_audit.ts";

/** Pauses between two looks, in ms; a wake ends an idle one. */
const PAUSE_MS = { busy: 300, following: 1_500, idle: 30_000 };

// Why an idle pause ends. One for all: making an error is the dearest part of a wake-up.
const WOKEN = new Error("there is something to seal");

/** See the file header. */
export class Sealer {
  readonly #context: CommandContext;
  readonly #clock: Clock;
  readonly #stopping = new AbortController();
  #waking = new AbortController();
  #checkpoint: SealCheckpoint | undefined;
  #number: string | undefined;
  #running: Promise<void> | undefined;

  constructor(context: CommandContext, clock: Clock) {
    this.#context = context;
    this.#clock = clock;
  }

  start(): void {
    this.#running ??= this.#loop();
  }

  /** Records are there to be sealed, probably. */
  wake(): void {
    this.#waking.abort(WOKEN);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#waking.abort();
    await this.#running;
  }

  async #loop(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const pace = await this.once().catch((error: unknown) => {
        this.#context.log.warn("sealer.failed", { error: messageOf(error) });
        return "following" as const;
      });
      await this.#clock.sleep(PAUSE_MS.busy, signal);
      if (pace === "busy" || signal.aborted) continue;
      if (pace === "following") await this.#clock.sleep(PAUSE_MS.following, signal);
      else await this.#clock.sleep(PAUSE_MS.idle, this.#waking.signal);
      this.#waking = new AbortController();
    }
  }

  /** One look, and all that it allows to seal. @throws DomainError for database trouble */
  async once(): Promise<"busy" | "following" | "idle"> {
    const { store } = this.#context;
    const look = await store.read((queries) => queries.segments.look());
    const moved = this.#number !== undefined && this.#number !== look.number;
    this.#number = look.number;
    const settled = this.#checkpoint;
    if (settled !== undefined && BigInt(look.xmin) < BigInt(settled.bound)) return "busy";
    this.#checkpoint = look.bound === null ? undefined : { bound: look.bound, lastId: look.newestId };
    if (settled !== undefined && BigInt(settled.lastId) > BigInt(look.lastId)) {
      while ((await sealAudit(store, settled.lastId)) === "partly" && !this.#stopping.signal.aborted);
      this.#number = undefined;
      return "busy";
    }
    if (moved) return "following";
    return look.bound === null ? "idle" : "busy";
  }
}

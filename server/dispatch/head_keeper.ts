// Signs the head of the audit chain in the background, and exports every signed head: within a minute while records come.
// Started by replica.ts on every replica; each exports all heads, whichever replica signed them.
// A chain that is not the one whose head was exported last is not signed: it says so in the log at every look, until a person acts.

import type { Clock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import { SECOND } from "../../kit/units.ts";
import type { Checkpoint, SigningKey } from "../audit/checkpoint.ts";
import type { CommandContext } from "../commands/context.ts";
import { isAuditSigned, signAudit } from "../commands/sign_audit.ts";

/** Between two looks, in ms. */
const LOOK_MS = 30 * SECOND;
const PAGE = 100;

/** Where signed heads go, outside of the database. */
export interface HeadSink {
  /** The last one that went there; read once, at the first look. */
  last(): Checkpoint | undefined;
  /** True for a place that cannot be read back: then a start begins with the newest head. */
  readonly onlyNewest: boolean;
  write(head: Checkpoint): void;
}

/** See the file header. */
export class HeadKeeper {
  readonly #context: CommandContext;
  readonly #clock: Clock;
  readonly #key: SigningKey;
  readonly #sink: HeadSink;
  readonly #stopping = new AbortController();
  #known: Checkpoint | undefined;
  #begun = false;
  #looking: Promise<unknown> = Promise.resolve();
  #running: Promise<void> | undefined;

  constructor(context: CommandContext, clock: Clock, key: SigningKey, sink: HeadSink) {
    this.#context = context;
    this.#clock = clock;
    this.#key = key;
    this.#sink = sink;
  }

  start(): void {
    this.#running ??= this.#loop();
  }

  /** Looks a last time, so that what is sealed by now is signed and exported. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#safely();
  }

  /** One look: signs what is new, and exports what was not yet. Looks never overlap. @throws DomainError for database trouble */
  look(): Promise<void> {
    const next = this.#looking.then(() => this.#look());
    this.#looking = next.catch(() => undefined);
    return next;
  }

  async #loop(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.#safely();
      await this.#clock.sleep(LOOK_MS, signal);
    }
  }

  async #safely(): Promise<void> {
    await this.look().catch((error: unknown) => {
      this.#context.log.error("audit.head_not_exported", { error: messageOf(error) });
    });
  }

  async #look(): Promise<void> {
    const { store, log } = this.#context;
    if (!this.#begun) this.#known = this.#sink.last();
    this.#begun = true;
    if (this.#known !== undefined && (await isAuditSigned(store, this.#known))) return;
    const signed = await signAudit(store, this.#key, this.#known);
    if (signed === "lost") {
      const { number, segment } = this.#known as Checkpoint;
      const next =
        "compare it with the exported heads (docs/audit.md); after a restore that was meant, move their file away";
      log.error("audit.head_lost", { number, segment, message: `the trail is not the one that was signed; ${next}` });
      return;
    }
    if (this.#known === undefined && this.#sink.onlyNewest) {
      const last = await store.read(({ checkpoints }) => checkpoints.last());
      if (last !== undefined) this.#export([last]);
    }
    for (let more = true; more; ) {
      const after = this.#known?.number ?? 0;
      const heads = await store.read(({ checkpoints }) => checkpoints.list(after, PAGE));
      this.#export(heads);
      more = heads.length >= PAGE;
    }
  }

  #export(heads: readonly Checkpoint[]): void {
    for (const head of heads) {
      this.#sink.write(head);
      this.#known = head;
    }
  }
}

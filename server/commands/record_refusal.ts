// Records refused calls as security events before they are answered. A known caller's refusals are recorded each; strangers share one record
// a minute for each listener, reason and address, which tells how many there were: a flood fills neither trail nor memory.
// Called by rpc. Never throws: a refusal is given whatever the store does.
//
// Address: quiet → first refusal (recorded at once) → minute (counted) → its end (the rest recorded as one) → quiet.

import type { Clock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import { MINUTE } from "../../kit/units.ts";
import { auditRecord } from "../audit/record.ts";
import type { CommandContext } from "./context.ts";
import type { Principal } from "./views.ts";

/** Addresses counted at a time; those beyond share one count a listener and reason. */
const ADDRESSES_MAX = 1_000;
const OTHERS = "others";

/** A refused call. */
export interface Refusal {
  /** "api" or "worker". */
  readonly listener: string;
  /** Empty when no call was read, as for a handshake that failed. */
  readonly method: string;
  readonly reason: string;
  /** Address of the peer. */
  readonly peer: string;
  readonly principal?: Principal;
  /** Of what was asked for, when that is why. */
  readonly namespace?: string;
}

/** See the file header. */
export class Refusals {
  readonly #context: Pick<CommandContext, "store" | "log">;
  readonly #clock: Clock;
  readonly #counting = new Map<string, { refusal: Refusal; count: number; cancel: () => void }>();
  readonly #writing = new Set<Promise<void>>();

  constructor(context: Pick<CommandContext, "store" | "log">, clock: Clock) {
    this.#context = context;
    this.#clock = clock;
  }

  /** Resolves when the refusal is recorded or counted. */
  async record(refusal: Refusal): Promise<void> {
    if (refusal.principal !== undefined) return await this.#write(refusal, 1);
    const { listener, reason } = refusal;
    const own = `${listener} ${reason} ${refusal.peer}`;
    const isNew = !this.#counting.has(own) && this.#counting.size >= ADDRESSES_MAX;
    const counted = isNew ? { ...refusal, peer: OTHERS } : refusal;
    const key = isNew ? `${listener} ${reason} ${OTHERS}` : own;
    const known = this.#counting.get(key);
    if (known !== undefined) {
      known.count += 1;
      known.refusal = counted;
      return;
    }
    const cancel = this.#clock.after(MINUTE, () => this.#end(key));
    this.#counting.set(key, { refusal: counted, count: 0, cancel });
    await this.#write(counted, 1);
  }

  /** Records what is counted so far. */
  async stop(): Promise<void> {
    for (const key of [...this.#counting.keys()]) this.#end(key);
    await Promise.all(this.#writing);
  }

  #end(key: string): void {
    const ended = this.#counting.get(key);
    if (ended === undefined) return;
    ended.cancel();
    this.#counting.delete(key);
    if (ended.count === 0) return;
    const writing = this.#write(ended.refusal, ended.count).finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
  }

  async #write({ principal, namespace, ...refusal }: Refusal, count: number): Promise<void> {
    const detail = { ...refusal, count, ...(principal && { principal: principal.id }) };
    const subject = namespace === undefined ? {} : { namespace };
    const actor = principal?.id ?? "anonymous";
    const record = auditRecord({ kind: "security.refused", ...subject, actor, detail });
    try {
      await this.#context.store.read((queries) => queries.audit.insert([record]));
    } catch (error) {
      this.#context.log.error("security.unrecorded", { ...refusal, count, error: messageOf(error) });
    }
  }
}

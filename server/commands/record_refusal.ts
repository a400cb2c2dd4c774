// Records refused calls as security events: one a minute for each peer, method and reason, with a count, so that a flood of
// them cannot fill the trail. Called by rpc/authentication before it answers. Never throws: a refusal is given whatever the store does.

import type { Clock } from "../../kit/clock.ts";
import { messageOf } from "../../kit/errors.ts";
import { MINUTE } from "../../kit/units.ts";
import { auditRecord } from "../audit/record.ts";
import type { CommandContext } from "./context.ts";
import type { Principal } from "./views.ts";

const PEERS_MAX = 10_000;

/** A refused call. */
export interface Refusal {
  readonly method: string;
  readonly reason: string;
  readonly principal?: Principal;
  readonly peer: string;
}

/** See the file header. */
export class Refusals {
  readonly #context: CommandContext;
  readonly #clock: Clock;
  readonly #recent = new Map<string, { since: number; unrecorded: number }>();

  constructor(context: CommandContext, clock: Clock) {
    this.#context = context;
    this.#clock = clock;
  }

  async record(refusal: Refusal): Promise<void> {
    const { method, reason, peer, principal } = refusal;
    // Authenticated callers are recorded each time; strangers share one record a minute.
    const key = `${peer.replace(/:\d+$/, "")} ${method} ${reason}`;
    const now = this.#clock.monotonic();
    const recent = this.#recent.get(key);
    if (principal === undefined && recent !== undefined && now - recent.since < MINUTE) {
      recent.unrecorded += 1;
      return;
    }
    if (this.#recent.size >= PEERS_MAX) this.#recent.clear();
    this.#recent.set(key, { since: now, unrecorded: 0 });
    const count = 1 + (recent?.unrecorded ?? 0);
    const detail = { method, reason, peer, count, ...(principal && { principal: principal.id }) };
    const record = auditRecord({ kind: "security.refused", actor: principal?.id ?? "anonymous", detail });
    try {
      await this.#context.store.read((queries) => queries.audit.insert([record]));
    } catch (error) {
      this.#context.log.error("security.unrecorded", { method, reason, peer, error: messageOf(error) });
    }
  }
}

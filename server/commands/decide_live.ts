// Decides on the policies and the time of this moment, and reserves the limits that the decisions count against.
// Called by invoke.ts, restart_run.ts and authorize_tool_call.ts, in their transactions, once what else they wait for is locked.
// Counters, and groups of runs, may be waited for: if policies changed meanwhile, what was reserved is given back and everything is decided again. A
// transaction that shares the gate (storage/policy_gate.ts) holds such a change up instead.

import type { Decision } from "../policy/types.ts";
import type { Revisions } from "../storage/bundle_queries.ts";
import type { StoreQueries } from "../storage/store.ts";
import type { LiveState } from "./caches.ts";
import type { CommandContext } from "./context.ts";
import { LimitCounts } from "./limit_counts.ts";

/** What a decision is made on. */
export interface Moment {
  /** Catalog revision. */
  readonly catalog: string;
  /** Policy revision. */
  readonly policy: string;
  /** Database time. */
  readonly now: Date;
  readonly live: LiveState;
}

/** A batch, judged. */
export interface JudgedBatch<Judged> {
  readonly judged: Judged;
  readonly limits: LimitCounts;
  readonly moment: Moment;
}

/**
 * Judges a batch.
 *
 * @param judge decides everything; called again when policies changed, so it may have no effect.
 * @param counting the decisions that may count against limits.
 * @param lockFirst locks what comes before the counters in the lock order; true if it may have waited.
 * @param known revisions that this transaction has read already, with its last query; absent: they are read.
 */
export async function decideLive<Judged>(
  tx: StoreQueries,
  { caches }: Pick<CommandContext, "caches">,
  judge: (moment: Moment) => Judged | Promise<Judged>,
  counting: (judged: Judged) => readonly Decision[],
  lockFirst: (judged: Judged) => Promise<boolean> = () => Promise.resolve(false),
  known?: Revisions,
): Promise<JudgedBatch<Judged>> {
  for (let first = known; ; first = undefined) {
    const revisions = first ?? (await tx.bundles.revisions());
    const live = await caches.live(tx, revisions.policy);
    const moment = { ...revisions, live };
    const judged = await judge(moment);
    const waited = await lockFirst(judged);
    const limits = await LimitCounts.reserve(tx, counting(judged));
    if ((limits.isEmpty && !waited) || (await tx.bundles.revisions()).policy === live.policies.revision) {
      return { judged, limits, moment };
    }
    await limits.giveBack(tx);
  }
}

// Decides dry with the counters of limits as they are now.
// Called by explain_decisions.ts and try_decisions.ts. Reads only: nothing is counted, nothing locked.

import { type DryDecision, type DrySubject, decideDry } from "../policy/dry_decision.ts";
import type { StoreQueries } from "../storage/store.ts";
import { countedBefore } from "./limit_counts.ts";

/** See the file header. Without limits it costs no query. */
export async function decideCounted(queries: StoreQueries, subject: Omit<DrySubject, "used">): Promise<DryDecision> {
  const uncounted = decideDry(subject);
  const { decision } = uncounted.explanation;
  if (decision.counts.length === 0) return uncounted;
  return decideDry({ ...subject, used: await countedBefore(queries, decision) });
}

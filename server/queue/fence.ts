// Decides whether a fact of a worker counts: the fence of every write that a worker causes.
// Called by commands for each fact of a batch; storage/lease_queries.ts repeats `fence` in SQL, and the simulation holds them together.
// Pure. A token is compared by equality and never by number or time: expiry decides who may claim a task, not whose word counts.

/** A lease token as a session presents it. */
export interface PresentedToken {
  readonly token: string;
  readonly sessionId: string;
}

/** Who may speak for a task: the holder of its lease, or the last one whose lease expired and that nobody superseded. */
export interface TaskHolders {
  readonly lease?: PresentedToken | undefined;
  /** ready.last_token and its session: set by expiry alone. */
  readonly late?: PresentedToken | undefined;
}

/** held: the lease is the token's. revived: it expired, nobody claimed since, and becomes the lease again (I4). */
export type Fence = "held" | "revived" | "lost";

/** See the file header. */
export function fence(holders: TaskHolders, presented: PresentedToken): Fence {
  if (isSame(holders.lease, presented)) return "held";
  return isSame(holders.late, presented) ? "revived" : "lost";
}

/** True if a lease is the one that was presented. What the server found out by itself comes without a session: its token decides. */
export function isPresented(
  lease: PresentedToken,
  presented: { readonly token: string; readonly sessionId?: string | undefined },
): boolean {
  const { sessionId = lease.sessionId, token } = presented;
  return isSame(lease, { token, sessionId });
}

function isSame(holder: PresentedToken | undefined, presented: PresentedToken): boolean {
  return holder?.token === presented.token && holder.sessionId === presented.sessionId;
}

/** What of a task tells a resent outcome from a stale one. */
export interface SettledOutcome {
  readonly outcome_token: string | null;
  readonly outcome_digest: string | null;
}

/** An outcome whose token holds nothing: sent again after it was accepted, contradicting it, or too late. */
export function judgeStaleOutcome(
  settled: SettledOutcome,
  outcome: { readonly token: string; readonly digest: string },
): "duplicate" | "contradiction" | "lease_lost" {
  if (settled.outcome_token !== outcome.token) return "lease_lost";
  return settled.outcome_digest === outcome.digest ? "duplicate" : "contradiction";
}

/** Indices of a batch in the order in which it is settled: losses come last, so that an outcome that came in time still counts. */
export function settlingOrder(items: readonly { readonly type: string }[]): number[] {
  const indices = items.map((_, index) => index);
  const isLoss = (index: number) => items[index]?.type === "lost";
  return [...indices.filter((index) => !isLoss(index)), ...indices.filter(isLoss)];
}

// Decides what a turn does to the journal of its task, and what a new attempt keeps of it.
// Called by commands/record_turns.ts; storage/ledger_queries.ts repeats `keptEntries` in SQL, and the simulation holds them together.
// Pure. A journal has no gaps, and what is in it stays as it is.

/** True for the turn that takes the next entry of a journal. */
export function takesNextEntry(sequence: number, length: number): boolean {
  return sequence === length + 1;
}

/** A turn that does not take the next entry: sent again, too early, or another one than is recorded there. */
export function judgeOtherTurn(
  recorded: { readonly kind: string; readonly payload: string | null } | undefined,
  turn: string,
): "duplicate" | "gap" | "contradiction" {
  if (recorded === undefined) return "gap";
  return recorded.kind === "turn" && recorded.payload === turn ? "duplicate" : "contradiction";
}

/**
 * How many entries a new attempt keeps: all, unless nothing of the last turn was granted. Then it asks that turn again, for the answer
 * may be what made the task fail; nothing after it can be recorded without a grant but refused arguments, which go with it.
 */
export function keptEntries(
  journal: readonly { readonly kind: string }[],
  wasGranted: (turnSequence: number) => boolean,
): number {
  const last = journal.findLastIndex((entry) => entry.kind === "turn");
  return last < 0 || wasGranted(last + 1) ? journal.length : last;
}

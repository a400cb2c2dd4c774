// What a hostile run counts, and what the trail has to hold for it. Filled by the lanes, compared with the trail by trail.ts.

/** What came of one attempt. */
export interface Attempt {
  /** What was tried, such as "changed_arguments". */
  readonly kind: string;
  /** True if the server did what it was asked to; then something is broken. */
  readonly accepted: boolean;
  /** The record that it must have left: audit kind, fact or tool, and reason; see signOf in trail.ts. */
  readonly sign: string;
  /** What the server answered, for messages. */
  readonly answer?: string | undefined;
}

/** See the file header. */
export class Report {
  attempts = 0;
  readonly byKind = new Map<string, number>();
  /** Attempts that were accepted, by kind. */
  readonly accepted = new Map<string, number>();
  /** Records that must be there, by sign. */
  readonly expected = new Map<string, number>();
  /** Grants that an attempt got; each was used. */
  stolenGrants = 0;
  /** Right frames of the same clients: each must succeed. */
  readonly legit = { runs: 0, turns: 0, grants: 0, results: 0, outcomes: 0 };
  /** Calls of the counting service that right frames made. */
  legitUses = 0;
  /** Accepted facts that were told again, and how often one of those was accepted again. */
  readonly replays = { told: 0, acceptedTwice: 0 };
  readonly honest = { runs: 0, succeeded: 0 };
  /** What went wrong on the way. */
  readonly problems: string[] = [];

  note({ kind, accepted, sign, answer = "" }: Attempt): void {
    this.attempts += 1;
    add(this.byKind, kind);
    add(this.expected, sign);
    if (!accepted) return;
    add(this.accepted, kind);
    this.problems.push(`${kind} was accepted ${answer}`);
  }

  replayed(verdicts: readonly string[]): void {
    this.replays.told += verdicts.length;
    const again = verdicts.filter((verdict) => verdict !== "duplicate");
    this.replays.acceptedTwice += again.filter((verdict) => verdict === "committed").length;
    if (again.length > 0) this.problems.push(`a fact that was told again is ${again[0]}, not duplicate`);
  }

  /** Demands that a right frame had its right answer. */
  demand(right: boolean, what: () => string): void {
    if (!right) this.problems.push(what());
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

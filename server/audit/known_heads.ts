// Signed heads that left the database earlier, as a trail is checked against them.
// Made by trail_verifier.ts from what the caller read of a heads file. Pure.
// A head that nobody with a given key signed is a finding and counts for nothing.

import { type Checkpoint, checkpointHash, isSigned, type PublicKeys } from "./checkpoint.ts";
import type { Finding, FindingKind } from "./findings.ts";

/** See the file header. */
export class KnownHeads {
  /** What is wrong with the heads themselves. */
  readonly findings: Finding[] = [];
  readonly #good: Checkpoint[] = [];
  readonly #bySegment = new Map<number, Checkpoint>();
  readonly #byNumber = new Map<number, Checkpoint>();

  /** Heads in the order in which they were exported; some may be absent. */
  constructor(heads: readonly Checkpoint[], keys: PublicKeys) {
    for (const head of heads) {
      if (!isSigned(head, keys)) this.#find("unsigned", `exported head ${head.number} is not signed by a given key`);
      else this.#take(head);
    }
  }

  ofSegment(segment: number): Checkpoint | undefined {
    return this.#bySegment.get(segment);
  }

  ofNumber(number: number): Checkpoint | undefined {
    return this.#byNumber.get(number);
  }

  /** Heads that were signed by a time, for segments after one. */
  signedBy(time: string, afterSegment: number): readonly Checkpoint[] {
    return this.#good.filter((head) => head.time <= time && head.segment > afterSegment);
  }

  #take(head: Checkpoint): void {
    const last = this.#good.at(-1);
    const gap = last === undefined || head.number > last.number + 1;
    if (!gap && (head.number <= last.number || head.previous !== checkpointHash(last))) {
      this.#find("forked", `exported head ${head.number} does not follow from head ${last.number}`);
    }
    this.#good.push(head);
    this.#bySegment.set(head.segment, head);
    this.#byNumber.set(head.number, head);
  }

  #find(kind: FindingKind, message: string): void {
    const last = this.#good.at(-1);
    const place = { sequence: (last?.lastSequence ?? 0) + 1, segment: (last?.segment ?? 0) + 1 };
    this.findings.push({ kind, ...place, message });
  }
}

// Checks one sealed segment: does it follow from the one before it, and are its records the ones that were sealed?
// Called by trail_verifier.ts, segment by segment. Pure, and bounded by one segment.
// Heads are compared by the caller: it knows which of them are signed.

import { type ChainHead, type ChainRecord, type ChainSegment, headAfter, recordHash } from "./chain.ts";
import type { Finding, FindingKind } from "./findings.ts";

/** Records of one segment whose sealed place is searched for: each costs a hash for each record of the segment. */
const SEARCHES_MAX = 3;

/** What a segment is checked against. */
export interface SegmentSetting {
  readonly previous: ChainHead;
  /** First record that no signed head vouches for: where a rewritten stretch may begin. */
  readonly unproven: { readonly sequence: number; readonly segment: number; readonly id?: string };
  /** Records were left out on purpose: a missing one is no finding. */
  readonly partial: boolean;
}

/** A record that stands where another one was sealed. */
export interface Foreign {
  readonly record: ChainRecord;
  readonly finding: Finding;
}

/** The result for one segment. */
export interface SegmentResult {
  readonly findings: readonly Finding[];
  /** Records after the segment's last one that it does not list: the next one may. */
  readonly carried: readonly ChainRecord[];
  /** False if another segment belongs here, which is a finding: nothing follows from its head then. */
  readonly linked: boolean;
  /** What follows from its list, where that is not what it says; one of the two was changed, which is a finding. */
  readonly other?: Pick<ChainHead, "head" | "lastSequence">;
  /** The first record whose content is not the sealed one, and its finding; a later segment may list that content. */
  readonly foreign?: Foreign;
}

/** Checks a segment and the records that stand at its ids, in the order in which they were read. */
export function checkSegment(
  segment: ChainSegment,
  found: readonly ChainRecord[],
  setting: SegmentSetting,
): SegmentResult {
  const check = new SegmentCheck(segment, found, setting);
  return check.run();
}

/** Order of two ids, as numbers. */
export function compareIds(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : Number(a > b);
}

class SegmentCheck {
  readonly #segment: ChainSegment;
  readonly #setting: SegmentSetting;
  readonly #found: readonly ChainRecord[];
  readonly #findings: Finding[] = [];
  /** The records at the places that the segment lists. */
  readonly #placed: (ChainRecord | undefined)[];
  readonly #actual: (string | undefined)[];
  #strangers: ChainRecord[] = [];
  #searches = 0;
  #listHead = "";
  #foreign: Foreign | undefined;

  constructor(segment: ChainSegment, found: readonly ChainRecord[], setting: SegmentSetting) {
    this.#segment = segment;
    this.#found = found;
    this.#setting = setting;
    this.#placed = new Array(segment.ids.length);
    this.#actual = new Array(segment.ids.length);
  }

  run(): SegmentResult {
    this.#place();
    const linked = this.#link();
    if (linked) this.#list();
    this.#contents();
    const last = this.#segment.ids.at(-1) ?? this.#segment.lastId;
    const carried = this.#strangers.filter(({ id }) => compareIds(id, last) > 0);
    // Those of a segment that is missing, or that stands elsewhere, have been named with it.
    const first = this.#segment.ids[0] ?? "0";
    const owned = linked ? "0" : first;
    for (const { id } of this.#strangers) {
      if (compareIds(id, last) > 0 || compareIds(id, owned) < 0) continue;
      const place = this.#segment.ids.filter((listed) => compareIds(listed, id) < 0).length;
      this.#add("inserted", place, `record ${id} is in no segment`, id);
    }
    return {
      findings: this.#findings,
      carried,
      linked,
      ...(linked && this.#follows()),
      ...(this.#foreign && { foreign: this.#foreign }),
    };
  }

  #follows(): Pick<SegmentResult, "other"> {
    const { head, ids, lastSequence } = this.#segment;
    const counted = this.#setting.previous.lastSequence + ids.length;
    return counted === lastSequence && this.#listHead === head
      ? {}
      : { other: { head: this.#listHead, lastSequence: counted } };
  }

  #add(kind: FindingKind, place: number, message: string, id = this.#segment.ids[place]): Finding {
    const { number, firstSequence } = this.#segment;
    const finding = { kind, sequence: firstSequence + place, segment: number, ...(id && { id }), message };
    this.#findings.push(finding);
    return finding;
  }

  // Puts records to their places, and finds lines that stand in another order.
  #place(): void {
    const places = new Map(this.#segment.ids.map((id, place) => [id, place]));
    const order: number[] = [];
    for (const record of this.#found) {
      const place = places.get(record.id);
      if (place === undefined) this.#strangers.push(record);
      else if (this.#placed[place] !== undefined) this.#add("inserted", place, `record ${record.id} is there twice`);
      else {
        this.#placed[place] = record;
        order.push(place);
      }
    }
    const sorted = [...order].sort((a, b) => a - b);
    const wrong = sorted.find((place, index) => order[index] !== place);
    if (wrong !== undefined) this.#add("reordered", wrong, "records stand in another order than they were sealed in");
  }

  // Does the segment follow from the one before it? False if it is another segment than the one that belongs here.
  #link(): boolean {
    const segment = this.#segment;
    const { previous, unproven } = this.#setting;
    const { number, firstSequence } = segment;
    const expected = previous.lastSequence + 1;
    const before = this.#strangers.find(({ id }) => compareIds(id, segment.ids[0] ?? "0") < 0)?.id ?? segment.ids[0];
    const here = (kind: FindingKind, message: string, id = before) =>
      this.#findings.push({ kind, sequence: expected, segment: previous.number + 1, ...(id && { id }), message });
    if (number > previous.number + 1) {
      here("missing", `segment ${previous.number + 1} is missing`, this.#strangers[0]?.id);
      return false;
    }
    if (number <= previous.number) {
      here(number === previous.number ? "forked" : "reordered", `segment ${number} stands after ${previous.number}`);
      return false;
    }
    if (segment.previousHead === previous.head) return true;
    if (headAfter(previous.head, segment.hashes) === segment.head) {
      here("edited", `segment ${number} names another head before it than that of segment ${previous.number}`);
      return true;
    }
    const whole = headAfter(segment.previousHead, segment.hashes) === segment.head;
    if (whole && firstSequence !== expected) {
      here("reordered", `segment ${number} is one that belongs elsewhere`);
      return false;
    }
    const message = `segment ${number} does not continue from segment ${previous.number}: one of them was written anew`;
    this.#findings.push({ kind: "forked", ...unproven, message });
    return true;
  }

  // Are the numbers and the list of the segment in order?
  #list(): void {
    const { ids, hashes, number, firstSequence, lastSequence, lastId } = this.#segment;
    const { previous } = this.#setting;
    const edited = (what: string) => {
      const first = { sequence: previous.lastSequence + 1, segment: number, ...(ids[0] && { id: ids[0] }) };
      this.#findings.push({ kind: "edited", ...first, message: `${what} of segment ${number} was changed` });
    };
    const counted = firstSequence === previous.lastSequence + 1 && lastSequence === previous.lastSequence + ids.length;
    if (!counted || ids.length === 0 || hashes.length !== ids.length) {
      edited("the count of the records");
      return;
    }
    const first = ids[0] as string;
    if (compareIds(first, previous.lastId) <= 0) {
      const message = `the last id of segment ${previous.number} was changed`;
      this.#findings.push({ kind: "edited", sequence: firstSequence, segment: previous.number, id: first, message });
    }
    const falling = ids.findIndex((id, place) => place > 0 && compareIds(id, ids[place - 1] as string) <= 0);
    if (falling > 0) this.#add("reordered", falling - 1, "the segment lists records in another order than their ids");
    if (ids.at(-1) !== lastId) edited("the last id");
  }

  // Are the records the sealed ones, and does the head follow from the list?
  #contents(): void {
    const { ids, hashes, head, previousHead, number } = this.#segment;
    for (const [place, record] of this.#placed.entries()) {
      if (record !== undefined) this.#actual[place] = recordHash(record);
    }
    this.#listHead = headAfter(previousHead, hashes);
    const headFollows = this.#listHead === head;
    if (!headFollows && this.#listWasEdited()) return;
    for (const place of ids.keys()) {
      const record = this.#placed[place];
      if (record === undefined) this.#absent(place);
      else if (this.#actual[place] !== hashes[place]) this.#changed(place, record);
    }
    if (!headFollows) this.#add("edited", 0, `the head of segment ${number} does not follow from its records`);
  }

  // The head follows from the records as they are: then it is the list of hashes that was changed.
  #listWasEdited(): boolean {
    const { hashes, head, previousHead } = this.#segment;
    if (this.#actual.includes(undefined) || headAfter(previousHead, this.#actual as string[]) !== head) return false;
    const place = hashes.findIndex((hash, index) => hash !== this.#actual[index]);
    this.#add("edited", Math.max(place, 0), "the hash of the record in its segment was changed");
    return true;
  }

  #absent(place: number): void {
    const { ids, hashes } = this.#segment;
    const hash = hashes[place];
    const owner = this.#strangers.find((record) => recordHash(record) === hash);
    const moved = this.#strangers.find((record) => recordHash({ ...record, id: ids[place] as string }) === hash);
    const known = owner ?? moved;
    if (known !== undefined) {
      this.#strangers = this.#strangers.filter((record) => record !== known);
      const message = owner ? "its segment lists it under another id" : `it stands under another id, ${known.id}`;
      this.#add("edited", place, message, owner ? owner.id : ids[place]);
    } else if (!this.#setting.partial) this.#add("missing", place, "the record is missing");
  }

  #changed(place: number, record: ChainRecord): void {
    const { ids, hashes } = this.#segment;
    this.#searches += 1;
    const belongs =
      this.#searches <= SEARCHES_MAX &&
      hashes.some(
        (hash, other) =>
          other !== place &&
          (this.#actual[place] === hash || recordHash({ ...record, id: ids[other] as string }) === hash),
      );
    if (belongs) {
      this.#add("reordered", place, "another record of its segment stands in its place");
      return;
    }
    const finding = this.#add("edited", place, "the record is not the one that was sealed");
    this.#foreign ??= { record, finding };
  }
}

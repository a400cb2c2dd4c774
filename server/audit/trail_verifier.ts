// Checks an exported trail line by line: the chain of its segments, the records in them, the signed heads, and its end.
// Called by cli/audit_verify.ts, and by tests over whatever trail they have. Pure; keeps one segment and the heads given, no more.
// What a good result says, and what it cannot say, is in docs/audit.md.

import { createHash, type Hash } from "node:crypto";
import { canonicalJson, isJsonObject } from "../../kit/json.ts";
import { type ChainHead, type ChainRecord, type ChainSegment, GENESIS, recordHash } from "./chain.ts";
import { type Checkpoint, checkpointHash, isSigned, isTextSigned, type PublicKeys } from "./checkpoint.ts";
import {
  type EndLine,
  type ExportFilter,
  type ExportLine,
  endStatement,
  NO_FILTER,
  readLine,
  type TrailLine,
} from "./export_lines.ts";
import { type Finding, type FindingKind, firstFinding } from "./findings.ts";
import { KnownHeads } from "./known_heads.ts";
import { checkSegment, type Foreign, type SegmentResult } from "./segment_check.ts";

/** Findings that are kept; the first one matters, the rest show how far it goes. */
const FINDINGS_MAX = 100;
/** Records beside those that a segment lists, before more of them are named at once instead of kept. */
const STRANGERS_MAX = 10_000;

/** What a trail is checked with. */
export interface VerifierOptions {
  readonly keys: PublicKeys;
  /** Heads that were exported before, in order: only they show that the end of a trail, with its own heads, is gone. */
  readonly heads?: readonly Checkpoint[];
}

/** The result. */
export interface Verification {
  readonly findings: readonly Finding[];
  /** The finding that comes first in the trail; absent: nothing is wrong. */
  readonly first?: Finding;
  readonly segments: number;
  /** Sealed records that were read. */
  readonly records: number;
  /** Sequence of the first and the last record of the segments read. */
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** Sealed records after the last signed head; no head vouches for them yet. */
  readonly unsigned: number;
  /** Records that are not sealed yet: nothing vouches for them. */
  readonly unsealed: number;
  /** Signed heads that were read and are good. */
  readonly heads: number;
  readonly filter: ExportFilter;
  /** The record by which retention says that it removed everything before firstSequence; absent: nothing was removed. */
  readonly removal?: { readonly id: string; readonly time: string };
}

interface Place {
  readonly sequence: number;
  readonly segment: number;
  readonly id?: string;
}

/** See the file header. */
export class TrailVerifier {
  readonly #keys: PublicKeys;
  readonly #known: KnownHeads;
  readonly #findings: Finding[];
  readonly #digest: Hash = createHash("sha256");
  readonly #counts = { lines: 0, segments: 0, records: 0, unsealed: 0, heads: 0 };
  #header: TrailLine | undefined;
  #end: EndLine | undefined;
  #previous: ChainHead = GENESIS;
  /** What follows from the list of the segment before, where it says something else. */
  #other: SegmentResult["other"];
  #linked = true;
  #open: { segment: ChainSegment; found: ChainRecord[] } | undefined;
  #carried: readonly ChainRecord[] = [];
  /** The last place that a signed head vouches for, and the record after it. */
  #proven: ChainHead = GENESIS;
  #unproven: Place = { sequence: 1, segment: 1 };
  /** The record after the last signed head of the trail: what is wrong with the next head concerns it first. */
  #afterHead: Place = { sequence: 1, segment: 1 };
  #firstHead: Checkpoint | undefined;
  #lastHead: Checkpoint | undefined;
  #farthest: Checkpoint | undefined;
  #foreign: Foreign | undefined;
  /** A line that cannot be read; when it is the last one, the file was cut off inside of it. */
  #broken: string | undefined;
  #removal: { readonly id: string; readonly time: string } | undefined;

  constructor({ keys, heads = [] }: VerifierOptions) {
    this.#keys = keys;
    this.#known = new KnownHeads(heads, keys);
    this.#findings = this.#known.findings.slice(0, FINDINGS_MAX);
  }

  /** The next line, without its line feed. */
  line(text: string): void {
    this.#counts.lines += 1;
    this.#tellBroken();
    const line = readLine(text);
    if (typeof line === "string") this.#broken = `line ${this.#counts.lines} ${line}`;
    else if (this.#end !== undefined) this.#here("edited", `line ${this.#counts.lines} comes after the end`);
    else if ((line.type === "trail") !== (this.#counts.lines === 1)) this.#here("edited", "the export begins wrongly");
    else this.#take(line);
    if (typeof line === "string" || line.type !== "end") this.#digest.update(text).update("\n");
  }

  /** The result, after the last line. */
  end(): Verification {
    if (this.#end === undefined) this.#cutOff();
    else this.#tellBroken();
    this.#close();
    for (const { id } of this.#carried) this.#here("inserted", `record ${id} is in no segment`, id);
    this.#checkBeginning();
    this.#checkHeads();
    this.#checkEnd();
    const { lines: _, ...counts } = this.#counts;
    const first = firstFinding(this.#findings);
    return {
      findings: this.#findings,
      ...(first && { first }),
      ...counts,
      firstSequence: (this.#header?.start.lastSequence ?? 0) + 1,
      lastSequence: this.#previous.lastSequence,
      unsigned: this.#previous.lastSequence - this.#proven.lastSequence,
      filter: this.#header?.filter ?? NO_FILTER,
      ...(this.#removal && { removal: this.#removal }),
    };
  }

  #take(line: ExportLine): void {
    if (line.type === "record" || line.type === "unsealed") this.#noteRemoval(line);
    if (line.type !== "record") this.#close();
    switch (line.type) {
      case "record":
        this.#record(line);
        break;
      case "trail":
        this.#header = line;
        this.#previous = line.start;
        this.#proven = line.start;
        this.#unproven = placeAfter(line.start);
        this.#afterHead = this.#unproven;
        break;
      case "segment":
        this.#counts.segments += 1;
        this.#open = { segment: line, found: [...this.#carried] };
        this.#carried = [];
        break;
      case "head":
        this.#head(line);
        break;
      case "unsealed":
        this.#counts.unsealed += 1;
        break;
      case "end":
        this.#end = line;
    }
  }

  #record(line: ChainRecord): void {
    this.#counts.records += 1;
    const open = this.#open;
    const crowded = open !== undefined && open.found.length > open.segment.ids.length + STRANGERS_MAX;
    if (open === undefined || crowded) this.#here("inserted", `record ${line.id} is in no segment`, line.id);
    else open.found.push(line);
  }

  #add(kind: FindingKind, place: Place, message: string): void {
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push({ kind, ...place, message });
  }

  // After everything that has been checked so far.
  #here(kind: FindingKind, message: string, id?: string): void {
    this.#add(kind, { ...placeAfter(this.#open?.segment ?? this.#previous), ...(id !== undefined && { id }) }, message);
  }

  #tellBroken(): void {
    if (this.#broken !== undefined) this.#here("edited", this.#broken);
    this.#broken = undefined;
  }

  // There is no last line. Whatever the open segment lists after the last record that was read went with it.
  #cutOff(): void {
    const message = "the last line is missing: the export is cut off";
    const { segment, found } = this.#open ?? {};
    const read = segment === undefined ? 0 : segment.ids.indexOf(found?.at(-1)?.id ?? "") + 1;
    this.#close(true);
    const id = segment?.ids[read];
    if (segment === undefined || id === undefined) this.#here("truncated", message);
    else this.#add("truncated", { sequence: segment.firstSequence + read, segment: segment.number, id }, message);
  }

  #close(cut = false): void {
    if (this.#open === undefined) return;
    const { segment, found } = this.#open;
    this.#open = undefined;
    const [id] = segment.ids;
    if (segment.number === this.#unproven.segment && id !== undefined) this.#unproven = { ...this.#unproven, id };
    if (segment.number === this.#afterHead.segment && id !== undefined) this.#afterHead = { ...this.#afterHead, id };
    const partial = cut || (this.#header?.filter.runId ?? "") !== "";
    const result = checkSegment(segment, found, { previous: this.#before(segment), unproven: this.#unproven, partial });
    this.#findings.push(...result.findings.slice(0, FINDINGS_MAX - this.#findings.length));
    if (this.#foreign !== undefined) this.#searchForeign(segment, this.#foreign);
    else if (firstFinding(this.#findings) === result.foreign?.finding) this.#foreign = result.foreign;
    this.#carried = result.carried;
    // One that stands there again is named; the chain goes on from the first.
    if (segment.number <= this.#previous.number) return;
    this.#previous = segment;
    this.#other = result.other;
    this.#linked = result.linked;
    const known = this.#known.ofSegment(segment.number);
    if (known !== undefined) this.#compare(known);
  }

  // Where the segment before contradicts itself, this one tells which part of it was changed.
  #before({ previousHead, firstSequence }: ChainSegment): ChainHead {
    const [previous, other] = [this.#previous, this.#other];
    if (other === undefined) return previous;
    const head = previousHead === other.head ? other.head : previous.head;
    const lastSequence = firstSequence === other.lastSequence + 1 ? other.lastSequence : previous.lastSequence;
    return { ...previous, head, lastSequence };
  }

  // A record that stands in another one's place may belong to a later segment: then two were swapped.
  #searchForeign(segment: ChainSegment, { record, finding }: Foreign): void {
    if (!segment.hashes.some((hash, place) => recordHash({ ...record, id: segment.ids[place] ?? "" }) === hash)) return;
    const message = `a record of segment ${segment.number} stands in its place`;
    this.#findings[this.#findings.indexOf(finding)] = { ...finding, kind: "reordered", message };
    this.#foreign = undefined;
  }

  #head(head: Checkpoint): void {
    const place = this.#afterHead;
    if (!isSigned(head, this.#keys)) {
      this.#add("unsigned", place, `head ${head.number} is not signed by a given key`);
      return;
    }
    const last = this.#lastHead;
    const known = this.#known.ofNumber(head.number);
    if (last !== undefined && head.number > last.number + 1) {
      this.#add("missing", place, `the signed head ${last.number + 1} is missing`);
    } else if (last !== undefined && (head.number <= last.number || head.previous !== checkpointHash(last))) {
      this.#add("forked", place, `head ${head.number} does not follow from head ${last.number}`);
    } else if (known !== undefined && checkpointHash(known) !== checkpointHash(head)) {
      this.#add("forked", place, `head ${head.number} is not the one that was exported before`);
    } else if (last === undefined && this.#header?.start.number === 0 && head.number > 1) {
      this.#add("missing", place, "the signed head 1 is missing");
    }
    this.#counts.heads += 1;
    this.#firstHead ??= head;
    this.#lastHead = head;
    this.#afterHead = { sequence: head.lastSequence + 1, segment: head.segment + 1 };
    if (head.segment === this.#previous.number) this.#compare(head);
    else if (head.segment > (this.#farthest?.segment ?? this.#previous.number)) this.#farthest = head;
  }

  // A signed head against the chain as it was computed. It also tells which part of a segment that contradicts itself was changed.
  #compare(head: Checkpoint): void {
    const [segment, other] = [this.#previous, this.#other];
    const agrees = (member: "head" | "lastSequence") =>
      head[member] === segment[member] || head[member] === other?.[member];
    if (!agrees("head") || !agrees("lastSequence")) {
      const message = `segment ${segment.number} does not have the head that was signed for it`;
      if (this.#linked) this.#add("forked", this.#unproven, message);
      return;
    }
    if (head.lastId !== segment.lastId) {
      const place = { sequence: head.lastSequence, segment: segment.number, id: head.lastId };
      this.#add("edited", place, `the last id of segment ${segment.number} was changed`);
    }
    this.#previous = { ...segment, head: head.head, lastSequence: head.lastSequence };
    this.#other = undefined;
    this.#proven = this.#previous;
    this.#unproven = placeAfter(this.#previous);
  }

  #noteRemoval({ id, time, kind, record }: ChainRecord): void {
    if (kind !== "retention.removed" || this.#header === undefined) return;
    if (namesRemoval(record, this.#header.start)) this.#removal = { id, time };
  }

  // A whole trail begins with the first record, or where a record says that retention removed the ones before.
  #checkBeginning(): void {
    if (this.#header === undefined) {
      this.#here("truncated", "there is no line that begins a trail");
      return;
    }
    const { filter, start } = this.#header;
    const whole = filter.runId === "" && filter.startTime === "" && filter.endTime === "";
    // Of an export that is cut off the record may be in the part that is not there.
    if (!whole || start.number === 0 || this.#removal !== undefined || this.#end === undefined) return;
    const message = `records up to ${start.lastSequence} are gone, and no record says that retention removed them`;
    this.#add("missing", { sequence: 1, segment: 1 }, message);
  }

  // Every head that was signed before the export began must be in the trail, and its segment with it; what was cut off is named already.
  #checkHeads(): void {
    if (this.#header === undefined || this.#end === undefined) return;
    const { filter, start, time } = this.#header;
    const narrowed = filter.runId !== "" || filter.endTime !== "";
    const due = this.#known.signedBy(time, start.number);
    const farthest = Math.max(this.#farthest?.segment ?? 0, narrowed ? 0 : (due.at(-1)?.segment ?? 0));
    const { number } = this.#previous;
    const firstNumber = this.#firstHead?.number ?? 0;
    const lastNumber = this.#lastHead?.number ?? 0;
    const lost = due.find((head) => (head.number < firstNumber || head.number > lastNumber) && head.segment <= number);
    if (farthest > number) {
      this.#here("truncated", `the trail ends with segment ${number}; a head was signed for segment ${farthest}`);
    } else if (lost !== undefined) {
      const place = lost.number < firstNumber ? placeAfter(start) : this.#afterHead;
      this.#add("missing", place, `the signed head ${lost.number} is missing`);
    }
    // Heads that were lost, or that vouch for something else, are a finding of their own.
    const told = farthest > number || lost !== undefined || this.#counts.heads > 0;
    if (!told && this.#counts.segments > 0 && this.#proven.number === start.number) {
      this.#add("unsigned", this.#unproven, "no signed head vouches for any record");
    }
  }

  // The last line covers every other one, sealed or not.
  #checkEnd(): void {
    const end = this.#end;
    if (end === undefined) return;
    const { segments, records, unsealed } = this.#counts;
    const counted = end.segments === segments && end.records === records && end.unsealed === unsealed;
    if (!isTextSigned(canonicalJson(endStatement(end)), end.signature, end.key, this.#keys)) {
      this.#here("unsigned", "the last line is not signed by a given key");
    } else if (!counted || end.digest !== this.#digest.digest("hex")) {
      this.#here("edited", "the file was changed after the export");
    }
  }
}

function placeAfter({ lastSequence, number }: ChainHead): Place {
  return { sequence: lastSequence + 1, segment: number + 1 };
}

// Records of earlier releases do not name the last sequence.
function namesRemoval(record: string, { number, lastId, lastSequence, head }: ChainHead): boolean {
  let value: unknown;
  try {
    value = JSON.parse(record);
  } catch {
    return false;
  }
  const detail = isJsonObject(value) ? value["detail"] : undefined;
  const bounds = isJsonObject(detail) && detail["of"] === "audit" ? detail["bounds"] : undefined;
  if (!isJsonObject(bounds) || bounds["segment"] !== String(number)) return false;
  const named = bounds["lastSequence"] ?? String(lastSequence);
  return bounds["lastId"] === lastId && bounds["head"] === head && named === String(lastSequence);
}

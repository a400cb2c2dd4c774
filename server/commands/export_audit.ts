// Writes the trail as lines that can be checked without a server: segments, their records, signed heads, the unsealed tail, the end.
// Called by replica.ts for AuditService.ExportAuditRecords, by tests, and by scripts. Holds one segment and a page of records at a time.
// Never waits for the sealer: what is not sealed yet comes last and is called so. Reads without a lock; appended rows never change.

import { createHash } from "node:crypto";
import { DomainError } from "../../kit/errors.ts";
import { canonicalJson } from "../../kit/json.ts";
import type { ChainHead, ChainRecord, ChainSegment } from "../audit/chain.ts";
import { type Checkpoint, type SigningKey, signText } from "../audit/checkpoint.ts";
import { EXPORT_VERSION, type ExportFilter, type ExportLine, endStatement, lineText } from "../audit/export_lines.ts";
import { compareIds } from "../audit/segment_check.ts";
import type { Store } from "../storage/store.ts";

const PAGE = { segments: 8, records: 500, heads: 100 } as const;
const EVERY_ID = "9".repeat(18);

/** What an export is narrowed to; absent members do not narrow. */
export interface ExportRequest {
  readonly runId?: string;
  readonly startTime?: Date;
  readonly endTime?: Date;
}

/**
 * The lines of an export, each with its line feed.
 *
 * @throws VERSION_CHANGED when retention removed segments that were about to be read; DomainError for database trouble
 */
export async function* exportAudit(store: Store, key: SigningKey, request: ExportRequest): AsyncGenerator<string> {
  const digest = createHash("sha256");
  const counts = { segments: 0, records: 0, unsealed: 0 };
  for await (const line of trailLines(store, request)) {
    const text = `${lineText(line)}\n`;
    digest.update(text);
    if (line.type === "segment") counts.segments += 1;
    else if (line.type === "record") counts.records += 1;
    else if (line.type === "unsealed") counts.unsealed += 1;
    yield text;
  }
  const end = { type: "end", ...counts, digest: digest.digest("hex"), key: key.name } as const;
  yield `${lineText({ ...end, signature: signText(canonicalJson(endStatement(end)), key) })}\n`;
}

/** Where an export begins and ends. */
interface Range {
  readonly time: string;
  readonly start: ChainHead;
  /** Last segment. */
  readonly through: number;
  /** Number of the newest signed head; those that are made from now on are not for this export. */
  readonly lastHead: number;
  /** True if the range ends where the trail does: then its unsealed tail belongs to it. */
  readonly open: boolean;
}

async function* trailLines(store: Store, request: ExportRequest): AsyncGenerator<ExportLine> {
  const { runId = "", startTime, endTime } = request;
  const range = await rangeOf(store, request);
  const filter: ExportFilter = {
    runId,
    startTime: startTime?.toISOString() ?? "",
    endTime: endTime?.toISOString() ?? "",
  };
  const { number, lastId, lastSequence, head } = range.start;
  const start = { number, lastId, lastSequence, head };
  yield { type: "trail", version: EXPORT_VERSION, time: range.time, filter, start };
  const whole = runId === "" && startTime === undefined;
  const records = new Cursor((after) => recordsAfter(store, runId, after), whole ? "0" : lastId);
  const heads = new Cursor((after: number) => headsAfter(store, after), await headsBefore(store, number));
  let previous = number;
  for await (const segment of segmentsOf(store, range)) {
    yield { type: "segment", ...segment };
    let found = 0;
    for await (const record of records.while(({ id }) => compareIds(id, segment.lastId) <= 0)) {
      found += 1;
      yield { type: "record", ...record };
    }
    const removed = segment.number !== previous + 1 || (runId === "" && found < segment.ids.length);
    if (removed) await requireKept(store, previous + 1);
    for await (const one of heads.while((each) => each.segment <= segment.number)) yield { type: "head", ...one };
    previous = segment.number;
  }
  if (previous < range.through) await requireKept(store, previous + 1);
  if (!range.open) return;
  for await (const one of heads.while((each) => each.number <= range.lastHead)) yield { type: "head", ...one };
  for await (const record of records.while(() => true)) yield { type: "unsealed", ...record };
}

// Reads pages ahead, and hands out as much as is asked for.
class Cursor<Item, Key> {
  readonly #read: (after: Key) => Promise<{ items: readonly Item[]; next: Key; more: boolean }>;
  #items: readonly Item[] = [];
  #at = 0;
  #after: Key;
  #more = true;

  constructor(read: (after: Key) => Promise<{ items: readonly Item[]; next: Key; more: boolean }>, after: Key) {
    this.#read = read;
    this.#after = after;
  }

  async *while(belongs: (item: Item) => boolean): AsyncGenerator<Item> {
    for (;;) {
      if (this.#at === this.#items.length) {
        if (!this.#more) return;
        const { items, next, more } = await this.#read(this.#after);
        this.#items = items;
        this.#at = 0;
        this.#after = next;
        this.#more = more;
        if (items.length === 0) return;
      }
      const item = this.#items[this.#at] as Item;
      if (!belongs(item)) return;
      this.#at += 1;
      yield item;
    }
  }
}

async function recordsAfter(store: Store, runId: string, after: string) {
  const items: ChainRecord[] = await store.read(({ segments }) =>
    segments.records(after, EVERY_ID, PAGE.records, runId),
  );
  return { items, next: items.at(-1)?.id ?? after, more: items.length >= PAGE.records };
}

async function headsAfter(store: Store, after: number) {
  const items: Checkpoint[] = await store.read(({ checkpoints }) => checkpoints.list(after, PAGE.heads));
  return { items, next: items.at(-1)?.number ?? after, more: items.length >= PAGE.heads };
}

async function headsBefore(store: Store, segment: number): Promise<number> {
  return segment === 0 ? 0 : await store.read(({ checkpoints }) => checkpoints.lastThrough(segment));
}

async function* segmentsOf(store: Store, { start, through }: Range): AsyncGenerator<ChainSegment> {
  let after = start.number;
  while (after < through) {
    const page = await store.read(({ segments }) => segments.list(after, PAGE.segments));
    for (const segment of page) {
      if (segment.number > through) return;
      yield segment;
      after = segment.number;
    }
    if (page.length < PAGE.segments) return;
  }
}

// A narrowed export still goes from one segment to a signed head, so that it can be checked like a whole one.
async function rangeOf(store: Store, { runId = "", startTime, endTime }: ExportRequest): Promise<Range> {
  return await store.read(async ({ segments, checkpoints }) => {
    const time = await segments.time();
    const lastHead = (await checkpoints.last())?.number ?? 0;
    const newest = await segments.head();
    const oldest = await segments.beginning();
    if (runId === "" && startTime === undefined && endTime === undefined) {
      return { time, lastHead, start: oldest, through: newest.number, open: true };
    }
    const bounds = await segments.idBounds({ runId, startTime, endTime });
    if (bounds === undefined) return { time, lastHead, start: newest, through: newest.number, open: false };
    const start = (await segments.before(bounds.firstId)) ?? oldest;
    const last = await segments.numberAt(bounds.lastId);
    const signed = last === undefined ? undefined : await checkpoints.firstFrom(last);
    return { time, lastHead, start, through: signed ?? newest.number, open: signed === undefined };
  });
}

async function requireKept(store: Store, number: number): Promise<void> {
  const removed = await store.read(({ segments }) => segments.beginning());
  if (removed.number < number) return;
  throw new DomainError(
    "VERSION_CHANGED",
    `audit retention removed segment ${number} while it was being exported: export again`,
  );
}

// Reads the audit trail: pages in insertion order, and a watch that never skips a record.
// Called by rpc/audit_service. Never locks. Each call is recorded before it reads, once; one that cannot be recorded reads nothing.
// A watcher sees a record as soon as every transaction that began before its own has ended; usually at once.

import type { JsonObject } from "../../kit/json.ts";
import { SECOND } from "../../kit/units.ts";
import type { SigningKey } from "../audit/checkpoint.ts";
import { auditRecord } from "../audit/record.ts";
import {
  type AuditFilter,
  type AuditReadRow,
  auditReads,
  isOfKinds,
  type TrailCheckpoint,
  type TrailHorizon,
  type TrailPosition,
} from "../storage/read_audit.ts";
import type { Store } from "../storage/store.ts";
import { callTrace } from "./call_trace.ts";
import { type ExportRequest, exportAudit } from "./export_audit.ts";
import { readPage } from "./page_token.ts";
import type { ReadContext } from "./read_runs.ts";
import { auditView } from "./run_views.ts";
import type { AuditFilterView, AuditRecordView, Page, PageRequest, Principal } from "./views.ts";
import type { WatchContext } from "./watch_run.ts";

const SIZES = { sizeDefault: 100, sizeMax: 1_000 };
/** Records in one batch of a watch at most. */
const BATCH_MAX = 1_000;
/** How often the trail is looked at without a hint, in ms; and while records wait for a transaction to end. */
const INTERVAL_MS = { idle: SECOND, pending: 100 };
/** Records between two checkpoints: what each look reads again at most, beside what waits for a transaction. */
const CHECKPOINT_RECORDS = 100n;
const CHECKPOINTS_MAX = 1_000;

/** A page of records in insertion order. @throws PAGE_TOKEN_INVALID */
export async function listAudit(
  context: ReadContext,
  principal: Principal,
  filter: AuditFilterView,
  request: PageRequest,
): Promise<Page<AuditRecordView>> {
  await recordRead(context.store, principal, "list", filter);
  const { namespace, runId, taskId, kinds, startTime, endTime } = filter;
  const times = { startTime: startTime?.getTime() ?? null, endTime: endTime?.getTime() ?? null };
  const key = { namespace, runId, taskId, kinds: [...kinds].sort(), ...times };
  const page = await readPage(
    { name: "audit", filter: key, ...SIZES },
    request,
    (after, limit) => context.store.read(({ db }) => auditReads(db).list(filter, idOf(after?.[0]), limit)),
    (row) => [String(row.id)],
  );
  return { ...page, items: page.items.map(auditView) };
}

/**
 * Batches of records as they commit, in (transaction, id) order: ids of concurrent transactions may come out of order, but
 * none is skipped or repeated. Ends when the signal aborts.
 *
 * @param afterId the last record that the caller has; absent: from now.
 */
export async function* watchAudit(
  context: WatchContext,
  principal: Principal,
  filter: AuditFilterView,
  afterId: bigint | undefined,
  signal: AbortSignal,
): AsyncGenerator<readonly AuditRecordView[]> {
  const trail = new Trail(context, filter);
  await trail.start(afterId);
  await recordRead(context.store, principal, "watch", filter);
  // While records wait for a transaction to end, any other may be the one.
  const watcher = context.changes.watchAudit((kind) => trail.isPending || isOfKinds(kind, filter.kinds));
  try {
    while (!signal.aborted) {
      const rows = await trail.next();
      if (rows.length > 0) yield rows.map(auditView);
      if (trail.hasMore) continue;
      await watcher.next(trail.isPending ? INTERVAL_MS.pending : INTERVAL_MS.idle, signal);
    }
  } finally {
    watcher.close();
  }
}

/** The lines of an export; what is sealed by now is signed first. @throws as exportAudit */
export async function* exportedAudit(
  { store }: ReadContext,
  audit: { readonly key: SigningKey; sign(): Promise<void> },
  principal: Principal,
  request: ExportRequest,
): AsyncGenerator<string> {
  await recordRead(store, principal, "export", request);
  await audit.sign();
  yield* exportAudit(store, audit.key, request);
}

/** Records that the trail is read, before it is. @throws DomainError if that cannot be recorded: then nothing is read */
export async function recordRead(
  store: Store,
  principal: Principal,
  how: "list" | "watch" | "export" | "explain",
  asked: Partial<AuditFilterView>,
): Promise<void> {
  const filter: JsonObject = {};
  for (const [name, value] of Object.entries(asked)) {
    if (value instanceof Date) filter[name] = value.toISOString();
    else if (value.length > 0) filter[name] = typeof value === "string" ? value : [...value];
  }
  const event = { kind: "audit.read", actor: principal.id, ...callTrace(principal), detail: { how, filter } } as const;
  const record = auditRecord(event);
  await store.read((queries) => queries.audit.insert([record]));
}

// Follows the trail. Once everything below a horizon was delivered, what is left belongs to transactions at or above it; and
// those that began after an earlier checkpoint took ids above the highest one seen then: that id is the floor of the next query.
class Trail {
  readonly #context: ReadContext;
  readonly #filter: AuditFilter;
  readonly #checkpoints: TrailCheckpoint[] = [];
  #position: TrailPosition = { transaction: "0", id: "0", floor: "0" };
  hasMore = false;
  /** True while records are visible that wait for a transaction to end. */
  isPending = false;

  constructor(context: ReadContext, filter: AuditFilter) {
    this.#context = context;
    this.#filter = filter;
  }

  async start(afterId: bigint | undefined): Promise<void> {
    await this.#context.store.read(async ({ db }) => {
      const reads = auditReads(db);
      if (afterId !== undefined) {
        const id = String(afterId);
        this.#position = (await reads.positionOf(id)) ?? { transaction: "0", id, floor: id };
      } else {
        const horizon = await reads.horizon("0");
        this.#position = { transaction: horizon.xmin, id: "0", floor: await reads.recentFloor() };
      }
      // So that what was written in the last minutes is read once, and not again by the second look.
      this.#checkpoints.push(await reads.checkpoint());
    });
  }

  async next(): Promise<AuditReadRow[]> {
    const { store } = this.#context;
    const { horizon, rows } = await store.atOnce(({ db }) => {
      return auditReads(db).look(this.#filter, this.#position, BATCH_MAX);
    });
    this.hasMore = rows.length === BATCH_MAX;
    const last = rows.at(-1);
    if (this.hasMore && last !== undefined) {
      this.#position = { ...this.#position, transaction: last.transaction, id: String(last.id) };
    } else {
      if (this.#needsCheckpoint(horizon)) {
        this.#checkpoints.push(await store.atOnce(({ db }) => auditReads(db).checkpoint()));
      }
      this.#drained(horizon);
    }
    return rows;
  }

  #needsCheckpoint(horizon: TrailHorizon): boolean {
    if (this.#checkpoints.length >= CHECKPOINTS_MAX) return false;
    const last = this.#checkpoints.at(-1)?.lastId ?? this.#position.floor;
    return BigInt(horizon.lastId) >= BigInt(last) + CHECKPOINT_RECORDS;
  }

  #drained(horizon: TrailHorizon): void {
    const xmin = BigInt(horizon.xmin);
    let { floor } = this.#position;
    while (this.#checkpoints[0] !== undefined && BigInt(this.#checkpoints[0].bound) <= xmin) {
      floor = this.#checkpoints.shift()?.lastId ?? floor;
    }
    // A record that the caller has may be of a transaction above the horizon: what comes before it stays behind.
    const isAhead = BigInt(this.#position.transaction) >= xmin;
    this.#position = isAhead ? { ...this.#position, floor } : { transaction: horizon.xmin, id: "0", floor };
    this.isPending = horizon.pending;
  }
}

// A forged token may hold any text; a key that is no id reads as the end.
function idOf(key: string | undefined): string {
  if (key === undefined) return "0";
  return /^\d{1,18}$/.test(key) ? key : "999999999999999999";
}

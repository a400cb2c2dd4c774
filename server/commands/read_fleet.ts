// Reads workers and leases for operators.
// Called by rpc/fleet_service, and by drain for what it returns. Never locks, never writes.

import { DomainError } from "../../kit/errors.ts";
import { fleetReads, type LeaseReadRow, type WorkerReadRow } from "../storage/read_fleet.ts";
import { readPage } from "./page_token.ts";
import type { ReadContext } from "./read_runs.ts";
import type { LeaseView, Page, PageRequest, WorkerSessionView } from "./views.ts";

const SIZES = { sizeDefault: 100, sizeMax: 500 };
/** Leases shown with one worker at most: as many as it may have slots. */
const LEASES_OF_WORKER_MAX = 1_000;

/** A page of workers with a live session, or lost a short while ago. @throws PAGE_TOKEN_INVALID */
export async function listWorkers(context: ReadContext, request: PageRequest): Promise<Page<WorkerSessionView>> {
  const page = await readPage(
    { name: "workers", filter: "", ...SIZES },
    request,
    (after, limit) => context.store.read(({ db }) => fleetReads(db).workers(after?.[0] ?? "", limit)),
    (row) => [row.id],
  );
  return { ...page, items: page.items.map(workerView) };
}

/** One worker by session id or name, with its leases. @throws WORKER_NOT_FOUND */
export async function readWorker(
  context: ReadContext,
  worker: string,
): Promise<{ worker: WorkerSessionView; leases: LeaseView[] }> {
  return await context.store.read(async ({ db }) => {
    const reads = fleetReads(db);
    const row = await reads.worker(worker);
    if (row === undefined) {
      const message = `worker ${worker} has no session; list workers to see those that have one`;
      throw new DomainError("WORKER_NOT_FOUND", message, { worker });
    }
    const leases = await reads.leases({ sessionId: row.id }, "", LEASES_OF_WORKER_MAX);
    return { worker: workerView(row), leases: leases.map(leaseView) };
  });
}

/** A page of live leases by task id. @throws PAGE_TOKEN_INVALID */
export async function listLeases(
  context: ReadContext,
  filter: { runId?: string },
  request: PageRequest,
): Promise<Page<LeaseView>> {
  const page = await readPage(
    { name: "leases", filter: filter.runId ?? "", ...SIZES },
    request,
    (after, limit) => context.store.read(({ db }) => fleetReads(db).leases(filter, after?.[0] ?? "", limit)),
    (row) => [row.task_id],
  );
  return { ...page, items: page.items.map(leaseView) };
}

function workerView(row: WorkerReadRow): WorkerSessionView {
  return {
    sessionId: row.id,
    name: row.name,
    identity: row.identity,
    instanceId: row.instance_id,
    labels: row.labels,
    slots: row.slots,
    runtimes: row.runtimes,
    handlers: row.handlers,
    leases: row.leases,
    state: row.state as WorkerSessionView["state"],
    connectTime: row.connect_time,
    lastSeenTime: row.last_seen_time,
    replicaId: row.replica_id,
    version: row.version,
  };
}

function leaseView(row: LeaseReadRow): LeaseView {
  return {
    taskId: row.task_id,
    runId: row.run_id,
    node: row.node,
    sessionId: row.session_id,
    worker: row.worker,
    attempt: row.attempt,
    delivery: row.delivery,
    accepted: row.accepted,
    claimTime: row.claim_time,
    expireTime: row.expire_time,
  };
}

// What operators do to workers and leases: drain a worker, take a lease away. Audited.
// Called by rpc/fleet_service. The stream of another replica's worker is reached by that replica's tick.

import { DomainError } from "../../kit/errors.ts";
import { auditRecord } from "../audit/record.ts";
import { callTrace } from "./call_trace.ts";
import type { CommandContext } from "./context.ts";
import { readWorker } from "./read_fleet.ts";
import type { CommandServices } from "./services.ts";
import type { Principal, WorkerSessionView } from "./views.ts";

/** Asks a worker to finish what it holds and take nothing more. @throws WORKER_NOT_FOUND */
export async function drainWorker(
  context: CommandContext,
  principal: Principal,
  worker: string,
  windowMs: number,
): Promise<WorkerSessionView> {
  const found = await readWorker(context, worker);
  const { sessionId, name } = found.worker;
  await context.store.transaction(async (tx) => {
    await tx.sessions.setState(sessionId, "draining");
    const detail = { sessionId, worker: name, windowMs };
    const event = { kind: "worker.drained", actor: principal.id, ...callTrace(principal), detail } as const;
    await tx.audit.insert([auditRecord(event)]);
  });
  return (await readWorker(context, sessionId)).worker;
}

/** Takes a lease away: the task is READY at once, its token void. @throws LEASE_NOT_FOUND */
export async function revokeLease(
  context: CommandContext,
  services: CommandServices,
  principal: Principal,
  taskId: string,
  reason: string,
): Promise<void> {
  const [lease] = await context.store.read((queries) => queries.leases.ofTask(taskId));
  const note = reason === "" ? "revoked by an operator" : reason;
  const item = {
    type: "lost",
    taskId,
    token: lease?.token ?? "",
    reason: "revoked",
    actor: principal.id,
    note,
  } as const;
  const verdict = lease === undefined ? undefined : await services.settle.add(item);
  if (verdict?.verdict === "committed") return;
  throw leaseNotFound(taskId);
}

/** The error for a task without a lease. */
export function leaseNotFound(taskId: string): DomainError {
  const message = `task ${taskId} has no live lease; list leases to see those there are`;
  return new DomainError("LEASE_NOT_FOUND", message, { task: taskId });
}

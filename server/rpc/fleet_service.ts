// FleetService: checks the fields of each request, calls one use case, maps its result.
// Called by Connect; wired by listeners.ts.
// Never touches a session itself.

import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { HOUR, SECOND } from "../../kit/units.ts";
import type { FleetService } from "../../proto/gen/orloj/v1/fleet_pb.ts";
import { planeOf, principalOf } from "./call_context.ts";
import { durationOf, pageOf, REASON_CHARS_MAX, requiredText, text } from "./request_checks.ts";
import { leaseToWire, workerToWire } from "./to_wire.ts";

const PAGE_SIZE_MAX = 500;
const DRAIN_WINDOW_MS = 30 * SECOND;
const DRAIN_WINDOW_MS_MAX = 1 * HOUR;

/** The service over the use cases. */
export function fleetService(): ServiceImpl<typeof FleetService> {
  return {
    async listWorkers(request, context) {
      const page = await planeOf(context).listWorkers(pageOf(request, PAGE_SIZE_MAX));
      return { workers: page.items.map(workerToWire), nextPageToken: page.nextPageToken ?? "" };
    },
    async getWorker(request, context) {
      const { worker, leases } = await planeOf(context).getWorker(requiredText("worker", request.worker));
      return { worker: workerToWire(worker), leases: leases.map(leaseToWire) };
    },
    async listLeases(request, context) {
      const filter = request.runId === "" ? {} : { runId: requiredText("run_id", request.runId) };
      const page = await planeOf(context).listLeases(filter, pageOf(request, PAGE_SIZE_MAX));
      return { leases: page.items.map(leaseToWire), nextPageToken: page.nextPageToken ?? "" };
    },
    async drainWorker(request, context) {
      const name = requiredText("worker", request.worker);
      const windowMs = durationOf("window", request.window, DRAIN_WINDOW_MS, DRAIN_WINDOW_MS_MAX);
      return { worker: workerToWire(await planeOf(context).drainWorker(principalOf(context), name, windowMs)) };
    },
    async revokeLease(request, context) {
      const taskId = requiredText("task_id", request.taskId);
      const reason = text("reason", request.reason, REASON_CHARS_MAX);
      await planeOf(context).revokeLease(principalOf(context), taskId, reason);
      return {};
    },
    async getStatus(_request, context) {
      const { readTime, replicaId, version, numbers } = await planeOf(context).readStatus();
      const wire = numbers.map(({ name, labels, value }) => ({ name, labels: { ...labels }, value }));
      return { readTime: timestampFromDate(readTime), replicaId, version, numbers: wire };
    },
    async diagnose(_request, context) {
      const { serverTime, replicaId, version, findings } = await planeOf(context).diagnose();
      return { serverTime: timestampFromDate(serverTime), replicaId, version, findings: [...findings] };
    },
  };
}

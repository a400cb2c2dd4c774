// AuditService: lists and watches the trail.
// Called by Connect; wired by listeners.ts.
// Never writes: nothing on the wire can change a record.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { AuditFilter, AuditService, WatchAuditRecordsResponseSchema } from "../../proto/gen/orloj/v1/audit_pb.ts";
import type { ControlPlane } from "../commands/control_plane.ts";
import type { AuditFilterView } from "../commands/views.ts";
import { invalidField, itemCount, NAME_CHARS_MAX, pageOf, requiredText, text, timeOf } from "./request_checks.ts";
import { auditRecordToWire } from "./to_wire.ts";
import { untilAborted } from "./until_aborted.ts";

const PAGE_SIZE_MAX = 1_000;
const KINDS_MAX = 64;

/** The service over the use cases. */
export function auditService(controlPlane: ControlPlane): ServiceImpl<typeof AuditService> {
  return {
    async listAuditRecords(request) {
      const page = await controlPlane.listAudit(filterOf(request.filter), pageOf(request, PAGE_SIZE_MAX));
      return { records: page.items.map(auditRecordToWire), nextPageToken: page.nextPageToken ?? "" };
    },
    async *watchAuditRecords(
      request,
      { signal },
    ): AsyncGenerator<MessageInitShape<typeof WatchAuditRecordsResponseSchema>> {
      if (request.afterId < 0n) throw invalidField("after_id", "is negative: use the id of a record, or 0 for now");
      const afterId = request.afterId === 0n ? undefined : request.afterId;
      const batches = controlPlane.watchAudit(filterOf(request.filter), afterId, signal);
      for await (const records of untilAborted(batches, signal)) yield { records: records.map(auditRecordToWire) };
      signal.throwIfAborted();
    },
  };
}

function filterOf(filter: AuditFilter | undefined): AuditFilterView {
  if (filter === undefined) return { namespace: "", runId: "", taskId: "", kinds: [] };
  itemCount("filter.kinds", filter.kinds.length, 0, KINDS_MAX);
  const startTime = filter.startTime && timeOf("filter.start_time", filter.startTime);
  const endTime = filter.endTime && timeOf("filter.end_time", filter.endTime);
  if (startTime && endTime && startTime >= endTime) {
    throw invalidField("filter.end_time", "is not after filter.start_time: give a later time");
  }
  return {
    namespace: text("filter.namespace", filter.namespace, NAME_CHARS_MAX),
    runId: text("filter.run_id", filter.runId, NAME_CHARS_MAX),
    taskId: text("filter.task_id", filter.taskId, NAME_CHARS_MAX),
    kinds: filter.kinds.map((kind, index) => requiredText(`filter.kinds[${index}]`, kind)),
    ...(startTime && { startTime }),
    ...(endTime && { endTime }),
  };
}

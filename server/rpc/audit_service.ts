// AuditService: lists, watches and exports the trail.
// Called by Connect; wired by listeners.ts.
// Nothing on the wire can change a record; that the trail was read is one.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { KIB } from "../../kit/units.ts";
import type {
  AuditFilter,
  AuditService,
  ExportAuditRecordsResponseSchema,
  WatchAuditRecordsResponseSchema,
} from "../../proto/gen/orloj/v1/audit_pb.ts";
import type { AuditFilterView } from "../commands/views.ts";
import { planeOf, principalOf } from "./call_context.ts";
import { invalidField, itemCount, NAME_CHARS_MAX, pageOf, requiredText, text, timeOf } from "./request_checks.ts";
import { auditRecordToWire } from "./to_wire.ts";
import { untilAborted } from "./until_aborted.ts";

const PAGE_SIZE_MAX = 1_000;
const KINDS_MAX = 64;
/** Characters of one message of an export, about; a line is never split. */
const EXPORT_CHARS = 64 * KIB;

/** The service over the use cases. */
export function auditService(): ServiceImpl<typeof AuditService> {
  return {
    async listAuditRecords(request, context) {
      const page = await planeOf(context).listAudit(
        principalOf(context),
        filterOf(request.filter),
        pageOf(request, PAGE_SIZE_MAX),
      );
      return { records: page.items.map(auditRecordToWire), nextPageToken: page.nextPageToken ?? "" };
    },
    async *watchAuditRecords(
      request,
      context,
    ): AsyncGenerator<MessageInitShape<typeof WatchAuditRecordsResponseSchema>> {
      const { signal } = context;
      if (request.afterId < 0n) throw invalidField("after_id", "is negative: use the id of a record, or 0 for now");
      const afterId = request.afterId === 0n ? undefined : request.afterId;
      const batches = planeOf(context).watchAudit(principalOf(context), filterOf(request.filter), afterId, signal);
      for await (const records of untilAborted(batches, signal)) yield { records: records.map(auditRecordToWire) };
      signal.throwIfAborted();
    },
    async *exportAuditRecords(
      request,
      context,
    ): AsyncGenerator<MessageInitShape<typeof ExportAuditRecordsResponseSchema>> {
      const { signal } = context;
      const runId = text("run_id", request.runId, NAME_CHARS_MAX);
      const lines = planeOf(context).exportAudit(principalOf(context), {
        ...(runId && { runId }),
        ...timesOf("", request),
      });
      let buffered = "";
      for await (const line of untilAborted(lines, signal)) {
        buffered += line;
        if (buffered.length < EXPORT_CHARS) continue;
        yield { lines: buffered };
        buffered = "";
      }
      signal.throwIfAborted();
      if (buffered !== "") yield { lines: buffered };
    },
    async getAuditKey(_request, context) {
      return planeOf(context).auditKey();
    },
  };
}

function filterOf(filter: AuditFilter | undefined): AuditFilterView {
  if (filter === undefined) return { namespace: "", runId: "", taskId: "", kinds: [] };
  itemCount("filter.kinds", filter.kinds.length, 0, KINDS_MAX);
  return {
    namespace: text("filter.namespace", filter.namespace, NAME_CHARS_MAX),
    runId: text("filter.run_id", filter.runId, NAME_CHARS_MAX),
    taskId: text("filter.task_id", filter.taskId, NAME_CHARS_MAX),
    kinds: filter.kinds.map((kind, index) => requiredText(`filter.kinds[${index}]`, kind)),
    ...timesOf("filter.", filter),
  };
}

function timesOf(
  prefix: string,
  given: Pick<AuditFilter, "startTime" | "endTime">,
): { startTime?: Date; endTime?: Date } {
  const startTime = given.startTime && timeOf(`${prefix}start_time`, given.startTime);
  const endTime = given.endTime && timeOf(`${prefix}end_time`, given.endTime);
  if (startTime && endTime && startTime >= endTime) {
    throw invalidField(`${prefix}end_time`, `is not after ${prefix}start_time: give a later time`);
  }
  return { ...(startTime && { startTime }), ...(endTime && { endTime }) };
}

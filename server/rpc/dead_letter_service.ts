// DeadLetterService: checks the fields of each request, asks for one use case an item, maps the results.
// Called by Connect; wired by listeners.ts.
// Never decides what may be replayed: the commands do, under their locks.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { messageOf } from "../../kit/errors.ts";
import { type Json, parseJson } from "../../kit/json.ts";
import { MIB } from "../../kit/units.ts";
import type {
  DeadLetterFilter,
  DeadLetterSchema,
  DeadLetterSelection,
  DeadLetterService,
  ReplayDeadLettersRequest,
} from "../../proto/gen/orloj/v1/dead_letter_pb.ts";
import type { UseCases } from "../commands/control_plane.ts";
import type { DeadLetterFilterView, DeadLetterView, ReplayHow } from "../commands/views.ts";
import type { Logger } from "../telemetry/log.ts";
import { planeOf, principalOf } from "./call_context.ts";
import { itemError } from "./item_errors.ts";
import * as check from "./request_checks.ts";
import { toolCallToWire } from "./to_wire.ts";

const PAGE_SIZE_MAX = 500;
const ITEMS_MAX = 500;
const CAUSES = ["attempts", "deliveries", "unknown_outcome"];

/** The service over the use cases. */
export function deadLetterService(log: Logger): ServiceImpl<typeof DeadLetterService> {
  return {
    async listDeadLetters(request, context) {
      const filter = filterOf(request.filter, request.includeResolved);
      const page = await planeOf(context).listDeadLetters(filter, check.pageOf(request, PAGE_SIZE_MAX));
      return { deadLetters: page.items.map(letterToWire), nextPageToken: page.nextPageToken ?? "" };
    },
    async getDeadLetter(request, context) {
      const view = await planeOf(context).getDeadLetter(check.requiredText("task_id", request.taskId));
      const { inputJson, journal, toolCalls, originTaskId, replayOf = "", bundleDigest, manifestDigests } = view;
      return {
        deadLetter: letterToWire(view),
        ...{ inputJson, journal: [...journal], toolCalls: toolCalls.map(toolCallToWire) },
        ...{ originTaskId, replayOf, bundleDigest, manifestDigests: { ...manifestDigests } },
      };
    },
    async replayDeadLetters(request, context) {
      const how = howOf(request);
      const { taskIds, more } = await selected(planeOf(context), request.selection);
      const principal = principalOf(context);
      const results = await Promise.all(
        taskIds.map(async (taskId) => {
          try {
            const { replayTaskId, replayRunId, duplicate } = await planeOf(context).replayDeadLetter(
              principal,
              taskId,
              how,
            );
            const value = { taskId: replayTaskId, runId: replayRunId, duplicate };
            return { taskId, result: { case: "replay" as const, value } };
          } catch (error) {
            return { taskId, result: { case: "error" as const, value: itemError(error, context, log) } };
          }
        }),
      );
      return { results, more };
    },
    async discardDeadLetters(request, context) {
      const reason = check.text("reason", request.reason, check.REASON_CHARS_MAX);
      const { taskIds, more } = await selected(planeOf(context), request.selection);
      const principal = principalOf(context);
      const results = await Promise.all(
        taskIds.map((taskId) =>
          planeOf(context)
            .discardDeadLetter(principal, taskId, reason)
            .then(
              () => ({ taskId }),
              (error: unknown) => ({ taskId, error: itemError(error, context, log) }),
            ),
        ),
      );
      return { results, more };
    },
  };
}

async function selected(
  plane: UseCases,
  selection: DeadLetterSelection | undefined,
): Promise<{ taskIds: readonly string[]; more: boolean }> {
  const { taskIds = [], filter } = selection ?? {};
  if (filter === undefined) {
    check.itemCount("selection.task_ids", taskIds.length, 1, ITEMS_MAX);
    return { taskIds: [...new Set(taskIds.map((id) => check.requiredText("selection.task_ids", id)))], more: false };
  }
  if (taskIds.length > 0) throw check.invalidField("selection", "has task ids and a filter: give one of them");
  const page = await plane.listDeadLetters(filterOf(filter, false), { pageSize: ITEMS_MAX, pageToken: "" });
  return { taskIds: page.items.map(({ taskId }) => taskId), more: page.nextPageToken !== undefined };
}

function filterOf(filter: DeadLetterFilter | undefined, resolved: boolean): DeadLetterFilterView {
  const name = (field: string, value = "") => check.text(`filter.${field}`, value, check.NAME_CHARS_MAX);
  const cause = name("cause", filter?.cause);
  if (cause !== "" && !CAUSES.includes(cause)) {
    throw check.invalidField("filter.cause", `is no cause: use ${CAUSES.join(", ")}`);
  }
  return {
    ...{ namespace: name("namespace", filter?.namespace), workflow: name("workflow", filter?.workflow), cause },
    ...{ agent: name("agent", filter?.agent), failureClass: name("failure_class", filter?.failureClass) },
    ...{ runId: name("run_id", filter?.runId), resolved },
    ...(filter?.startTime && { parkedFrom: check.timeOf("filter.start_time", filter.startTime) }),
    ...(filter?.endTime && { parkedBefore: check.timeOf("filter.end_time", filter.endTime) }),
  };
}

function howOf(request: ReplayDeadLettersRequest): ReplayHow {
  const { inputJson, currentManifests, repeatEffects, resultsJson, selection } = request;
  const results = Object.entries(resultsJson);
  const single = selection?.taskIds.length === 1;
  if (inputJson !== "" && !single) throw check.invalidField("input_json", "belongs to one task: select that one alone");
  if (results.length > 0 && !single)
    throw check.invalidField("results_json", "belong to one task: select that one alone");
  return {
    ...(inputJson !== "" && { input: json("input_json", inputJson) }),
    ...{ currentManifests, repeatEffects },
    results: new Map(
      results.map(([id, text]) => [check.requiredText("results_json", id), json(`results_json[${id}]`, text)]),
    ),
  };
}

function json(field: string, text: string): Json {
  check.text(field, check.bytesWithin(field, text, MIB), MIB);
  try {
    return parseJson(text);
  } catch (error) {
    throw check.invalidField(field, `is not JSON (${messageOf(error)}): quote it as JSON`);
  }
}

function letterToWire(view: DeadLetterView): MessageInitShape<typeof DeadLetterSchema> {
  const { taskId, runId, namespace, workflow, node, agent, cause, failure, attempt, deliveries, state } = view;
  const { resolvedBy, replayTaskId, replayRunId, parkTime, resolveTime } = view;
  return {
    ...{ taskId, runId, namespace, workflow, node, agent, cause, failure, attempt, deliveries, state },
    ...{ resolvedBy, replayTaskId, replayRunId, parkTime: timestampFromDate(parkTime) },
    ...(resolveTime && { resolveTime: timestampFromDate(resolveTime) }),
  };
}

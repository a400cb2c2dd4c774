// WorkflowService: invoke, look, watch, cancel. Checks the fields of each request, calls one use case, maps its result.
// Called by Connect; wired by listeners.ts. First file of the reading path: the next one is commands/invoke.ts.
// Never decides anything about a run.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { DomainError } from "../../kit/errors.ts";
import { traceContextIn } from "../../kit/trace.ts";
import { MIB } from "../../kit/units.ts";
import type {
  InvokeBatchResultSchema,
  InvokeRequest,
  InvokeResponseSchema,
  ListTaskLogsRequest,
  OnBehalfOf,
  WatchRunResponseSchema,
  WatchTaskLogsRequest,
  WatchTaskLogsResponseSchema,
  WorkflowService,
} from "../../proto/gen/orloj/v1/workflow_pb.ts";
import type { ControlPlane, InvokeInput, InvokeResult } from "../commands/control_plane.ts";
import type { TaskLogsView } from "../commands/task_log_views.ts";
import type { Logger } from "../telemetry/log.ts";
import { planeOf, principalOf } from "./call_context.ts";
import { itemError } from "./item_errors.ts";
import { recordIfDenied } from "./refusals.ts";
import * as check from "./request_checks.ts";
import { methodName } from "./rights.ts";
import {
  auditRecordToWire,
  runStateOf,
  runToWire,
  taskLogChunkToWire,
  taskToWire,
  toolCallToWire,
  turnToWire,
} from "./to_wire.ts";
import { untilAborted } from "./until_aborted.ts";

const BATCH_ITEMS_MAX = 500;
const PARAMETERS_BYTES_MAX = 1 * MIB;
const IDEMPOTENCY_KEY_CHARS_MAX = 255;
const PAGE_SIZE_MAX = 500;
const LOG_PAGE_SIZE_MAX = 50;
const GROUPS_MAX = 100;

type Recorder = Pick<ControlPlane, "recordRefusal">;

/** The service over the use cases; log takes the unexpected failures of batch items, recorder the refusals of some. */
export function workflowService(log: Logger, recorder: Recorder): ServiceImpl<typeof WorkflowService> {
  return {
    async invoke(request, context) {
      return invokeToWire(await planeOf(context).invoke(principalOf(context), invokeInput(request, context)));
    },
    async invokeBatch(request, context) {
      check.itemCount("items", request.items.length, 1, BATCH_ITEMS_MAX);
      const inputs = request.items.map((item) => inputOrError(item, context));
      const valid = inputs.filter((input): input is InvokeInput => !(input instanceof Error));
      const results = valid.length === 0 ? [] : await planeOf(context).invokeBatch(principalOf(context), valid);
      const answers = results.values();
      const merged = inputs.map((input) => (input instanceof Error ? input : answers.next().value));
      for (const result of merged) await recordIfDenied(recorder, context, methodName(context.method), result);
      return { results: merged.map((result) => batchResult(result, context, log)) };
    },
    async getRun(request, context) {
      return { run: runToWire(await planeOf(context).getRun(check.requiredText("run_id", request.runId))) };
    },
    async listRuns(request, context) {
      const filter = {
        ...(request.namespace !== "" && { namespace: check.requiredText("namespace", request.namespace) }),
        ...(request.workflow !== "" && { workflow: check.requiredText("workflow", request.workflow) }),
        states: request.states.map((value) => {
          const state = runStateOf(value);
          if (state === undefined) throw check.invalidField("states", `${value} is not a run state: name one`);
          return state;
        }),
        ...(Object.keys(request.tags).length > 0 && { tags: check.textMap("tags", request.tags) }),
        ...(request.startTime && { createdFrom: check.timeOf("start_time", request.startTime) }),
        ...(request.endTime && { createdBefore: check.timeOf("end_time", request.endTime) }),
      };
      const page = await planeOf(context).listRuns(filter, check.pageOf(request, PAGE_SIZE_MAX));
      return { runs: page.items.map(runToWire), nextPageToken: page.nextPageToken ?? "" };
    },
    async *watchRun(request, context): AsyncGenerator<MessageInitShape<typeof WatchRunResponseSchema>> {
      const runId = check.requiredText("run_id", request.runId);
      for await (const snapshot of untilAborted(planeOf(context).watchRun(runId, context.signal), context.signal)) {
        yield {
          run: runToWire(snapshot.run),
          tasks: snapshot.tasks.map(taskToWire),
          events: snapshot.events.map(auditRecordToWire),
        };
      }
      // A watch that its source ended because of the abort is not a finished run.
      context.signal.throwIfAborted();
    },
    async cancelRun(request, context) {
      const runId = check.requiredText("run_id", request.runId);
      const reason = check.text("reason", request.reason, check.REASON_CHARS_MAX);
      return { run: runToWire(await planeOf(context).cancelRun(principalOf(context), runId, reason)) };
    },
    async getTask(request, context) {
      const { task, turns, toolCalls } = await planeOf(context).getTask(check.requiredText("task_id", request.taskId));
      return { task: taskToWire(task), turns: turns.map(turnToWire), toolCalls: toolCalls.map(toolCallToWire) };
    },
    async listTasks(request, context) {
      const runId = check.requiredText("run_id", request.runId);
      const page = await planeOf(context).listTasks(runId, check.pageOf(request, PAGE_SIZE_MAX));
      return { tasks: page.items.map(taskToWire), nextPageToken: page.nextPageToken ?? "" };
    },
    async listTaskLogs(request, context) {
      const page = await planeOf(context).listTaskLogs(logsOf(request), check.pageOf(request, LOG_PAGE_SIZE_MAX));
      return { chunks: page.items.map(taskLogChunkToWire), nextPageToken: page.nextPageToken ?? "" };
    },
    async *watchTaskLogs(request, context): AsyncGenerator<MessageInitShape<typeof WatchTaskLogsResponseSchema>> {
      const watched = planeOf(context).watchTaskLogs(logsOf(request), context.signal);
      for await (const chunks of untilAborted(watched, context.signal))
        yield { chunks: chunks.map(taskLogChunkToWire) };
      context.signal.throwIfAborted();
    },
  };
}

function logsOf({ runId, taskId, node, since }: ListTaskLogsRequest | WatchTaskLogsRequest): TaskLogsView {
  if (runId === "" && taskId === "") throw check.invalidField("run_id", "is empty, and so is task_id: set one");
  if (runId !== "" && taskId !== "") throw check.invalidField("task_id", "is set beside run_id: set one of them");
  if (taskId !== "" && node !== "") throw check.invalidField("node", "is for the logs of a run: leave it empty");
  return {
    ...(taskId === ""
      ? { runId: check.requiredText("run_id", runId) }
      : { taskId: check.requiredText("task_id", taskId) }),
    ...(node !== "" && { node: check.requiredText("node", node) }),
    ...(since && { since: check.timeOf("since", since) }),
  };
}

function invokeInput(request: InvokeRequest, context: HandlerContext): InvokeInput {
  const trace = traceContextIn(request.traceparent || context.requestHeader.get("traceparent"));
  const parameters = check.bytesWithin("parameters_json", request.parametersJson, PARAMETERS_BYTES_MAX);
  return {
    namespace: check.namespaceOrDefault("namespace", request.namespace),
    workflow: check.requiredText("workflow", request.workflow),
    parametersJson: parameters === "" ? "{}" : check.text("parameters_json", parameters, PARAMETERS_BYTES_MAX),
    tags: check.textMap("tags", request.tags),
    metadata: check.textMap("metadata", request.metadata),
    idempotencyKey: check.text("idempotency_key", request.idempotencyKey, IDEMPOTENCY_KEY_CHARS_MAX),
    ...(request.onBehalfOf && { onBehalfOf: personOf(request.onBehalfOf) }),
    ...(trace && { trace }),
  };
}

function personOf({ id, groups, claims }: OnBehalfOf): NonNullable<InvokeInput["onBehalfOf"]> {
  check.itemCount("on_behalf_of.groups", groups.length, 0, GROUPS_MAX);
  return {
    id: check.requiredText("on_behalf_of.id", id),
    groups: groups.map((group, index) => check.requiredText(`on_behalf_of.groups[${index}]`, group)),
    claims: check.textMap("on_behalf_of.claims", claims),
  };
}

function inputOrError(request: InvokeRequest, context: HandlerContext): InvokeInput | DomainError {
  try {
    return invokeInput(request, context);
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
}

function invokeToWire(result: InvokeResult): MessageInitShape<typeof InvokeResponseSchema> {
  return { run: runToWire(result.run), duplicate: result.duplicate };
}

function batchResult(
  result: InvokeResult | Error | undefined,
  context: HandlerContext,
  log: Logger,
): MessageInitShape<typeof InvokeBatchResultSchema> {
  if (result !== undefined && !(result instanceof Error)) {
    return { result: { case: "response", value: invokeToWire(result) } };
  }
  const value = itemError(result ?? new Error("the batch has fewer results than items"), context, log);
  return { result: { case: "error", value } };
}

// The port of one task: its facts go out with its token, and come back as the agent loop's words.
// Made by task_table.ts for each task. Holds no state of its own beyond the task's names.
// Call ids count up over the life of the process, so that an answer never meets another call.

import { create } from "@bufbuild/protobuf";
import { DomainError } from "../../kit/errors.ts";
import { canonicalJson } from "../../kit/json.ts";
import { KIB } from "../../kit/units.ts";
import { ToolCallSchema, TurnRecordSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { TaskPort, ToolCallRequest, ToolReport, Turn } from "../agent/task.ts";
import type { Facts } from "./facts.ts";
import type { LeaseKeeper } from "./lease_keeper.ts";
import { decisionOf, toolResultOf, turnText } from "./translate.ts";

/** Room in a frame for everything but the payload. */
const FRAME_OVERHEAD_BYTES = 4 * KIB;

/** What ports share. */
export interface PortContext {
  readonly facts: Facts;
  readonly keeper: LeaseKeeper;
  readonly nextCallId: () => bigint;
  /** Largest frame in bytes, as Welcome said. */
  readonly frameBytesMax: () => number;
}

/** The port of the task with that id and token. */
export function createTaskPort(taskId: string, token: string, context: PortContext): TaskPort {
  const { facts, keeper } = context;
  return {
    async recordTurn(sequence: number, turn: Turn) {
      const turnJson = turnText(turn);
      assertFits(turnJson, "the model's turn", context);
      await facts.record({ kind: "turn", value: create(TurnRecordSchema, { taskId, token, sequence, turnJson }) });
    },
    async callTool(request: ToolCallRequest) {
      const argumentsJson = canonicalJson(request.arguments);
      assertFits(argumentsJson, "the arguments of a tool call", context);
      const { turnSequence, callIndex, tool, attempt } = request;
      const callId = context.nextCallId();
      const value = create(ToolCallSchema, {
        taskId,
        token,
        callId,
        turnSequence,
        callIndex,
        tool,
        argumentsJson,
        attempt,
      });
      return decisionOf(await facts.decide({ kind: "call", value }));
    },
    async recordToolResult(report: ToolReport) {
      const value = toolResultOf(taskId, token, report);
      if (value.result.case === "resultJson") assertFits(value.result.value, "a tool result", context);
      await facts.record({ kind: "result", value });
    },
    leaseSound: (signal) => keeper.whenSound(signal),
  };
}

function assertFits(text: string, what: string, context: PortContext): void {
  const bytesMax = context.frameBytesMax() - FRAME_OVERHEAD_BYTES;
  const bytes = Buffer.byteLength(text, "utf8");
  if (bytes <= bytesMax) return;
  throw new DomainError("PAYLOAD_TOO_LARGE", `${what} has ${bytes} bytes; at most ${bytesMax} fit in a frame`);
}

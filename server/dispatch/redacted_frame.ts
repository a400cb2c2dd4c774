// What a worker tells, without the secrets that this replica knows: a tool may echo one, and a worker may forget to leave it out.
// Called by worker_session.ts for every frame, before anything of it is recorded, logged or compared: so a resent fact is equal to
// its first copy. Tokens, ids and numbers are left alone. Changes the frame in place.

import type { Redactor } from "../../kit/redactor.ts";
import type { Outcome, SessionRequest, ToolResult } from "../../proto/gen/orloj/v1/worker_pb.ts";

type Frame = SessionRequest["frame"];

/** The frame; see the file header. */
export function redactedFrame(redactor: Redactor, frame: Frame): Frame {
  switch (frame.case) {
    case "turns":
      for (const turn of frame.value.turns) turn.turnJson = redactor.jsonText(turn.turnJson);
      break;
    case "toolCalls":
      for (const call of frame.value.calls) {
        call.tool = redactor.text(call.tool);
        call.argumentsJson = redactor.jsonText(call.argumentsJson);
      }
      break;
    case "toolResults":
      for (const result of frame.value.results) redactResult(redactor, result);
      break;
    case "outcomes":
      for (const outcome of frame.value.outcomes) redactOutcome(redactor, outcome);
      break;
    case "yield":
      for (const lease of frame.value.leases) lease.reason = redactor.text(lease.reason);
      break;
    case "drain":
    case "goodbye":
      frame.value.reason = redactor.text(frame.value.reason);
      break;
    case "renew":
    case "taskLogs":
      for (const log of frame.value.logs) log.lines = log.lines.map((line) => redactor.text(line));
      break;
    default:
      break;
  }
  return frame;
}

function redactResult(redactor: Redactor, { result }: ToolResult): void {
  if (result.case === "resultJson") result.value = redactor.jsonText(result.value);
  else if (result.case === "failure") redactFailure(redactor, result.value);
}

function redactOutcome(redactor: Redactor, { outcome }: Outcome): void {
  if (outcome.case === "outputJson") outcome.value = redactor.jsonText(outcome.value);
  else if (outcome.case === "failed") redactFailure(redactor, outcome.value);
  else if (outcome.case === "interrupted") outcome.value.reason = redactor.text(outcome.value.reason);
}

function redactFailure(redactor: Redactor, failure: { class: string; message: string }): void {
  failure.class = redactor.text(failure.class);
  failure.message = redactor.text(failure.message);
}

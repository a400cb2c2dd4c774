// Turns a model's last text into the task's output, or says why it is none.
// Called by loop.ts when the journal says that the agent is finished. Pure.
// With an outputSchema the text must be JSON that fits it; without one the output is {text}.

import { messageOf } from "../../kit/errors.ts";
import { type Json, parseJson } from "../../kit/json.ts";
import { schemaErrors } from "./schema.ts";
import type { TaskEnd } from "./task.ts";
import type { AgentView } from "./view.ts";

/** Succeeded with the output, or failed with OutputTooLarge or OutputInvalid. */
export function outputOf(agent: AgentView, text: string): TaskEnd {
  const bytes = Buffer.byteLength(text, "utf8");
  const { maxOutputBytes } = agent.limits;
  if (bytes > maxOutputBytes) {
    return failed(
      "OutputTooLarge",
      `the answer has ${bytes} bytes; the agent's maxOutputBytes is ${maxOutputBytes}`,
      false,
    );
  }
  if (agent.outputSchema === undefined) return { kind: "succeeded", output: { text } };
  let output: Json;
  try {
    output = parseJson(text);
  } catch (error) {
    const why = `the answer is not JSON, which the agent's outputSchema asks for: ${messageOf(error)}`;
    return failed("OutputInvalid", why, true);
  }
  const errors = schemaErrors(agent.outputSchema, output);
  if (errors === undefined) return { kind: "succeeded", output };
  return failed("OutputInvalid", `the answer does not fit the agent's outputSchema: ${errors}`, true);
}

function failed(failureClass: string, message: string, retryable: boolean): TaskEnd {
  return { kind: "failed", class: failureClass, message, retryable };
}

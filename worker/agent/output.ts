// Turns the last text of a model, or the answer of an agent outside, into the task's output, or says why it is none.
// Called by loop.ts when the journal says that the agent is finished, and by outside_agent.ts. Pure.
// With an outputSchema the text must be JSON that fits it; without one the output of a model is {text}.

import { messageOf } from "../../kit/errors.ts";
import { type Json, parseJson } from "../../kit/json.ts";
import { schemaErrors } from "./schema.ts";
import type { TaskEnd } from "./task.ts";
import type { AgentView } from "./view.ts";

/** Succeeded with the output, or failed with OutputTooLarge or OutputInvalid. */
export function outputOf(agent: AgentView, text: string): TaskEnd {
  if (agent.outputSchema !== undefined) return jsonOutput(agent, text);
  return tooLarge(agent, text) ?? { kind: "succeeded", output: { text } };
}

/** As outputOf, of an answer that is JSON whether or not the agent has a schema. */
export function jsonOutput(agent: AgentView, text: string): TaskEnd {
  const large = tooLarge(agent, text);
  if (large !== undefined) return large;
  let output: Json;
  try {
    output = parseJson(text);
  } catch (error) {
    const asks = agent.outputSchema === undefined ? "" : ", which the agent's outputSchema asks for";
    return failed("OutputInvalid", `the answer is not JSON${asks}: ${messageOf(error)}`, true);
  }
  const errors = agent.outputSchema && schemaErrors(agent.outputSchema, output);
  if (errors === undefined) return { kind: "succeeded", output };
  return failed("OutputInvalid", `the answer does not fit the agent's outputSchema: ${errors}`, true);
}

function tooLarge({ limits: { maxOutputBytes } }: AgentView, text: string): TaskEnd | undefined {
  const bytes = Buffer.byteLength(text, "utf8");
  if (bytes <= maxOutputBytes) return undefined;
  return failed(
    "OutputTooLarge",
    `the answer has ${bytes} bytes; the agent's maxOutputBytes is ${maxOutputBytes}`,
    false,
  );
}

function failed(failureClass: string, message: string, retryable: boolean): TaskEnd {
  return { kind: "failed", class: failureClass, message, retryable };
}

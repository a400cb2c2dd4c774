// Tells a model which JSON its last answer has to be, where its API takes no schema or takes only some schemas.
// Called by the adapters. The answer is checked by agent/output.ts whatever the model was told. Pure.

import { canonicalJson, type JsonObject } from "../../kit/json.ts";

/** The system prompt, with what the answer must be at its end if the agent has an outputSchema. */
export function withOutputSchema(systemPrompt: string, schema: JsonObject | undefined): string {
  if (schema === undefined) return systemPrompt;
  const told = `When you give your final answer, answer with JSON only, without any other text around it. It must fit this JSON Schema:\n${canonicalJson(schema)}`;
  return systemPrompt === "" ? told : `${systemPrompt}\n\n${told}`;
}

// A model that follows a script: for tests, demos and the first five minutes; it says so in its provider's name.
// The first rule whose `when` is true answers. Called by the agent loop through the registry.
// Deterministic: equal input, turn and results give an equal turn. Never reaches for the network.

import type { Clock } from "../../kit/clock.ts";
import { canonicalJson, isJsonObject, type Json } from "../../kit/json.ts";
import { compileCondition } from "../../language/condition.ts";
import { compileStringTemplate, compileTemplate } from "../../language/template.ts";
import type { Bindings } from "../../language/types.ts";
import type { Turn } from "../agent/task.ts";
import type { ScriptRuleView } from "../agent/view.ts";
import { type ModelAdapter, ModelError } from "./adapter.ts";

const VARIABLES = { variables: ["input", "turn", "results"] };

/** See the file header. */
export function createScriptedAdapter(clock: Clock): ModelAdapter {
  return {
    async ask({ model, input, turn, results, signal }) {
      const bindings: Bindings = { input, turn, results };
      const rule = model.script.find((candidate, index) => applies(candidate, index, bindings));
      if (rule === undefined) throw new ModelError("ModelRefused", `no rule of the script answers turn ${turn}`);
      if (rule.delayMs !== undefined) await clock.sleep(rule.delayMs, signal);
      signal.throwIfAborted();
      if (rule.error !== undefined) throw new ModelError(rule.error, "the script says that the model fails here");
      return answerOf(rule, bindings);
    },
  };
}

function applies(rule: ScriptRuleView, index: number, bindings: Bindings): boolean {
  if (rule.when === undefined) return true;
  const compiled = compileCondition(rule.when, VARIABLES);
  const result = compiled.ok ? compiled.value.evaluate(bindings) : compiled;
  if (!result.ok) throw scriptError(`script[${index}].when: ${result.error}`);
  return result.value;
}

function answerOf(rule: ScriptRuleView, bindings: Bindings): Turn {
  const toolCalls = (rule.toolCalls ?? []).map((call) => {
    const rendered = render(call.arguments, bindings);
    if (!isJsonObject(rendered)) throw scriptError(`the arguments for ${call.name} are not an object`);
    return { name: call.name, arguments: rendered };
  });
  if (rule.output !== undefined) return { text: canonicalJson(render(rule.output, bindings)), toolCalls };
  if (rule.text === undefined) return { text: "", toolCalls };
  const compiled = compileStringTemplate(rule.text, VARIABLES);
  if (!compiled.ok) throw scriptError(compiled.errors[0]?.message ?? "the text does not compile");
  const text = compiled.value.evaluateString(bindings);
  if (!text.ok) throw scriptError(text.error);
  return { text: text.value, toolCalls };
}

function render(template: Json, bindings: Bindings): Json {
  const compiled = compileTemplate(template, VARIABLES);
  if (!compiled.ok) throw scriptError(compiled.errors[0]?.message ?? "a template does not compile");
  const value = compiled.value.evaluate(bindings);
  if (!value.ok) throw scriptError(value.error);
  return value.value;
}

// A script that cannot be followed stays so: trying again does not help.
function scriptError(message: string): ModelError {
  return new ModelError("ModelRefused", `the script cannot be followed: ${message}`);
}

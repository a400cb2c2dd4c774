// Puts a real model in the place of the scripted ones of manifests, in what is sent and not in the files.
// Called by apply --model and by the demo. Pure: text in, text out.
// The rest of a file stays as it is to the letter and to the line, so that findings name the lines of the file that there is.

import { isScalar, parseAllDocuments } from "yaml";
import type { JsonObject } from "../kit/json.ts";
import { UsageError } from "./failure.ts";
import type { ManifestFile } from "./manifest_files.ts";

/** Files with another model, and the agents that have it. */
export interface Swapped {
  readonly files: ManifestFile[];
  /** Names of the agents, in the order of the files. */
  readonly agents: readonly string[];
}

/** The model block that --model names. @throws UsageError */
export function readModelOption(value: string, url: string | undefined): JsonObject {
  const slash = value.indexOf("/");
  const [provider, name] = [value.slice(0, slash), value.slice(slash + 1)];
  const known = provider === "openai" || provider === "anthropic" || provider === "openai-compatible";
  if (slash < 0 || !known || name === "") {
    throw new UsageError(
      `--model ${value}: use PROVIDER/NAME with provider openai, anthropic or openai-compatible`,
      "--model openai/gpt-5-mini",
    );
  }
  if ((url !== undefined) !== (provider === "openai-compatible")) {
    throw new UsageError("--model-url belongs to --model openai-compatible/NAME, and to nothing else");
  }
  return { provider, name, ...(url === undefined ? {} : { baseUrl: url }) };
}

/** The same files with that model block in every agent whose model is scripted; kept agents stay as they are. */
export function withModel(files: readonly ManifestFile[], model: JsonObject, kept: readonly string[] = []): Swapped {
  const agents: string[] = [];
  const swapped = files.map(({ name, content }) => {
    let text = content;
    // From the last one back: what is replaced does not move what stands before it.
    for (const { agent, from, to } of scriptedModels(content).reverse()) {
      if (kept.includes(agent)) continue;
      const lines = content.slice(from, to).split("\n").length - 1;
      text = `${text.slice(0, from)}${JSON.stringify(model)}${"\n".repeat(lines)}${text.slice(to)}`;
      agents.unshift(agent);
    }
    return { name, content: text };
  });
  return { files: swapped, agents };
}

// A file that is no YAML is sent as it is: whoever takes it says what is wrong.
function scriptedModels(content: string): { readonly agent: string; readonly from: number; readonly to: number }[] {
  return parseAllDocuments(content).flatMap((document) => {
    if (document.errors.length > 0 || document.get("kind") !== "Agent") return [];
    const model = document.getIn(["spec", "model"], true) as { readonly range?: [number, number, number] } | undefined;
    const provider = document.getIn(["spec", "model", "provider"]);
    if (provider !== "scripted" || model?.range === undefined || isScalar(model)) return [];
    const [from, to] = model.range;
    return { agent: String(document.getIn(["metadata", "name"])), from, to };
  });
}

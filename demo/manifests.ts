// Reads the manifests of examples/, and swaps their scripted models for a real one when the demo runs live.
// Called by demo/main.ts. The swap happens in memory; no file is changed.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { withModel } from "../cli/live_models.ts";

/** A YAML file as the control plane takes it. */
export interface ExampleFile {
  readonly name: string;
  readonly content: string;
}

/** The endpoint of `--live`. */
export interface LiveModel {
  /** Base URL of an OpenAI-compatible API, such as https://api.openai.com/v1. */
  readonly baseUrl: string;
  readonly name: string;
  readonly apiKey: string;
}

/** The agent that stays scripted: a real model cannot be asked to overreach on cue. */
export const ALWAYS_SCRIPTED = "overreaching-reporter";
/** Where the server finds the key of the live model: secret model, key apiKey. */
export const LIVE_KEY_VARIABLE = "ORLOJ_SECRET_MODEL_APIKEY";

/** Every manifest file below examples/, in path order, named from the root of the repository. */
export async function readExamples(root: string): Promise<ExampleFile[]> {
  const entries = await readdir(join(root, "examples"), { recursive: true });
  const names = entries.filter((name) => name.endsWith(".yaml") && !name.endsWith(".policytest.yaml")).sort();
  return Promise.all(
    names.map(async (name) => ({
      name: `examples/${name}`,
      content: await readFile(join(root, "examples", name), "utf8"),
    })),
  );
}

/** The live model that the environment names. @throws Error that says which variable is missing. */
export function liveModelFrom(env: NodeJS.ProcessEnv): LiveModel {
  const baseUrl = env["OPENAI_BASE_URL"] || "https://api.openai.com/v1";
  const apiKey = env["OPENAI_API_KEY"];
  const name = env["OPENAI_MODEL"];
  const missing = [apiKey ? "" : "OPENAI_API_KEY", name ? "" : "OPENAI_MODEL"].filter((variable) => variable !== "");
  if (!apiKey || !name) {
    throw new Error(
      `--live needs ${missing.join(" and ")} in the environment (and OPENAI_BASE_URL, if the endpoint is not ` +
        `api.openai.com); without --live the demo uses scripted models and needs nothing`,
    );
  }
  return { baseUrl, name, apiKey };
}

/** The same files with every scripted model replaced, except that of ALWAYS_SCRIPTED. */
export function withLiveModel(files: readonly ExampleFile[], { name, baseUrl }: LiveModel): ExampleFile[] {
  const secretRef = { name: "model", key: "apiKey" };
  return withModel(files, { provider: "openai-compatible", name, baseUrl, secretRef }, [ALWAYS_SCRIPTED]).files;
}

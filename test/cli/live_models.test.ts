// A real model in the place of scripted ones: what is replaced, what stays to the letter, and what --model takes.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { readModelOption, withModel } from "../../cli/live_models.ts";
import { parseFile } from "../../server/manifests/parse.ts";
import { validateFiles } from "../../server/manifests/validate.ts";

const MODEL = { provider: "openai", name: "gpt-5-mini" };
const DESK = ["agents", "tools", "policies", "workflow"].map((name) => {
  const file = `${name}.yaml`;
  return { name: file, content: readFileSync(join(import.meta.dirname, "../../examples/support-desk", file), "utf8") };
});

function findings(files: readonly { readonly name: string; readonly content: string }[]) {
  const parsed = files.map(({ name, content }) => parseFile({ file: name, bytes: Buffer.from(content) }));
  return validateFiles(parsed, () => undefined).diagnostics;
}

test("the flagship is valid on a real model, its lines stay, and only models of agents differ", () => {
  const { files, agents } = withModel(DESK, MODEL);
  expect(agents).toEqual(["triage", "billing", "reader", "writer"]);
  expect(findings(files)).toEqual([]);
  expect(files.slice(1)).toEqual(DESK.slice(1));
  const [before, after] = [DESK[0], files[0]].map((file) => file?.content ?? "");
  expect(after?.split("\n").length).toBe(before?.split("\n").length);
  const rest = (text = "") =>
    parseAllDocuments(text).map((document) => {
      const { model, ...spec } = document.toJS().spec;
      return { model, spec };
    });
  expect(rest(after).map(({ model }) => model)).toEqual(agents.map(() => MODEL));
  expect(rest(after).map(({ spec }) => spec)).toEqual(rest(before).map(({ spec }) => spec));
  const line = (text = "") => text.split("\n").findIndex((one) => one.includes("Writes the answer"));
  expect(line(after)).toBe(line(before));
});

test("flow style, quotes, several documents, kept agents, other models, and text that is no YAML", () => {
  const agent = (name: string, model: string) =>
    `kind: Agent\nmetadata: {name: ${name}}\nspec: {model: ${model}, tools: []}\n`;
  const content = [
    agent("a", "{provider: 'scripted', script: [\n  {text: x}]}"),
    agent("b", "{provider: anthropic, name: c}"),
    "kind: Tool\nspec: {model: {provider: scripted}}\n",
    agent("d", "{provider: scripted, script: []}"),
  ].join("---\n");
  const broken = { name: "broken.yaml", content: "kind: Agent\nspec: {model: {provider: scripted\n" };
  const { files, agents } = withModel([{ name: "m.yaml", content }, broken], MODEL, ["d"]);
  expect(agents).toEqual(["a"]);
  expect(files[1]).toEqual(broken);
  expect(files[0]?.content).toBe(
    content.replace("{provider: 'scripted', script: [\n  {text: x}]}", `${JSON.stringify(MODEL)}\n`),
  );
});

describe("--model", () => {
  test.each([
    ["openai/gpt-5-mini", undefined, MODEL],
    ["anthropic/a/b", undefined, { provider: "anthropic", name: "a/b" }],
    [
      "openai-compatible/m",
      "http://127.0.0.1:1/v1",
      { provider: "openai-compatible", name: "m", baseUrl: "http://127.0.0.1:1/v1" },
    ],
  ])("%s at %s", (value, url, block) => expect(readModelOption(value, url)).toEqual(block));

  test.each([
    ["gpt-5-mini", undefined, "use PROVIDER/NAME"],
    ["", "http://127.0.0.1:1/v1", "use PROVIDER/NAME"],
    ["scripted/x", undefined, "use PROVIDER/NAME"],
    ["openai/", undefined, "use PROVIDER/NAME"],
    ["openai/x", "http://127.0.0.1:1/v1", "--model-url belongs to"],
    ["openai-compatible/x", undefined, "--model-url belongs to"],
  ])("%s at %s is a usage error", (value, url, message) => {
    expect(() => readModelOption(value, url)).toThrow(message);
  });
});

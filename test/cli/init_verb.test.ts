// `orloj init` without a server: what it makes, what it rewrites, what it refuses, and that a refusal leaves nothing behind.
// In this process; test/packages runs it from an installed package.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { listBlueprints } from "../../cli/blueprints.ts";
import { runCli } from "../../cli/main.ts";
import { readManifestFiles } from "../../cli/manifest_files.ts";
import { validateOffline } from "../../cli/offline_validation.ts";
import { systemClock } from "../../kit/clock.ts";
import { temporaryFolder } from "./run_orloj.ts";

const EXAMPLES = resolve(import.meta.dirname, "../../examples");
const NO_INPUT = () => Promise.resolve("");

function init(directory: string, ...words: readonly string[]) {
  return orloj(directory, "init", ...words);
}

async function orloj(directory: string, ...words: readonly string[]) {
  let out = "";
  let err = "";
  const code = await runCli(words, {
    env: {},
    directory,
    clock: systemClock(),
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    written: () => Promise.resolve(),
    readInput: NO_INPUT,
    terminal: () => undefined,
    onInterrupt: () => () => undefined,
  });
  return { code, out, err };
}

test("the list has a line a blueprint, and a folder without such a README is none", async () => {
  const names = listBlueprints().map(({ name }) => name);
  const { code, out, err } = await init("/", "--list");
  expect({ code, err }).toEqual({ code: 0, err: "Next: orloj init NAME --blueprint BLUEPRINT\n" });
  expect([...out.matchAll(/^([a-z-]+) +\S.+$/gm)].map((match) => match[1])).toEqual(names);
  expect(names).toContain("pipeline");
  expect(names).not.toContain("release-notes");
});

test("a name alone starts from the pipeline; files, namespace and next commands are told, and nothing else is changed", async () => {
  using folder = temporaryFolder();
  const { code, out, err } = await init(folder.path, "nightly");
  expect({ code, out, err }).toMatchInlineSnapshot(`
    {
      "code": 0,
      "err": "Next, with a server and a worker at work (nightly/README.md says more):
      npx orloj apply -f nightly
      npx orloj invoke cost-digest -n nightly --watch
      npx orloj invoke cost-digest -n nightly -p limit=5000 --watch
    ",
      "out": "nightly made from the blueprint pipeline, in the namespace nightly: README.md, agents.yaml, tools.yaml, workflow.yaml
    ",
    }
  `);
  const copy = readFileSync(join(folder.path, "nightly/agents.yaml"), "utf8");
  const original = readFileSync(join(EXAMPLES, "pipeline/agents.yaml"), "utf8");
  expect(copy).toBe(original.replaceAll("namespace: pipeline", "namespace: nightly"));
});

test.each(listBlueprints())(
  "a copy of $name is valid, in one namespace, and speaks of no other place",
  async ({ name }) => {
    using folder = temporaryFolder();
    const { code } = await init(folder.path, "deep/er/copy", "--blueprint", name, "--namespace", "mine");
    expect(code).toBe(0);
    const path = join(folder.path, "deep/er/copy");
    const files = await readManifestFiles([path], NO_INPUT);
    const { diagnostics } = validateOffline(files, { defaultNamespace: "", strict: false });
    expect(diagnostics.filter(({ severity }) => severity === "error")).toEqual([]);
    const documents = files.flatMap(({ content }) => parseAllDocuments(content));
    expect(new Set(documents.map((one) => one.getIn(["metadata", "namespace"])))).toEqual(new Set(["mine"]));
    const readme = readFileSync(join(path, "README.md"), "utf8");
    expect(readme).toMatch(/^# mine: /);
    expect(readme).toContain("\nnpx orloj apply -f deep/er/copy\n");
    for (const text of [readme, ...files.map(({ content }) => content)]) {
      expect(text).not.toMatch(/examples\/|\]\(\.\./);
      expect([...text.matchAll(/ -n ([\w-]+)/g)].map((match) => match[1]).filter((one) => one !== "mine")).toEqual([]);
    }
    expect(readdirSync(path, { recursive: true }).sort()).toEqual(
      readdirSync(join(EXAMPLES, name), { recursive: true }).sort(),
    );
  },
);

test.each(listBlueprints())("a copy's README of $name shows the graph as orloj graph draws it", async ({ name }) => {
  using folder = temporaryFolder();
  await init(folder.path, "copy", "--blueprint", name);
  const path = join(folder.path, "copy");
  const shown = /^```mermaid\n([\s\S]*?)^```/m.exec(readFileSync(join(path, "README.md"), "utf8"))?.[1];
  const documents = (await readManifestFiles([path], NO_INPUT)).flatMap(({ content }) => parseAllDocuments(content));
  const systems = documents.filter((one) => one.get("kind") === "AgentSystem");
  const names = systems.map((one) => String(one.getIn(["metadata", "name"])));
  const drawings = await Promise.all(names.map((system) => orloj("/", "graph", system, "-f", path, "-o", "mermaid")));
  expect(drawings.map(({ out }) => out)).toContain(shown);
});

test("with -o json what was made is one document, and paths are as they were meant", async () => {
  using folder = temporaryFolder();
  const { code, out, err } = await init(folder.path, "a/../b/", "-o", "json");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(JSON.parse(out)).toMatchObject({
    ...{ folder: join(folder.path, "b"), blueprint: "pipeline", namespace: "b" },
    files: ["README.md", "agents.yaml", "tools.yaml", "workflow.yaml"],
    next: expect.arrayContaining(["npx orloj apply -f b"]),
  });
  expect(readdirSync(folder.path)).toEqual(["b"]);
});

test("a namespace that YAML would take for a number is quoted", async () => {
  using folder = temporaryFolder();
  const { code, err } = await init(folder.path, "2030", "--blueprint", "hierarchical");
  expect(code).toBe(0);
  expect(err).toContain("npx orloj invoke readiness-review -n 2030 --watch\n");
  const files = await readManifestFiles([join(folder.path, "2030")], NO_INPUT);
  expect(validateOffline(files, { defaultNamespace: "", strict: true })).toMatchObject({
    valid: true,
    diagnostics: [],
  });
});

test("an empty folder that exists is filled, the current one too", async () => {
  using folder = temporaryFolder();
  const here = join(folder.path, "here");
  mkdirSync(here);
  expect(await init(here, ".")).toMatchObject({ code: 0, err: expect.stringContaining("npx orloj apply -f .\n") });
  expect(readFileSync(join(here, "tools.yaml"), "utf8")).toContain("namespace: here\n");
});

test("a folder that can hold no other is told as such", async () => {
  expect(await init("/proc/self", "x")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/^error\[E-USAGE\] x cannot be written: .+\. Next: choose another name\n$/),
  });
});

test.each([
  [[], "init needs the name of a folder to make. Next: orloj init NAME, or orloj init --list"],
  [["Nightly"], '"Nightly" is no name of a namespace: lower-case letters, digits and dashes'],
  [["x", "--namespace", "a_b"], '"a_b" is no name of a namespace'],
  [["a b/x"], '"a b/x" would need quotes in manifests and commands. Next: go to the folder above it first'],
  [["../x"], "../x lies outside the current folder. Next: go to the folder above it first"],
  [["/proc/self/x"], "/proc/self/x lies outside the current folder"],
  [["x", "--blueprint", "pipelnie"], 'there is no blueprint "pipelnie" (did you mean "pipeline"?)'],
  [["x", "--blueprint", "../deploy"], 'there is no blueprint "../deploy". Next: orloj init --list'],
  [["full"], "full is not empty; init overwrites nothing. Next: choose another name"],
  [["full/file"], "full/file cannot be used: it is, or lies below, a file"],
  [["full/file/x"], "full/file/x cannot be used: it is, or lies below, a file"],
])("orloj init %j is refused, and nothing is left behind", async (words, message) => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, "full"));
  writeFileSync(join(folder.path, "full/file"), "mine");
  const ended = await init(folder.path, ...words);
  expect(ended).toEqual({ code: 2, out: "", err: expect.stringContaining(message) });
  expect(ended.err).toMatch(/^error\[E-USAGE\] [^\n]+\. Next: [^\n]+\n$/);
  expect(readdirSync(folder.path, { recursive: true }).sort()).toEqual(["full", "full/file"]);
});

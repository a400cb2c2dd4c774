// What people do with stored manifests, as processes against a real server: -o yaml that changes nothing, diff, pruned sets, edit.

import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { temporaryFolder } from "../harness/folders.ts";
import { runOrloj, type ServerProcess, startServer } from "../harness/processes.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");
let server: ServerProcess;

beforeAll(async () => {
  server = await startServer();
});

const orloj = (words: readonly string[], options: Parameters<typeof runOrloj>[1] = {}) =>
  runOrloj(words, { server, ...options });

const tool = (name: string, description = "Looks") =>
  `apiVersion: orloj.dev/v1\nkind: Tool\nmetadata: {name: ${name}}\nspec: {type: command, description: ${description}, command: {argv: [cat]}, inputSchema: {type: object}, effect: read}\n`;

async function generations(): Promise<Record<string, string>> {
  const { stdout } = await orloj(["get", "all", "-A", "-o", "json"]);
  const { items } = JSON.parse(stdout) as {
    items: { kind: string; namespace: string; name: string; generation: string }[];
  };
  return Object.fromEntries(items.map((one) => [`${one.kind}/${one.namespace}/${one.name}`, one.generation]));
}

test("what get -o yaml prints is applied again and changes nothing; diff says the same", async () => {
  expect(await orloj(["apply", "-f", EXAMPLES])).toMatchObject({ code: 0 });
  const before = await generations();
  expect(Object.keys(before).length).toBeGreaterThan(30);
  const printed = await orloj(["get", "all", "-A", "-o", "yaml"]);
  expect(printed.code).toBe(0);
  const again = await orloj(["apply", "-f", "-"], { stdin: printed.stdout });
  expect(again).toMatchObject({ code: 0, stdout: expect.stringMatching(/^0 created, 0 configured, \d+ unchanged$/m) });
  expect(await generations()).toEqual(before);
  expect(await orloj(["diff", "-f", "-"], { stdin: printed.stdout })).toMatchObject({ code: 0, stdout: "" });
  const one = await orloj(["get", "workflow/cost-digest", "-n", "pipeline", "-o", "yaml"]);
  expect(one.stdout).toMatch(
    /^apiVersion: orloj\.dev\/v1\nkind: WorkflowTemplate\nmetadata:\n {2}name: cost-digest\n {2}namespace: pipeline\n/,
  );
});

test("diff shows each change as a unified diff and ends with 1; with 6 for invalid manifests; it stores nothing", async () => {
  await orloj(["apply", "-f", "-"], { stdin: tool("compared") });
  const before = await generations();
  const changed = await orloj(["diff", "-f", "-"], { stdin: `${tool("compared", "Sees")}---\n${tool("fresh")}` });
  expect(changed.code).toBe(1);
  expect(changed.stdout).toContain("--- Tool/default/compared  generation 1\n+++ Tool/default/compared  configured\n");
  expect(changed.stdout).toMatch(/^-\s+description: Looks\n\+\s+description: Sees$/m);
  expect(changed.stdout).toContain("--- /dev/null\n+++ Tool/default/fresh  created\n@@ -0,0 +1,");
  const invalid = await orloj(["diff", "-f", "-"], { stdin: tool("compared").replace("effect: read", "effect: reed") });
  expect(invalid).toMatchObject({ code: 6, stdout: "", stderr: expect.stringContaining('did you mean "read"?') });
  const json = await orloj(["diff", "-f", "-", "-o", "json"], { stdin: tool("fresh") });
  expect(JSON.parse(json.stdout)).toMatchObject({
    valid: true,
    changes: [{ action: "created", current: null, planned: { kind: "Tool" } }],
  });
  expect(await generations()).toEqual(before);
});

test("a set is pruned by its name alone: dry run and diff show it, references forbid it, and it is on record", async () => {
  const folder = await temporaryFolder();
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  write("kept.yaml", tool("kept"));
  write("gone.yaml", tool("gone"));
  expect(await orloj(["apply", "-f", folder, "--prune"])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--set NAME"),
  });
  expect((await orloj(["apply", "-f", folder, "--set", "depot"])).code).toBe(0);
  write("gone.yaml", "# moved elsewhere\n");
  write(
    "user.yaml",
    `apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: user}\nspec: {model: {provider: scripted, script: [{text: hi}]}, tools: [gone]}\n`,
  );
  const inUse = await orloj(["apply", "-f", folder, "--set", "depot", "--prune"]);
  expect(inUse).toMatchObject({
    code: 7,
    stderr: expect.stringContaining("Tool default/gone is used by Agent/default/user"),
  });
  const refused = await orloj(["diff", "-f", folder, "--set", "depot", "--prune"]);
  expect(refused).toMatchObject({ code: 7, stderr: expect.stringContaining("apply would refuse: RESOURCE_IN_USE") });
  write("user.yaml", "# nobody\n");
  const dry = await orloj(["apply", "-f", folder, "--set", "depot", "--prune", "--dry-run"]);
  expect(dry).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^pruned +Tool\/default\/gone[\s\S]*1 pruned; nothing was stored$/m),
  });
  expect(await generations()).toHaveProperty(["Tool/default/gone"]);
  const diff = await orloj(["diff", "-f", folder, "--set", "depot", "--prune"]);
  expect(diff).toMatchObject({
    code: 1,
    stdout: expect.stringContaining("--- Tool/default/gone  generation 1\n+++ /dev/null\n"),
  });
  const pruned = await orloj(["apply", "-f", folder, "--set", "depot", "--prune"]);
  expect(pruned).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("0 created, 0 configured, 1 unchanged, 1 pruned"),
  });
  const left = await generations();
  expect(left).not.toHaveProperty(["Tool/default/gone"]);
  expect(left).toHaveProperty(["Tool/default/kept"]);
  const trail = await orloj(["audit", "list", "--kind", "resource.deleted", "-o", "json"]);
  expect(trail.stdout).toContain('"prunedFrom": "depot"');
});

/** An editor: a program that gets the file, and a log of what it saw. */
async function editor(folder: string, steps: readonly string[]): Promise<Record<string, string>> {
  const path = join(folder, "editor.mjs");
  const log = join(folder, "seen.ndjson");
  writeFileSync(log, "");
  writeFileSync(
    path,
    `import { appendFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
const [file] = process.argv.slice(2);
const text = readFileSync(file, "utf8");
const turn = readFileSync(${JSON.stringify(log)}, "utf8").split("\\n").length - 1;
appendFileSync(${JSON.stringify(log)}, JSON.stringify({ text, mode: statSync(file).mode & 0o777, file }) + "\\n");
const steps = [${steps.join(", ")}];
const next = steps[turn](text);
if (next !== undefined) writeFileSync(file, next);
`,
  );
  chmodSync(path, 0o700);
  return { EDITOR: `"${process.execPath}" "${path}"` };
}

const seen = (folder: string): { text: string; mode: number; file: string }[] =>
  readFileSync(join(folder, "seen.ndjson"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

test("edit applies what is saved; the file is the owner's alone and gone afterwards", async () => {
  await orloj(["apply", "-f", "-"], { stdin: tool("edited") });
  const folder = await temporaryFolder();
  const env = await editor(folder, ['(text) => text.replace("Looks", "Sees")']);
  const ended = await orloj(["edit", "tool", "edited"], { env });
  expect(ended).toMatchObject({ code: 0, stdout: "configured  Tool/default/edited  generation 2\n" });
  const [first] = seen(folder);
  expect(first).toMatchObject({ mode: 0o600, text: expect.stringMatching(/^# Tool default\/edited, generation 1\./) });
  expect(existsSync(first?.file ?? "")).toBe(false);
});

test("edit without a change stores nothing, and neither does an editor that fails", async () => {
  await orloj(["apply", "-f", "-"], { stdin: tool("untouched") });
  const folder = await temporaryFolder();
  const same = await orloj(["edit", "tool/untouched"], { env: await editor(folder, ["() => undefined"]) });
  expect(same).toMatchObject({ code: 0, stdout: "no change; nothing was stored\n" });
  const emptied = await orloj(["edit", "tool/untouched"], { env: await editor(folder, ['() => ""']) });
  expect(emptied).toMatchObject({ code: 0, stdout: "no change; nothing was stored\n" });
  const failed = await orloj(["edit", "tool/untouched"], { env: { EDITOR: "false" } });
  expect(failed).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('the editor "false" ended with 1; nothing was stored'),
  });
  expect((await generations())["Tool/default/untouched"]).toBe("1");
});

test("edit opens again with what the server refuses on top, and another name is refused as well", async () => {
  await orloj(["apply", "-f", "-"], { stdin: tool("mistyped") });
  const folder = await temporaryFolder();
  const env = await editor(folder, [
    '(text) => text.replace("effect: read", "effect: reed")',
    '(text) => text.replace("effect: reed", "effect: read").replace("name: mistyped", "name: other")',
    '(text) => text.replace("name: other", "name: mistyped").replace("Looks", "Sees")',
  ]);
  const ended = await orloj(["edit", "tool", "mistyped"], { env });
  expect(ended).toMatchObject({ code: 0, stdout: "configured  Tool/default/mistyped  generation 2\n" });
  const [, second, third] = seen(folder);
  expect(second?.text).toMatch(
    /^#[^\n]*\n#[^\n]*\n#\n# line \d+ of the manifest, column \d+: \[E-VALUE\] spec\.effect: .*did you mean "read"/,
  );
  expect(third?.text).toContain(
    "# kind, name and namespace stay: this is Tool/default/mistyped, not Tool/default/other",
  );
  expect(await generations()).not.toHaveProperty(["Tool/default/other"]);
});

test("edit never writes over what others stored meanwhile, and keeps what was written", async () => {
  await orloj(["apply", "-f", "-"], { stdin: tool("raced") });
  const folder = await temporaryFolder();
  const other = join(folder, "other.yaml");
  writeFileSync(other, tool("raced", "Theirs"));
  const command = join(import.meta.dirname, "../../bin/orloj.ts");
  const apply = `(await import("node:child_process")).execFileSync(process.execPath, [${JSON.stringify(command)}, "apply", "-f", ${JSON.stringify(other)}], { stdio: "ignore" })`;
  const env = await editor(folder, [
    `await (async () => { ${apply}; return (text) => text.replace("Looks", "Mine"); })()`,
  ]);
  const ended = await orloj(["edit", "tool", "raced"], { env: { ...env, TMPDIR: folder } });
  expect(ended).toMatchObject({
    code: 7,
    stderr: expect.stringMatching(/what you wrote is in .+\nerror\[E-VERSION-CHANGED\]/),
  });
  const kept = readdirSync(folder).find((name) => name.startsWith("orloj-edit-")) as string;
  expect(readFileSync(join(folder, kept, "tool-raced.yaml"), "utf8")).toContain("description: Mine");
  const stored = await orloj(["get", "tool/raced", "-o", "yaml"]);
  expect(stored.stdout).toContain("description: Theirs");
  expect(readdirSync(tmpdir()).filter((name) => name.startsWith("orloj-edit-"))).toEqual([]);
});

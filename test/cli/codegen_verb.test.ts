// `orloj codegen`: files and servers as sources, --check, bad input; and what the compiler says to uses of the types.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { beforeAll, expect, test, vi } from "vitest";
import { SDK, typeCheck } from "../harness/type_check.ts";
import { refusal, startScriptedServer } from "../sdk/scripted_server.ts";
import { runVerb, temporaryFolder } from "./run_orloj.ts";

// The compiler is a process; a loaded machine may take seconds for it.
vi.setConfig({ testTimeout: 60_000 });

const MANIFESTS = join(import.meta.dirname, "typed_workflows.yaml");
let generated: string;

beforeAll(async () => {
  generated = (await runVerb(["codegen", "-f", MANIFESTS])).out;
  const json = JSON.parse((await runVerb(["codegen", "-f", MANIFESTS, "-o", "json"])).out) as { text: string };
  expect(json.text).toBe(generated);
});

const CLIENT = `import { createClient, type OrlojClient, type RunHandle } from "${SDK}";
import type { AskOutput, AskParameters, Workflows } from "./workflows.ts";

export const orloj = createClient<Workflows>({ endpoint: "http://127.0.0.1:1" });
export const ask = orloj.workflow("ask");
export const supportAsk = orloj.workflow("ask", { namespace: "support" });
export const any: OrlojClient = orloj;
export const takes = (run: RunHandle): string => run.id;
export const parameters: AskParameters = { question: "Why?", urls: ["https://example.org"] as const };
export const output = async (): Promise<AskOutput> => (await ask.invoke(parameters)).result();
`;

const RIGHT = `import { any, ask, orloj, supportAsk, takes } from "./client.ts";

const run = await ask.invoke({ question: "Why?", tone: "friendly" }, { tags: { ticket: "T-1" }, metadata: { from: "test" } });
const { answer, pages, notes } = await run.result();
export const told: string = [answer.trim(), pages.toFixed(), ...notes.map((note) => note.trim())].join() + takes(run);
await ask.invoke({ question: "Why?" });
await supportAsk.invoke(undefined, { tags: { ticket: "T-1" } });
await supportAsk.invoke({}, { tags: { ticket: "T-1" } });
orloj.workflow("ask", { namespace: "default" });
await orloj.workflow("route").invoke({ kind: "error", code: 7 });
const other = await any.workflow("whatever", { namespace: "anywhere" }).invoke({ a: 1 }, { tags: { b: "2" } });
export const title: string = (await other.result<{ title: string }>()).title;
`;

const WRONG: readonly (readonly [code: string, line: string])[] = [
  ["TS2345", 'orloj.workflow("asks");'],
  ["TS2322", 'orloj.workflow("ask", { namespace: "nowhere" });'],
  ["TS2561", 'await ask.invoke({ question: "Why?", url: [] });'],
  ["TS2322", "await ask.invoke({ question: 1 });"],
  ["TS2322", 'await ask.invoke({ question: "Why?", tone: "rude" });'],
  ["TS2741", "await ask.invoke({ urls: [] });"],
  ["TS2353", 'await orloj.workflow("route").invoke({ kind: "place", city: "Brno", county: "CZ" });'],
  ["TS2322", 'await orloj.workflow("route").invoke({ kind: "place", code: 7, city: 8 });'],
  ["TS2353", 'await orloj.workflow("route").invoke({ kind: "place", code: 7 });'],
  ["TS2554", "await ask.invoke();"],
  ["TS2561", 'await ask.invoke({ question: "Why?" }, { tags: { tickets: "T-1" } });'],
  ["TS2353", 'await ask.invoke({ question: "Why?" }, { tags: { "customer-id": "1" } });'],
  ["TS2322", 'await ask.invoke({ question: "Why?" }, { tags: { ticket: 1 } });'],
  ["TS2554", "await supportAsk.invoke({});"],
  ["TS2345", "await supportAsk.invoke({}, {});"],
  ["TS2741", "await supportAsk.invoke({}, { tags: {} });"],
  ["TS2322", 'await supportAsk.invoke({ question: "Why?" }, { tags: { ticket: "T-1" } });'],
  ["TS2339", "(await run.result()).title;"],
  ["TS2322", "export const pages: string = (await run.result()).pages;"],
  ["TS2741", "export const more: { answer: string; extra: number } = await run.result();"],
  ["TS2344", "await run.result<{ answer: number; pages: number; notes: string[] }>();"],
];

test("the compiler takes what fits a workflow, and refuses every other name, parameter, tag and use of the output at its line", async () => {
  const head = [
    'import { ask, orloj, supportAsk } from "./client.ts";',
    'const run = await ask.invoke({ question: "Why?" });',
  ];
  const files = {
    "workflows.ts": generated,
    "client.ts": CLIENT,
    "right.ts": RIGHT,
    "wrong.ts": [...head, ...WRONG.map(([, line]) => line)].join("\n"),
  };
  const { findings } = await typeCheck(files);
  const expected = WRONG.map(([code], index) => ["wrong.ts", index + head.length + 1, code]);
  expect(findings.map(({ file, line, code }) => [file, line, code])).toEqual(expected);
});

test("a file is written once, left alone when it is current, and --check tells when it is not", async () => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, "src"));
  const codegen = (...more: string[]) =>
    runVerb(["codegen", "-f", MANIFESTS, "--out", "src/workflows.ts", ...more], { directory: folder.path });
  const file = join(folder.path, "src/workflows.ts");
  expect(await codegen("--check")).toMatchObject({ code: 1, out: "src/workflows.ts is missing\n" });
  expect(existsSync(file)).toBe(false);
  expect(await codegen()).toEqual({ code: 0, out: "src/workflows.ts written: 3 workflows\n", err: "" });
  expect(readFileSync(file, "utf8")).toBe(generated);
  expect(await codegen()).toMatchObject({ code: 0, out: "src/workflows.ts unchanged: 3 workflows\n" });
  expect(await codegen("--check")).toMatchObject({ code: 0, out: "src/workflows.ts is current\n" });
  const edited = generated.replace("question: string", "question: number").replace(/Source: .*/, "Source: another");
  writeFileSync(file, generated.replaceAll("\n", "\r\n"));
  expect(await codegen("--check")).toMatchObject({ code: 0 });
  writeFileSync(file, edited);
  const line = edited.split("\n").findIndex((text) => text.includes("question: number")) + 1;
  expect(await codegen("--check")).toEqual({
    ...{ code: 1, out: `src/workflows.ts:${line} is not current\n` },
    err: "Next: the same command without --check writes it\n",
  });
  const json = await codegen("--check", "-o", "json");
  expect(JSON.parse(json.out)).toMatchObject({
    file: "src/workflows.ts",
    current: false,
    digest: /Source: (.*)/.exec(generated)?.[1],
  });
  expect(json).toMatchObject({ code: 1, err: "" });
  expect(readFileSync(file, "utf8")).toBe(edited);
});

test("manifests that are not valid: every finding with its place, exit 1, and the file stays as it was", async () => {
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, "out.ts"), "// mine\n");
  const broken = readFileSync(MANIFESTS, "utf8")
    .replace("system: desk", "system: desc")
    .replace("required: true}", "requird: true}");
  const ended = await runVerb(["codegen", "-f", "-", "--out", "out.ts"], { directory: folder.path, input: broken });
  expect(ended).toMatchObject({ code: 1, out: "" });
  expect(ended.err).toMatch(/^<stdin>:\d+:\d+: error\[E-REFERENCE\] spec\.system: /m);
  expect(ended.err).toMatch(/^<stdin>:\d+:\d+: error\[E-UNKNOWN-KEY\] spec\.tags\.ticket\.requird: /m);
  expect(ended.err).toMatch(
    /^error\[E-MANIFEST-INVALID\] the manifests are not valid, so no types were made\. Next: correct /m,
  );
  expect(readFileSync(join(folder.path, "out.ts"), "utf8")).toBe("// mine\n");
});

test("command lines that cannot be carried out say why, and write nothing", async () => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, "folder"));
  const closed = await startScriptedServer({});
  await closed[Symbol.asyncDispose]();
  const codegen = async (...words: string[]) => {
    const { code, out, err } = await runVerb(["codegen", ...words], {
      directory: folder.path,
      endpoint: closed.endpoint,
    });
    expect(out).toBe("");
    return `${code} ${err}`;
  };
  const answers = await Promise.all([
    codegen("-f", MANIFESTS, "--out", "folder"),
    codegen("-f", MANIFESTS, "--out", "nowhere/out.ts"),
    codegen("-f", MANIFESTS, "--check"),
    codegen("-f", MANIFESTS, "-A"),
    codegen("-f", join(import.meta.dirname, "offline_agent.yaml"), "--out", "out.ts"),
    codegen("--out", "out.ts"),
  ]);
  expect(answers).toEqual([
    "2 error[E-USAGE] folder cannot be read: it is a folder. Next: orloj codegen --help\n",
    "2 error[E-USAGE] nowhere/out.ts cannot be written: there is no such file. Next: name a file in a folder that is there\n",
    "2 error[E-USAGE] --check needs a file. Next: pass --out FILE\n",
    expect.stringMatching(/^2 error\[E-USAGE\] --all-namespaces does not go with -f/),
    expect.stringMatching(
      /^2 error\[E-USAGE\] there is no WorkflowTemplate in .*offline_agent\.yaml\. Next: orloj codegen --help\n$/,
    ),
    expect.stringMatching(/^5 error\[E-SERVER-UNREACHABLE\]/),
  ]);
  expect(existsSync(join(folder.path, "out.ts"))).toBe(false);
});

test("from a server: a namespace or all, every page, and a warning for a system that may not be read", async () => {
  const document = (namespace: string, name: string) => ({
    ...{ kind: "WorkflowTemplate", namespace, name },
    manifestJson: JSON.stringify({
      metadata: { namespace, name },
      spec: { system: "hidden", parameters: { type: "object" } },
    }),
  });
  const asked: string[] = [];
  await using server = await startScriptedServer({
    manifests: {
      listResources({ kind, namespace, full, pageToken }) {
        asked.push(`${kind} "${namespace}" ${full} ${pageToken}`);
        if (namespace === "empty") return { resources: [] };
        if (pageToken !== "") return { resources: [document("b", "flow")] };
        return { resources: [document("a", "flow")], nextPageToken: "2" };
      },
      getResource({ namespace }) {
        const reason = namespace === "system" ? "PERMISSION_DENIED" : "RESOURCE_NOT_FOUND";
        throw refusal(namespace === "system" ? Code.PermissionDenied : Code.NotFound, reason, "not for you");
      },
    },
  });
  const at = { endpoint: server.endpoint };
  const all = await runVerb(["codegen", "-A"], at);
  expect(all).toMatchObject({
    code: 0,
    err: expect.stringMatching(/^a\/flow: its system cannot be read, .*\nb\/flow: .*\n$/),
  });
  expect(all.out).toContain("flow: { parameters: BFlowParameters; tags: BFlowTags; output: BFlowOutput };");
  expect(all.out).toContain("export type AFlowOutput = unknown;");
  const empty = await runVerb(["codegen", "-n", "empty"], at);
  expect(empty).toEqual({
    ...{ code: 2, out: "" },
    err: "error[E-USAGE] there is no workflow in namespace empty. Next: orloj get workflows -A\n",
  });
  expect(asked).toEqual(['WorkflowTemplate "" true ', 'WorkflowTemplate "" true 2', 'WorkflowTemplate "empty" true ']);
});

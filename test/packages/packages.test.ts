// The two packages as npm packs them: what they hold, and that they work in a project that knows nothing of this repository.
// Builds in a copy of the sources, so that the tree stays clean. The install takes its dependencies from npm's cache or registry.

import { cp, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { temporaryFolder } from "../harness/folders.ts";
import { type RunningProcess, type SpawnOptions, startProcess } from "../harness/processes.ts";

const ROOT = join(import.meta.dirname, "../..");
const SOURCES = [
  "bin",
  "kit",
  "language",
  "tracing",
  "server",
  "worker",
  "sdk",
  "cli",
  "sandbox",
  "proto",
  "examples",
  "deploy",
  "scripts",
];
const FILES = ["package.json", "tsconfig.json", "tsconfig.build.json", "CHANGELOG.md", "LICENSE", "README.md"];
const SETUP_TIMEOUT_MS = 150_000;

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
}

let orloj: Packed;
let sdk: Packed;
let project: string;

beforeAll(async () => {
  const copy = await temporaryFolder("src");
  for (const name of SOURCES) await cp(join(ROOT, name), join(copy, name), { recursive: true, filter: isSource });
  for (const name of FILES) await cp(join(ROOT, name), join(copy, name));
  await symlink(join(ROOT, "node_modules"), join(copy, "node_modules"));
  orloj = await pack(copy);
  sdk = await pack(join(copy, "sdk"));
  project = await temporaryFolder("app");
  await writeFile(
    join(project, "package.json"),
    '{"name": "app", "version": "1.0.0", "private": true, "type": "module"}',
  );
  const tarballs = [join(copy, orloj.filename), join(copy, "sdk", sdk.filename)];
  await mustRun("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", ...tarballs], { cwd: project });
}, SETUP_TIMEOUT_MS);

function isSource(path: string): boolean {
  return !/(^|\/)(node_modules|dist)(\/|$)/.test(path.slice(ROOT.length)) && !path.endsWith(".tgz");
}

async function pack(folder: string): Promise<Packed> {
  const output = await mustRun("npm", ["pack", "--json", "--silent"], { cwd: folder });
  const [packed] = JSON.parse(output.slice(output.indexOf("["))) as [Packed];
  return packed;
}

async function mustRun(file: string, args: readonly string[], options: SpawnOptions): Promise<string> {
  const running = startProcess(file, args, options);
  const { code } = await running.ended;
  if (code !== 0)
    throw new Error(`${file} ${args.join(" ")} ended with ${code}\n${running.output.stdout}\n${running.output.stderr}`);
  return running.output.stdout;
}

const pathsOf = ({ files }: Packed) => files.map(({ path }) => path).sort();

test("the orloj package holds the built product, its types, the protos and the examples, and no source or test", () => {
  const paths = pathsOf(orloj);
  const known =
    /^(dist\/(bin|kit|language|tracing|server|worker|cli|sandbox|sdk|proto\/gen)\/|examples\/|deploy\/(compose|helm|kubernetes|monitoring|systemd)\/|proto\/orloj\/v1\/\w+\.proto$)|^(package\.json|README\.md|LICENSE|CHANGELOG\.md)$/;
  expect(paths.filter((path) => !known.test(path))).toEqual([]);
  expect(paths.filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts") && path.startsWith("dist/"))).toEqual(
    [],
  );
  expect(paths).toEqual(
    expect.arrayContaining(["dist/bin/orloj.js", "dist/worker/index.js", "dist/worker/index.d.ts", "dist/cli/main.js"]),
  );
  expect(paths).toEqual(expect.arrayContaining(["proto/orloj/v1/workflow.proto", "proto/orloj/v1/common.proto"]));
  expect(paths).toEqual(expect.arrayContaining(["deploy/monitoring/alerts.yaml", "deploy/monitoring/dashboard.json"]));
  expect(paths).toEqual(
    expect.arrayContaining(["deploy/systemd/orloj-server.service", "deploy/helm/orloj/templates/_names.tpl"]),
  );
});

test("every file of the examples is packed, also what tools read", async () => {
  const entries = await readdir(join(ROOT, "examples"), { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const packed = pathsOf(orloj).filter((path) => path.startsWith("examples/"));
  expect(packed).toEqual(
    paths
      .filter(isSource)
      .map((path) => relative(ROOT, path))
      .sort(),
  );
});

test("the SDK package holds its own closure alone and depends on three packages", async () => {
  const paths = pathsOf(sdk);
  const known = /^dist\/(sdk|proto\/gen)\/.*\.(js|d\.ts)$|^(package\.json|README\.md|LICENSE)$/;
  expect(paths.filter((path) => !known.test(path))).toEqual([]);
  expect(paths).toEqual(expect.arrayContaining(["dist/sdk/index.js", "dist/sdk/index.d.ts"]));
  expect(paths.filter((path) => /worker_pb|reflection|health/.test(path))).toEqual([]);
  const manifest = JSON.parse(await readFile(join(project, "node_modules/@orloj/sdk/package.json"), "utf8")) as object;
  expect(Object.keys((manifest as { dependencies: object }).dependencies).sort()).toEqual([
    "@bufbuild/protobuf",
    "@connectrpc/connect",
    "@connectrpc/connect-node",
  ]);
});

test("the installed command says its version", async () => {
  const output = await mustRun("npx", ["--no-install", "orloj", "version"], { cwd: project });
  const { version } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8")) as { version: string };
  expect(output).toContain(version);
});

const CLIENT = `
import { createClient, type OrlojClient, OrlojError, type RunSnapshot } from "@orloj/sdk";
import { AgentError, createWorker, type Handler, ToolError } from "orloj/worker";
import type { Workflows } from "./workflows.js";

const endpoint: string = process.env["ENDPOINT"] ?? "";
const token: string = process.env["TOKEN"] ?? "";
interface Tools {
  refund(args: { orderId: string }): Promise<{ id: string }>;
}
const refunds: Handler<{ orderId: string }, { id: string }, Tools> = async ({ orderId }, ctx) => {
  if (ctx.signal.aborted) throw new AgentError("stopped", { retryable: false });
  return await ctx.tools.refund({ orderId }).catch((error: unknown) => ({ id: error instanceof ToolError ? error.class : "?" }));
};
const worker = createWorker({ endpoints: ["127.0.0.1:1"], joinToken: "t", name: "w", handlers: { refunds } });
const orloj = createClient<Workflows>({ endpoint, token });
const untyped: OrlojClient = orloj;
const content = process.env["MANIFESTS"] ?? "";
const { results } = await orloj.manifests.apply({ files: [{ name: "hello.yaml", content }] });
const run = await orloj.workflow("hello").invoke({ name: "Ada" });
const states: number[] = [];
for await (const snapshot of run.watch()) states.push((snapshot satisfies RunSnapshot).run.nodes.length);
const output: { greeting: string } = await run.result();
const missing = await untyped.workflow("nobody").invoke().catch((error: unknown) => error);
const reason: string = missing instanceof OrlojError ? missing.reason : "none";
console.log(JSON.stringify({ applied: results.length, output, snapshots: states.length > 0, reason, library: typeof worker.start }));
`;

const MANIFESTS = `
apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: hello}
spec:
  model: {provider: scripted, name: hello, script: [{output: {greeting: "Hello \${{ input.name }}"}}]}
  inputSchema: {type: object, required: [name], properties: {name: {type: string}}}
  outputSchema: {type: object, required: [greeting], properties: {greeting: {type: string}}}
---
apiVersion: orloj.dev/v1
kind: AgentSystem
metadata: {name: hello}
spec:
  inputSchema: {type: object, required: [name], properties: {name: {type: string}}}
  nodes: [{name: hello, agent: hello}]
  output: {value: "\${{ has(nodes.hello.output) ? nodes.hello.output : {} }}"}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: hello}
spec:
  system: hello
  parameters: {type: object, required: [name], properties: {name: {type: string}}}
  output: {schema: {type: object, required: [greeting], properties: {greeting: {type: string}}}}
`;

test("a strict TypeScript client compiles and runs a workflow on the installed server and worker, and so does a blueprint", async () => {
  await mkdir(join(project, "src"));
  await writeFile(join(project, "src/client.ts"), CLIENT);
  await writeFile(join(project, "hello.yaml"), MANIFESTS);
  const codegen = ["orloj", "codegen", "-f", "hello.yaml", "--out", "src/workflows.ts"];
  await mustRun("npx", ["--no-install", ...codegen], { cwd: project });
  // The compiler and Node's types are the repository's; everything else is what npm installed.
  const types = join(ROOT, "node_modules/@types");
  const flags = [
    "--strict",
    "--module",
    "nodenext",
    "--target",
    "es2024",
    "--exactOptionalPropertyTypes",
    "--noUncheckedIndexedAccess",
  ];
  await mustRun(
    join(ROOT, "node_modules/.bin/tsc"),
    [...flags, "--skipLibCheck", "false", "--types", "node", "--typeRoots", types, "--outDir", "out", "src/client.ts"],
    { cwd: project },
  );
  const home = await temporaryFolder("h");
  const env = { ORLOJ_HOME: home, ORLOJ_API_PORT: "0", ORLOJ_WORKER_PORT: "0", ORLOJ_OPS_PORT: "0" };
  const command = join(project, "node_modules/orloj/dist/bin/orloj.js");
  const start = async (verb: string): Promise<RunningProcess> => {
    const running = startProcess(process.execPath, [command, verb], { cwd: project, env });
    await running.waitFor(/\bready\b/);
    return running;
  };
  const server = await start("server");
  const worker = await start("worker");
  const { endpoint, token } = JSON.parse(await readFile(join(home, "config.json"), "utf8")) as Record<string, string>;
  const output = await mustRun(process.execPath, ["out/client.js"], {
    cwd: project,
    env: { ENDPOINT: endpoint ?? "", TOKEN: token ?? "", MANIFESTS },
  });
  expect(JSON.parse(output)).toEqual({
    applied: 3,
    output: { greeting: "Hello Ada" },
    snapshots: true,
    reason: "WORKFLOW_NOT_FOUND",
    library: "function",
  });
  // What a newcomer types, as it is printed.
  const user = { cwd: project, env: { ORLOJ_HOME: home } };
  const made = await mustRun("npx", ["--no-install", "orloj", "init", "nightly", "-o", "json"], user);
  const { next } = JSON.parse(made) as { next: string[] };
  expect(next).toHaveLength(3);
  const printed = await mustRun("sh", ["-e", "-c", next.join("\n")], user);
  expect(printed.match(/ run_\w+ {2}SUCCEEDED$/gm)).toHaveLength(2);
  expect(await worker.stop()).toEqual({ code: 0, signal: null });
  expect(await server.stop()).toEqual({ code: 0, signal: null });
});

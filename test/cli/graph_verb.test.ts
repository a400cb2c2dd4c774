// The verb `orloj graph` in this process, against a scripted server and against files: what it finds, and what it says when it does not.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import type { CliHost } from "../../cli/context.ts";
import { runCli } from "../../cli/main.ts";
import { systemClock } from "../../kit/clock.ts";
import { ResourceSchema } from "../../proto/gen/orloj/v1/manifest_pb.ts";
import { refusal, runOf, type Script, startScriptedServer } from "../sdk/scripted_server.ts";
import { temporaryFolder } from "./run_orloj.ts";

const DESK = join(import.meta.dirname, "graphs/desk.yaml");

async function orloj(words: readonly string[], endpoint = "http://127.0.0.1:9") {
  let out = "";
  let err = "";
  const host: CliHost = {
    env: { ORLOJ_SERVER: endpoint },
    directory: import.meta.dirname,
    clock: systemClock(),
    out: (text) => {
      out += text;
    },
    written: async () => {},
    err: (text) => {
      err += text;
    },
    readInput: async () => "",
    terminal: () => undefined,
    onInterrupt: () => () => {},
  };
  const code = await runCli(words, host);
  return { code, out, err };
}

const manifest = (kind: string, name: string, spec: object) => ({ kind, metadata: { name }, spec });
const LINE = {
  nodes: [
    { name: "a", agent: "x" },
    { name: "b", tool: "y" },
  ],
  edges: [{ from: "a", to: ["b"] }],
};
// By kind/namespace/name.
const STORED: Readonly<Record<string, object>> = {
  "AgentSystem/support/line": manifest("AgentSystem", "line", LINE),
  "AgentSystem/support/twice": manifest("AgentSystem", "twice", LINE),
  "AgentSystem/sales/twice": manifest("AgentSystem", "twice", LINE),
  "WorkflowTemplate/support/daily": manifest("WorkflowTemplate", "daily", { system: "line" }),
  "AgentSystem/default/both": manifest("AgentSystem", "both", LINE),
  "WorkflowTemplate/default/both": manifest("WorkflowTemplate", "both", { system: "other" }),
  "WorkflowTemplate/default/same": manifest("WorkflowTemplate", "same", { system: "same" }),
  "AgentSystem/default/same": manifest("AgentSystem", "same", LINE),
  "WorkflowTemplate/default/lost": manifest("WorkflowTemplate", "lost", { system: "gone" }),
};
const SCRIPT: Script = {
  manifests: {
    getResource({ kind, namespace, name }) {
      const found = STORED[`${kind}/${namespace}/${name}`];
      if (found === undefined) throw refusal(Code.NotFound, "RESOURCE_NOT_FOUND", "not there");
      return { resource: create(ResourceSchema, { kind, namespace, name, manifestJson: JSON.stringify(found) }) };
    },
    listResources({ kind }) {
      const keys = Object.keys(STORED).map((key) => key.split("/") as [string, string, string]);
      const resources = keys.filter(([of]) => of === kind).map(([, namespace, name]) => ({ kind, namespace, name }));
      return { resources };
    },
  },
  workflows: {
    getRun({ runId }) {
      if (runId !== "run_01a")
        throw refusal(Code.NotFound, "RUN_NOT_FOUND", `run ${runId} does not exist`, { run: runId });
      return { run: runOf(runId) };
    },
    listRuns: () => ({ runs: ["run_01a", "run_01b", "run_01c", "run_01d", "run_02"].map((id) => runOf(id)) }),
  },
};

test("a stored system, a workflow's system, and a run are drawn, in any format", async () => {
  await using server = await startScriptedServer(SCRIPT);
  const graph = (...words: string[]) => orloj(["graph", ...words], server.endpoint);
  expect(await graph("line")).toMatchObject({
    code: 0,
    out: expect.stringContaining("support/line  2 nodes, 1 edges"),
  });
  expect((await graph("daily")).out).toContain("┌───────────┐");
  expect((await graph("workflow/daily", "-n", "support", "-o", "dot")).out).toContain('digraph "support/line" {');
  expect((await graph("same")).code).toBe(0);
  const run = await graph("run_01a");
  expect(run.out).toContain("support/refund-flow run_01a  ● RUNNING  2 nodes, 1 edges");
  expect(run.out).toContain("│ ● triage  active │");
  expect((await graph("run/run_01a", "-o", "mermaid")).out).toContain('n0("triage<br/>● active")');
  const { nodes } = JSON.parse((await graph("line", "-o", "json")).out);
  expect(nodes).toMatchObject([
    { name: "a", kind: "agent", target: "x" },
    { name: "b", kind: "tool" },
  ]);
});

test.each([
  [["linee"], 3, 'error[E-RESOURCE-NOT-FOUND] no system or workflow is called "linee" (did you mean "line"?)'],
  [["system/daily"], 3, 'no system is called "daily"'],
  [["line", "-n", "sales"], 3, "in namespace sales (there is one in namespace support)"],
  [["twice"], 2, '"twice" is in several namespaces: support, sales. Next: name one with -n'],
  [["both"], 2, '"both" is a system, and a workflow of the system "other". Next: orloj graph system/both'],
  [["lost"], 3, 'workflow default/lost refers to the system "gone", which does not exist'],
  [
    ["run_01"],
    3,
    "run run_01 does not exist (did you mean run_01a or run_01b or run_01c, or another of 4?). Next: orloj runs",
  ],
  [["run_09"], 3, "error[E-RUN-NOT-FOUND] run run_09 does not exist. Next: orloj runs"],
  [["agent/x"], 2, '"agent" has no graph. Next: use system/NAME'],
  [[], 2, "name what to draw"],
  [["line", "-o", "png"], 2, "Allowed choices are terminal, mermaid, dot, svg, json"],
  [["line", "--out", "/none/such/a.svg"], 2, "/none/such/a.svg cannot be written"],
] as const)("%j is refused: exit %i, %s", async (words, code, message) => {
  await using server = await startScriptedServer(SCRIPT);
  const ended = await orloj(["graph", ...words], server.endpoint);
  expect(ended).toEqual({ code, out: "", err: expect.stringContaining(message) });
});

test("who may look into one namespace only is told nothing of the others", async () => {
  const denied = () => {
    throw refusal(Code.PermissionDenied, "PERMISSION_DENIED", "not everywhere");
  };
  const manifests = { ...SCRIPT.manifests, listResources: denied };
  await using server = await startScriptedServer({ ...SCRIPT, manifests });
  const ended = await orloj(["graph", "line"], server.endpoint);
  expect(ended).toMatchObject({ code: 3, err: expect.stringMatching(/no system or workflow is called "line"\. Next/) });
  expect((await orloj(["graph", "line", "-n", "support"], server.endpoint)).code).toBe(0);
});

test("files need no server: the only system, one by name, or what is wrong with them", async () => {
  using folder = temporaryFolder();
  const file = (name: string) => join(folder.path, name);
  expect(await orloj(["graph", "-f", DESK])).toMatchObject({
    code: 2,
    err: expect.stringContaining("2 systems: escalation, support-desk. Next: orloj graph NAME -f PATH"),
  });
  expect((await orloj(["graph", "escalation", "-f", DESK])).out).toContain("support/escalation  1 nodes");
  expect(await orloj(["graph", "support-dsk", "-f", DESK])).toMatchObject({
    code: 3,
    err: expect.stringContaining('did you mean "support-desk"?'),
  });
  expect(await orloj(["graph", "run_1", "-f", DESK])).toMatchObject({
    code: 2,
    err: expect.stringContaining("a run is not in files"),
  });
  const broken = await orloj(["graph", "-f", join(import.meta.dirname, "graphs/broken.yaml")]);
  expect(broken).toMatchObject({
    code: 1,
    out: "",
    err: expect.stringMatching(/broken\.yaml:5:\d+: error\[E-REFERENCE\]/),
  });
  expect(broken.err).toContain("error[E-MANIFEST-INVALID] the manifests have 1 error");
  for (const [name, start] of [
    ["a.svg", "<svg "],
    ["a.gv", "digraph "],
    ["a.mmd", "%% "],
    ["a.json", "{"],
    ["a.txt", "support/support-desk  7 nodes"],
  ] as const) {
    const ended = await orloj(["graph", "refund-flow", "-f", DESK, "--out", file(name)]);
    expect(ended).toMatchObject({ code: 0, out: "", err: expect.stringContaining("is drawn in") });
    expect(readFileSync(file(name), "utf8").startsWith(start)).toBe(true);
  }
  await orloj(["graph", "refund-flow", "-f", DESK, "-o", "dot", "--out", file("b.svg")]);
  expect(readFileSync(file("b.svg"), "utf8")).toMatch(/^digraph /);
  expect((await orloj(["runs", "-o", "svg"])).err).toContain("Allowed choices are table, wide, name, json");
});

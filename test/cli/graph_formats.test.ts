// How graphs are written: each format held to a golden file and to its grammar, whatever names and conditions say.
// The goldens are in graphs/; desk.yaml is the system that most of them draw.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { drawText } from "../../cli/graph.ts";
import { dotOf } from "../../cli/graph_dot.ts";
import { mermaidOf } from "../../cli/graph_mermaid.ts";
import { type Graph, type GraphEdge, type GraphNode, graphOfRun, graphOfSystem } from "../../cli/graph_model.ts";
import { svgOf } from "../../cli/graph_svg.ts";
import { readOffline } from "../../cli/offline_validation.ts";
import { palette } from "../../cli/style.ts";
import { NodeState, RunSchema } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { documentOf } from "../../server/manifests/document.ts";

const FOLDER = join(import.meta.dirname, "graphs");
const plain = palette(false);
const wide = { columns: Infinity, rows: Infinity };
const text = (graph: Graph, room = wide) => drawText(graph, room, plain);

function desk(): Graph {
  const file = { name: "desk.yaml", content: readFileSync(join(FOLDER, "desk.yaml"), "utf8") };
  const { manifests } = readOffline([file], { defaultNamespace: "", strict: false });
  const found = manifests.find(({ metadata }) => metadata.name === "support-desk");
  return graphOfSystem("support/support-desk", documentOf(found!));
}

const { SUCCEEDED, ACTIVE, PENDING, SKIPPED, FAILED } = NodeState;
const edge = (from: string, to: string, more: object = {}) => ({ from, to, outcome: "succeeded", ...more });
const RUN: MessageInitShape<typeof RunSchema> = {
  ...{ id: "run_1", namespace: "support", workflow: "refund-flow" },
  nodes: [
    { name: "triage", state: SUCCEEDED, kind: "agent", target: "triage" },
    {
      ...{ name: "read", state: ACTIVE, kind: "agent", target: "reader" },
      map: { concurrency: 50, onItemError: "collect", itemsTotal: 10_000, itemsEnded: 7_421 },
    },
    { name: "orders", state: FAILED, kind: "tool", target: "order-db" },
    { name: "escalate/look", state: SKIPPED, kind: "agent", target: "look" },
    { name: "escalate/ask", state: SKIPPED, kind: "tool", target: "pager" },
    { name: "escalate", state: SKIPPED, kind: "system", target: "escalation" },
    { name: "draft", state: PENDING, iteration: 2, kind: "agent", target: "writer", quorum: 1 },
    { name: "done", state: PENDING, kind: "transform" },
  ],
  edges: [
    edge("triage", "read", { taken: true, otherwise: true }),
    edge("triage", "orders", { taken: true, otherwise: true }),
    edge("triage", "escalate", { when: 'output.route == "urgent"' }),
    edge("escalate/look", "escalate/ask"),
    edge("read", "draft"),
    edge("orders", "draft", { outcome: "timedOut" }),
    edge("escalate", "draft"),
    edge("draft", "draft", {
      when: "output.score < 8",
      loop: { max: 3, onExhausted: "continue", taken: 2 },
      taken: true,
    }),
    edge("draft", "done", { otherwise: true }),
  ],
};

const GRAPHS: readonly (readonly [string, () => Graph])[] = [
  ["desk", desk],
  ["run", () => graphOfRun(create(RunSchema, RUN), "RUNNING")],
];
test.each(GRAPHS)("%s is drawn as its goldens say", async (name, graphOf) => {
  const graph = graphOf();
  for (const [ending, lines] of [
    ["txt", text(graph)],
    ["mmd", mermaidOf(graph)],
    ["dot", dotOf(graph)],
    ["svg", svgOf(graph)],
  ] as const) {
    await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot(join(FOLDER, `${name}.${ending}`));
  }
});

test("a system in a run is joined to its nodes: what leads into it leads to the first of them, and the last ones to it", () => {
  const { edges } = graphOfRun(create(RunSchema, RUN), "RUNNING");
  expect(edges.map(({ from, to }) => `${from} ${to}`)).toEqual(
    expect.arrayContaining([
      "triage escalate/look",
      "escalate/look escalate/ask",
      "escalate/ask escalate",
      "escalate draft",
    ]),
  );
  expect(edges.map(({ from, to }) => `${from} ${to}`)).not.toContain("triage escalate");
});

const EVIL = [
  '"quoted" \\ back\\',
  '"] --> x; end',
  "`md` #quot; #35;",
  "style: a#b; classDef x:#y;",
  "<script>alert(1)</script>",
  "]]> & &amp; <!-- x -->",
  "line\nbreak\ttab\u0000\u001b[2J\u202e\ud800\uffff",
  "漢字 é 🙂",
];
const evilNode = (name: string, kind: GraphNode["kind"]): GraphNode => ({
  ...{ name, kind, target: name, quorum: 2, iteration: 1, state: "ACTIVE" },
  map: { concurrency: 2 },
});
const evilEdge = (from: string, to: string, more: Partial<GraphEdge> = {}): GraphEdge => ({
  ...{ from, to, when: from, otherwise: false, outcome: to },
  ...more,
});
const KINDS = ["agent", "tool", "system", "transform"] as const;
const HOSTILE: Graph = {
  title: EVIL.join(" %%{init: {}}%% "),
  state: "RUNNING",
  nodes: EVIL.map((name, index) => evilNode(name, KINDS[index % 4]!)),
  edges: EVIL.map((name, index) =>
    evilEdge(name, EVIL[(index + 1) % EVIL.length]!, index % 3 === 2 ? { loop: { max: 1, onExhausted: "fail" } } : {}),
  ),
};
const UNSAFE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e\ud800-\udfff]/u;

test("Mermaid: every line is one of its statements, and labels hold nothing that means something to it", () => {
  const label = String.raw`"(?:[\p{L}\p{M}\p{N} ._/=,+!?≤·✔✘○●‖⊘■–-]|#\d+;|<br/>)*"`;
  const shapes = [`\\(${label}\\)`, `\\[\\[${label}\\]\\]`, `\\{\\{${label}\\}\\}`, `\\(\\[${label}\\]\\)`].join("|");
  const line = new RegExp(
    [
      String.raw`^(?:%% [^{}%\n]*|flowchart TD|  n\d+(?:${shapes})`,
      String.raw`  n\d+ (?:-->|==>|-\.->)(?:\|${label}\|)? n\d+`,
      String.raw`  classDef [a-z]+ [a-z0-9:#,-]+|  class n\d+(?:,n\d+)* [a-z]+)$`,
    ].join("|"),
    "u",
  );
  for (const graph of [HOSTILE, desk()]) {
    const lines = mermaidOf(graph);
    expect(lines.filter((one) => !line.test(one))).toEqual([]);
    expect(lines.filter((one) => /(?:-->|==>|-\.->)/.test(one) && !one.startsWith("%%"))).toHaveLength(
      graph.edges.length,
    );
    expect(lines.join("\n")).not.toMatch(UNSAFE);
  }
});

test("DOT: every statement is made of quoted strings that end where they should", () => {
  const string = String.raw`"(?:[^"\\\n]|\\["\\n])*"`;
  const value = `(?:${string}|[a-zA-Z0-9]+)`;
  const list = String.raw`\[[a-z]+=${value}(?:, [a-z]+=${value})*\]`;
  const line = new RegExp(
    `^(?:digraph ${string} \\{|\\}|  rankdir=TB;|  (?:node|edge) ${list};|  ${string} ${list};|  ${string} -> ${string}(?: ${list})?;)$`,
    "u",
  );
  for (const graph of [HOSTILE, desk()]) {
    expect(dotOf(graph).filter((one) => !line.test(one))).toEqual([]);
    expect(dotOf(graph).join("\n")).not.toMatch(UNSAFE);
  }
});

test("SVG: well-formed, names nothing outside of itself, runs nothing, and is readable on dark ground too", () => {
  for (const graph of [HOSTILE, desk()]) {
    const svg = svgOf(graph).join("\n");
    expect(openElements(svg)).toEqual([]);
    expect(svg).not.toMatch(UNSAFE);
    expect(svg).not.toContain("\uffff");
    expect(svg.replace("http://www.w3.org/2000/svg", "")).not.toMatch(/http|href|<script|@import|url\((?!#head\))/);
    expect(svg).toContain("@media (prefers-color-scheme: dark)");
    expect(svg.match(/<g class=/g)).toHaveLength(graph.nodes.length);
  }
});

// Names of elements that are not closed; throws on markup that XML does not have.
function openElements(xml: string): string[] {
  const open: string[] = [];
  const token = /<(\/?)([a-z]+)((?: [a-zA-Z-]+(?::[a-z]+)?="[^"<&]*")*)(\/?)>|[^<&]+|&(?:amp|lt|gt|quot);/gy;
  while (token.lastIndex < xml.length) {
    const at = token.lastIndex;
    const match = token.exec(xml);
    if (match === null) throw new Error(`no XML: ${xml.slice(at, at + 60)}`);
    const [, closes, name, , empty] = match;
    if (name === undefined || empty === "/") continue;
    if (closes !== "/") open.push(name);
    else if (open.pop() !== name) throw new Error(`</${name}> closes another element`);
  }
  return open;
}

test("what does not fit leaves out the labels first, then becomes a list; every edge with a label is told", () => {
  const graph = desk();
  const narrow = text(graph, { columns: 100, rows: Infinity }).join("\n");
  expect(narrow).toContain("╭────────╮");
  const list = text(graph, { columns: 60, rows: Infinity });
  expect(list.join("\n")).not.toContain("╭");
  expect(list).toContain("  escalate  system escalation  ← billing");
  for (const lines of [list, text(graph)]) {
    expect(lines.at(-1) === "" ? "" : lines.join("\n")).toContain(
      "↺ draft → draft  when output.score < 8  at most 3 times, then it is not taken",
    );
  }
  expect(list).toContain('  triage → billing  when output.route == "billing"');
});

test("graphs that are too large to draw are listed, and every format still has all of them", () => {
  const nodes = Array.from({ length: 500 }, (_, index): GraphNode => {
    return { name: `n${index}`, kind: "agent", target: "", quorum: 0, iteration: 0 };
  });
  const edges = nodes.flatMap((_, from) =>
    [1, 2, 100, 200, 300, 400].flatMap((by): GraphEdge[] =>
      from + by < nodes.length
        ? [
            {
              from: `n${from}`,
              to: `n${from + by}`,
              when: by === 2 ? "true" : "",
              otherwise: false,
              outcome: "succeeded",
            },
          ]
        : [],
    ),
  );
  const graph = { title: "large", nodes, edges };
  const lines = text(graph);
  expect(lines.filter((line) => /^ {2}n\d+( |$)/.test(line) && !line.includes("→"))).toHaveLength(500);
  expect(svgOf(graph).filter((line) => line.startsWith("<text x"))).toHaveLength(500);
  expect(dotOf(graph).filter((line) => line.includes(" -> "))).toHaveLength(edges.length);
  const parallel = { ...graph, edges: [] };
  expect(text(parallel, { columns: 80, rows: Infinity })).toHaveLength(502);
});

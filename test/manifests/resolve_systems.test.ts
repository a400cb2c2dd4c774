// What a bundle is made of when a graph has tools and other systems as nodes: names in the bundle, places in the graph, and no circle.

import { expect, test } from "vitest";
import { parseFile } from "../../server/manifests/parse.ts";
import { resolveBundle } from "../../server/manifests/resolve.ts";
import { type Manifest, manifestKey } from "../../server/manifests/specs.ts";
import { validateFiles } from "../../server/manifests/validate.ts";

const head = (kind: string, name: string, namespace: string, spec: object) =>
  JSON.stringify({ apiVersion: "orloj.dev/v1", kind, metadata: { name, namespace }, spec });
const agent = (namespace: string) =>
  head("Agent", "clerk", namespace, {
    model: { provider: "scripted", script: [{ text: "hi" }] },
    systemPrompt: namespace,
  });
const tool = (namespace: string) =>
  head("Tool", "look", namespace, {
    ...{ type: "command", description: namespace, command: { argv: ["jq"] } },
    ...{ inputSchema: { type: "object" }, effect: "read" },
  });
const nodes = [
  { name: "a", agent: "clerk" },
  { name: "t", tool: "look", input: {} },
];
const output = { value: "${{ has(nodes.a.output) }}" };
const inside = head("AgentSystem", "inside", "system", { nodes, edges: [{ from: "a", to: "t" }], output });
const desk = (more: object[] = []) =>
  head("AgentSystem", "desk", "shop", {
    nodes: [...nodes, { name: "sub", system: "inside", input: {} }, ...more],
    output: { value: 1 },
  });
const flow = head("WorkflowTemplate", "flow", "shop", { system: "desk", parameters: { type: "object" } });

function lookupOf(documents: readonly string[]) {
  const file = parseFile({ file: "m.yaml", bytes: Buffer.from(documents.join("\n---\n")) });
  const { manifests } = validateFiles([file], () => undefined);
  const stored = new Map<string, Manifest>(
    manifests.map(({ manifest }) => {
      const { namespace, name } = manifest.metadata;
      return [manifestKey(manifest.kind, namespace, name), manifest];
    }),
  );
  return (kind: Manifest["kind"], namespace: string, name: string) => {
    const manifest = stored.get(manifestKey(kind, namespace, name));
    return manifest && { manifest, generation: 1, digest: `sha256:${namespace}/${name}` };
  };
}

const ALL = [agent("shop"), agent("system"), tool("shop"), tool("system"), inside, flow];

test("a contained system stands in its place, with a node before it and one behind it", () => {
  const { bundle } = resolveBundle("shop", "flow", lookupOf([...ALL, desk()]));
  expect(bundle.system.spec.nodes.map(({ name, agent: by, port }) => [name, port ?? by])).toEqual([
    ["a", "clerk"],
    ["t", "tool:look"],
    ["sub/(input)", "enter"],
    ["sub/a", "system/clerk"],
    ["sub/t", "tool:system/look"],
    ["sub", "leave"],
  ]);
  expect(bundle.system.spec.edges.map(({ from, to }) => `${from} > ${to}`)).toEqual([
    "sub/a > sub/t",
    "sub/(input) > sub/a",
    "sub/t > sub",
  ]);
  expect(bundle.systems).toEqual([
    { namespace: "system", name: "inside", generation: 1, digest: "sha256:system/inside" },
  ]);
});

test("agents and tools of one name in two namespaces are kept apart", () => {
  const { bundle } = resolveBundle("shop", "flow", lookupOf([...ALL, desk()]));
  expect(Object.keys(bundle.agents).sort()).toEqual(["clerk", "system/clerk", "tool:look", "tool:system/look"]);
  expect(bundle.agents["system/clerk"]?.spec.systemPrompt).toBe("system");
  expect(bundle.tools["system/look"]?.spec.description).toBe("system");
  expect(bundle.agents["tool:system/look"]?.spec.tools[0]?.ref).toBe("system/look");
  expect(bundle.agents["tool:look"]).toMatchObject({ namespace: "shop", name: "tool:look" });
});

test("a graph without systems has none in its bundle", () => {
  const plain = head("AgentSystem", "desk", "shop", { nodes: [{ name: "a", agent: "clerk" }], output: { value: 1 } });
  const { bundle } = resolveBundle("shop", "flow", lookupOf([...ALL, plain]));
  expect(bundle.systems).toBeUndefined();
});

test("a circle that two applies at the same time made is refused at Invoke", () => {
  const circle = head("AgentSystem", "inside", "shop", {
    nodes: [{ name: "back", system: "desk" }],
    output: { value: 1 },
  });
  const lookup = lookupOf([...ALL, desk(), circle]);
  expect(() => resolveBundle("shop", "flow", lookup)).toThrow(/contains itself/);
});

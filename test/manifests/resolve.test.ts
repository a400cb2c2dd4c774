// Holds bundles to being content-addressed and complete, worker views to saying nothing of endpoints, and deletion to seeing referrers.

import { describe, expect, it } from "vitest";
import { canonicalJson, jsonDigest, sha256 } from "../../kit/json.ts";
import { documentOf } from "../../server/manifests/document.ts";
import { parseFile } from "../../server/manifests/parse.ts";
import { referrersOf } from "../../server/manifests/references.ts";
import { resolveBundle, type StoredLookup, workerView } from "../../server/manifests/resolve.ts";
import type { Manifest } from "../../server/manifests/specs.ts";
import { validateFiles } from "../../server/manifests/validate.ts";

const YAML = `
apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: clerk, namespace: shop}
spec:
  model: {provider: scripted, script: [{text: hi}]}
  tools: [{ref: pay, as: refund}, look]
  requirements: {labels: {region: region-canary}}
---
apiVersion: orloj.dev/v1
kind: Tool
metadata: {name: pay, namespace: shop}
spec:
  type: http
  description: Refunds
  http: {method: POST, url: "https://host-canary.example/\${{ args.id }}", headers: {X-Canary: "\${{ secret.canary.token }}"}, body: {note: body-canary}}
  inputSchema: {type: object, properties: {id: {type: string}}, required: [id]}
  effect: write
---
apiVersion: orloj.dev/v1
kind: Tool
metadata: {name: look, namespace: system}
spec:
  type: command
  description: Looks
  command: {argv: [argv-canary], env: {A: env-canary}, stdin: stdin-canary, workDir: dir-canary}
  inputSchema: {type: object}
  effect: read
---
apiVersion: orloj.dev/v1
kind: AgentSystem
metadata: {name: desk, namespace: shop}
spec:
  nodes: [{name: a, agent: clerk}, {name: b, agent: helper}]
  edges: [{from: a, to: b}]
  output: {value: 1}
---
apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: helper, namespace: system}
spec: {model: {provider: openai, name: gpt, headers: {X-Canary: "\${{ secret.canary.key }}"}}, tools: [pay]}
---
apiVersion: orloj.dev/v1
kind: Tool
metadata: {name: pay, namespace: system}
spec: {type: command, description: Other, command: {argv: [other]}, inputSchema: {type: object}, effect: destructive}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: flow, namespace: shop}
spec: {system: desk}
---
apiVersion: orloj.dev/v1
kind: Policy
metadata: {name: guard, namespace: shop}
spec: {attachTo: [{kind: Tool, name: pay}], allow: {match: {requester.groups: [ops]}}}
`;

function manifests(): Manifest[] {
  const validation = validateFiles([parseFile({ file: "m.yaml", bytes: Buffer.from(YAML) })], () => undefined);
  expect(validation.diagnostics).toEqual([]);
  return validation.manifests.map(({ manifest }) => manifest);
}

function lookupOver(list: readonly Manifest[]): StoredLookup {
  return (kind, namespace, name) => {
    const manifest = list.find(
      (one) => one.kind === kind && one.metadata.namespace === namespace && one.metadata.name === name,
    );
    return manifest && { manifest, generation: 3, digest: jsonDigest(documentOf(manifest)) };
  };
}

describe("bundles", () => {
  it("hold every spec of a run, each found in its own namespace before system", () => {
    const { bundle, text, digest } = resolveBundle("shop", "flow", lookupOver(manifests()));
    expect(text).toBe(canonicalJson(JSON.parse(text)));
    expect(digest).toBe(sha256(text));
    expect(Object.keys(bundle.agents)).toEqual(["clerk", "helper"]);
    expect(bundle.agents["helper"]?.namespace).toBe("system");
    expect(bundle.tools["look"]).toMatchObject({ namespace: "system", generation: 3 });
    expect(bundle.tools["pay"]?.namespace).toBe("shop");
  });

  it("keep two tools of one name apart when agents of two namespaces mean them", () => {
    const { bundle } = resolveBundle("shop", "flow", lookupOver(manifests()));
    const [tool] = bundle.agents["helper"]!.spec.tools;
    expect(tool?.as).toBe("pay");
    expect(bundle.tools[tool!.ref]).toMatchObject({ namespace: "system", spec: { effect: "destructive" } });
  });

  it("have the same digest whatever the order of the catalog, and another when a spec changes", () => {
    const list = manifests();
    const { digest } = resolveBundle("shop", "flow", lookupOver(list));
    expect(resolveBundle("shop", "flow", lookupOver([...list].reverse())).digest).toBe(digest);
    const changed = list.map((one) =>
      one.metadata.name === "clerk" ? { ...one, spec: { ...one.spec, description: "new" } } : one,
    ) as Manifest[];
    expect(resolveBundle("shop", "flow", lookupOver(changed)).digest).not.toBe(digest);
  });

  it("name what is missing", () => {
    const list = manifests().filter((one) => one.metadata.name !== "look");
    expect(() => resolveBundle("shop", "flow", lookupOver(list))).toThrow('Agent shop/clerk refers to Tool "look"');
    expect(() => resolveBundle("shop", "other", lookupOver(list))).toThrow(
      expect.objectContaining({ reason: "WORKFLOW_NOT_FOUND" }),
    );
  });
});

describe("worker views", () => {
  it("show tools by alias, with what a model and a retry need", () => {
    const { document, text, digest } = workerView(resolveBundle("shop", "flow", lookupOver(manifests())).bundle);
    expect(digest).toBe(sha256(text));
    expect(document.agents["clerk"]?.tools.map(({ name, effect, onError }) => [name, effect, onError])).toEqual([
      ["refund", "write", "fail"],
      ["look", "read", "tell"],
    ]);
    expect(Object.keys(document.agents["clerk"]!.tools[0]!).sort()).toEqual([
      "description",
      "effect",
      "inputSchema",
      "name",
      "onError",
      "retry",
    ]);
  });

  it("hold no endpoint, header, body, argv, environment or secret of a tool, nor an agent's requirements", () => {
    const { bundle, text: bundleText } = resolveBundle("shop", "flow", lookupOver(manifests()));
    const { text } = workerView(bundle);
    expect(bundleText).toContain("canary");
    expect(text).not.toMatch(/canary|secret|https|argv|headers|errorHandling/);
  });
});

describe("referrers", () => {
  const names = (kind: Manifest["kind"], namespace: string, name: string) =>
    referrersOf({ kind, namespace, name }, manifests()).map((key) => `${key.kind}/${key.namespace}/${key.name}`);

  it("of a resource are everything that names it, policies included", () => {
    expect(names("AgentSystem", "shop", "desk")).toEqual(["WorkflowTemplate/shop/flow"]);
    expect(names("Tool", "shop", "pay")).toEqual(["Agent/shop/clerk", "Policy/shop/guard"]);
    expect(names("WorkflowTemplate", "shop", "flow")).toEqual([]);
  });

  it("of a resource of system are in other namespaces only where no own resource hides it", () => {
    expect(names("Tool", "system", "look")).toEqual(["Agent/shop/clerk"]);
    expect(names("Tool", "system", "pay")).toEqual(["Agent/system/helper"]);
  });
});

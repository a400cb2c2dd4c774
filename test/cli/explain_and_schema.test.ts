// `orloj explain` and `orloj schema`: from the shapes, with near misses, without a server; files that an editor takes.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { expect, test } from "vitest";
import { OWN_KEYWORDS } from "../../server/manifests/shapes/shape.ts";
import { KINDS } from "../../server/manifests/specs.ts";
import { runVerb, temporaryFolder } from "./run_orloj.ts";

const explain = (...words: string[]) => runVerb(["explain", ...words], { endpoint: "http://127.0.0.1:9" });

test("explain tells type, bounds, default and fields of a place; `spec` may be left out", async () => {
  const [short, long] = await Promise.all([explain("agent.limits"), explain("Agent.spec.limits")]);
  expect(short).toEqual(long);
  expect(short).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^Agent\.spec\.limits {2}map\n\n {2}What one execution may use\.\n/),
  });
  expect(short.out).toContain("  timeout         (duration, default 2m) Time of one attempt.\n");
  const word = await explain("tools.effect");
  expect(word.out).toBe(
    "Tool.spec.effect  text, required\n\n  What a call does to the world.\n  One of: read, write, destructive\n",
  );
  const bounds = await explain("workflow.timeout");
  expect(bounds.out).toContain("  From: 1s to 30d\n  Default: 15m\n");
});

test("explain goes into lists, maps with free keys, and alternatives; metadata and kind are explained too", async () => {
  for (const path of [
    "system.nodes.map.over",
    "system.nodes[0].join.quorum",
    "workflow.tags.from",
    "agent.tools.onDenied",
    "policy.metadata.labels",
    "policy.allow.all.match",
  ]) {
    expect([path, (await explain(path)).code]).toEqual([path, 0]);
  }
});

test("explain --recursive ends, also of conditions that hold conditions; JSON has the same", async () => {
  for (const kind of KINDS) {
    const { code, out } = await explain(kind, "--recursive");
    expect(code).toBe(0);
    expect(out.split("\n").length).toBeLessThan(400);
  }
  const { out } = await explain("agent.limits", "-o", "json");
  expect(JSON.parse(out)).toMatchObject({
    path: "Agent.spec.limits",
    type: "map",
    fields: expect.arrayContaining([expect.objectContaining({ name: "maxTurns", default: 8, values: "1 to 1,000" })]),
  });
});

test.each([
  ["agnt", '"agnt" is no kind. Next: did you mean "agent"?'],
  ["zebra", '"zebra" is no kind. Next: use agent, system, tool, policy or workflow'],
  ["agent.promt", 'Agent has no field "promt". Next: did you mean "prompt"?'],
  ["agent.limits.maxTurn", 'Agent.spec.limits has no field "maxTurn". Next: did you mean "maxTurns"?'],
  ["agent.limits.zzzzzzzz", "Next: its fields are maxTurns, maxToolCalls, timeout, maxOutputBytes"],
  ["tool.effect.more", "Tool.spec.effect has no fields: it is text"],
])("explain %s: a near miss, or what there is", async (path, says) => {
  const { code, out, err } = await explain(path);
  expect({ code, out, err }).toEqual({ code: 2, out: "", err: expect.stringContaining(says) });
});

test("schema prints one schema, or writes a file for each kind and one for all", async () => {
  using folder = temporaryFolder();
  const one = await runVerb(["schema", "tool"]);
  expect(JSON.parse(one.out)).toMatchObject({ $schema: expect.stringContaining("2020-12"), title: "Tool" });
  const written = await runVerb(["schema", "--out", "editor"], { directory: folder.path });
  expect(written).toMatchObject({
    code: 0,
    err: expect.stringContaining("# yaml-language-server: $schema=editor/orloj.schema.json"),
  });
  const names = readdirSync(join(folder.path, "editor")).sort();
  expect(names).toEqual(["orloj.schema.json", ...KINDS.map((kind) => `${kind.toLowerCase()}.schema.json`)].sort());
  for (const name of names) {
    const ajv = new Ajv2020({ strict: true, strictRequired: false, strictTypes: false });
    ajv.addVocabulary([...OWN_KEYWORDS]);
    const check = ajv.compile(JSON.parse(readFileSync(join(folder.path, "editor", name), "utf8")));
    expect([name, check({ kind: "Agent" })]).toEqual([name, false]);
  }
});

test("schema into a place that cannot be written says so", async () => {
  using folder = temporaryFolder();
  const { code, err } = await runVerb(["schema", "--out", "/dev/null/x"], { directory: folder.path });
  expect({ code, err }).toEqual({
    code: 2,
    err: expect.stringMatching(/^error\[E-USAGE\] \/dev\/null\/x cannot be written: .+ Next: /),
  });
});

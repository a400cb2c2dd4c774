// The chart without helm: what its values say and its schema allows, and that templates use every value and no other.

import { Ajv } from "ajv";
import { describe, expect, test } from "vitest";
import { documentsOf, filesBelow, type Manifest, read } from "./manifests.ts";

const CHART = "helm/orloj";
const values = documentsOf(read(`${CHART}/values.yaml`))[0] as Manifest;
const schema = JSON.parse(read(`${CHART}/values.schema.json`)) as Manifest;
const valid = new Ajv({ allErrors: true, strict: false }).compile(schema);
const templates = filesBelow(`${CHART}/templates`, "").filter((path) => /\.(yaml|tpl|txt)$/.test(path));
const actions = (path: string) =>
  [...read(path).matchAll(/\{\{-?\s*(.*?)\s*-?\}\}/gs)].map((match) => match[1] as string);

describe("values", () => {
  test("are what the schema allows", () => {
    expect(valid(values), JSON.stringify(valid.errors)).toBe(true);
  });

  test("the schema knows each of them and no other", () => {
    const names = (of: Manifest, path = ""): string[] =>
      Object.entries(of["properties"] ?? {}).flatMap(([name, inner]) => [
        `${path}${name}`,
        ...names(inner as Manifest, `${path}${name}.`),
      ]);
    const there = (path: string) =>
      path.split(".").reduce<unknown>((value, name) => (value as Manifest | undefined)?.[name], values);
    const free = /^(global|config\.secrets|toolSecrets\.|\w+\.env\.)/;
    expect(names(schema).filter((path) => !free.test(path) && there(path) === undefined)).toEqual([]);
  });

  test.each<[string, (values: Manifest) => void]>([
    ["a name that is not known", (all) => Object.assign(all["server"], { replica: 3 })],
    ["no server", (all) => Object.assign(all["server"], { replicas: 0 })],
    ["a number as text", (all) => Object.assign(all["worker"], { slots: "4" })],
    ["a mode that there is not", (all) => Object.assign(all["worker"]["autoscaling"], { mode: "vpa" })],
    [
      "a grace that is shorter than a stop",
      (all) => Object.assign(all["server"], { terminationGracePeriodSeconds: 5 }),
    ],
    ["a secret without its name", (all) => Object.assign(all, { toolSecrets: [{ name: "payments" }] })],
    ["nobody who may call", (all) => Object.assign(all["networkPolicy"], { apiFrom: [] })],
    [
      "a role that Postgres would fold or quote",
      (all) => Object.assign(all["database"], { serverRole: "Orloj-Server" }),
    ],
  ])("%s is refused", (_, change) => {
    const changed = structuredClone(values);
    change(changed);
    expect(valid(changed)).toBe(false);
  });
});

describe("templates", () => {
  test("use values that there are, and all of them", () => {
    const used = new Set(
      templates.flatMap((path) =>
        actions(path).flatMap((text) => [...text.matchAll(/\.Values\.([\w.]+)/g)].map((match) => match[1] as string)),
      ),
    );
    const leaves = (of: unknown, path: string): string[] =>
      typeof of === "object" && of !== null && !Array.isArray(of) && Object.keys(of).length > 0
        ? Object.entries(of).flatMap(([name, inner]) => leaves(inner, path === "" ? name : `${path}.${name}`))
        : [path];
    const all = leaves(values, "");
    const covers = (outer: string, inner: string) => inner === outer || inner.startsWith(`${outer}.`);
    expect([...used].filter((path) => !all.some((leaf) => covers(path, leaf)))).toEqual([]);
    expect(all.filter((leaf) => ![...used].some((path) => covers(path, leaf)))).toEqual([]);
    expect(used.size).toBeGreaterThan(40);
  });

  test("every block ends, and every name that is included is defined", () => {
    for (const path of templates) {
      const words = actions(path).map((text) => text.split(/\s/)[0]);
      const begun = words.filter((word) => ["if", "with", "range", "define"].includes(word ?? "")).length;
      expect(words.filter((word) => word === "end").length, path).toBe(begun);
    }
    const all = templates.flatMap(actions).join("\n");
    const named = (pattern: RegExp) => new Set([...all.matchAll(pattern)].map((match) => match[1]));
    expect(named(/include "([\w.]+)"/g)).toEqual(named(/define "([\w.]+)"/g));
  });

  test("the chart is of this release", () => {
    const [chart] = documentsOf(read(`${CHART}/Chart.yaml`));
    const { version } = JSON.parse(read("../package.json")) as { version: string };
    expect(chart).toMatchObject({ name: "orloj", version, appVersion: version });
  });
});

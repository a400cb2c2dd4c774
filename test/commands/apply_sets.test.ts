// Sets of manifests: who belongs to one, what --prune deletes and refuses, plans that change nothing, and expected generations.

import { afterAll, describe, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { apply } from "../../server/commands/apply.ts";
import type { ApplyInput } from "../../server/commands/control_plane.ts";
import { planApply } from "../../server/commands/plan_apply.ts";
import { readResource } from "../../server/commands/read_resources.ts";
import type { Principal } from "../../server/commands/views.ts";
import { ManifestPool } from "../../server/manifests/pool.ts";
import { createStore } from "../../server/storage/store.ts";
import { testDatabase } from "../harness/database.ts";
import { stageSecrets } from "./stage_secrets.ts";

const database = await testDatabase({ poolMax: 5 });
const store = createStore(database.db);
const pool = new ManifestPool(systemClock());
pool.start();
afterAll(() => pool.stop());
const { secrets } = stageSecrets();
const context = { store, pool, secrets };
const ana: Principal = { id: "ana", kind: "user", groups: [], claims: {}, method: "test", roles: ["admin"] };

const tool = (name: string, description = "Looks") => ({
  ...{ apiVersion: "orloj.dev/v1", kind: "Tool", metadata: { name } },
  spec: {
    ...{ type: "command", description, command: { argv: ["cat"] } },
    ...{ inputSchema: { type: "object" }, effect: "read" },
  },
});
const agent = (name: string, ...tools: string[]) => ({
  ...{ apiVersion: "orloj.dev/v1", kind: "Agent", metadata: { name } },
  spec: { model: { provider: "scripted", script: [{ text: "hello" }] }, tools },
});
const policy = (name: string) => ({
  ...{ apiVersion: "orloj.dev/v1", kind: "Policy", metadata: { name } },
  spec: { attachTo: [], allow: { match: { "requester.groups": ["ops"] } } },
});

function input(defaultNamespace: string, documents: readonly object[], more: Partial<ApplyInput> = {}): ApplyInput {
  const files = documents.map((document, index) => ({ name: `${index}.yaml`, content: JSON.stringify(document) }));
  return { files, defaultNamespace, strict: false, ...more };
}

async function applied(...args: Parameters<typeof input>): Promise<string[]> {
  const { results } = await apply(context, ana, input(...args));
  return results.map(({ action, name }) => `${action} ${name}`);
}

async function namesIn(namespace: string): Promise<string[]> {
  const { rows } = await database.pool.query("select name from resource where namespace = $1 order by name", [
    namespace,
  ]);
  return rows.map(({ name }) => name);
}

async function detailsOf(namespace: string): Promise<Record<string, unknown>[]> {
  const query = "select kind, record from audit_event where namespace = $1 order by id";
  const { rows } = await database.pool.query(query, [namespace]);
  return rows.map(({ kind, record }) => ({ event: kind, ...JSON.parse(record).detail }));
}

const prune = { set: "shop", prune: true };

describe("a set", () => {
  test("prunes what its files do not hold any more, in the apply's transaction, with a record each", async () => {
    expect(await applied("a", [tool("one"), tool("two"), agent("asks", "two")], prune)).toEqual([
      "created one",
      "created two",
      "created asks",
    ]);
    expect(await applied("a", [tool("one"), agent("asks")], prune)).toEqual([
      "unchanged one",
      "configured asks",
      "pruned two",
    ]);
    expect(await namesIn("a")).toEqual(["asks", "one"]);
    expect((await detailsOf("a")).at(-1)).toMatchObject({ event: "resource.deleted", name: "two", prunedFrom: "shop" });
    expect(await applied("a", [tool("one"), agent("asks")], prune)).toEqual(["unchanged one", "unchanged asks"]);
  });

  test("leaves alone what was applied without it, and what is in another set", async () => {
    await applied("b", [tool("free")]);
    await applied("b", [tool("other")], { set: "depot" });
    await applied("b", [tool("own"), tool("gone")], { set: "b-shop" });
    expect(await applied("b", [tool("own")], { set: "b-shop", prune: true })).toEqual(["unchanged own", "pruned gone"]);
    expect(await namesIn("b")).toEqual(["free", "other", "own"]);
  });

  test("records what was applied before, without another generation, and keeps it when it is applied without a set", async () => {
    await applied("c", [tool("early")]);
    expect(await applied("c", [tool("early")], { set: "c-shop" })).toEqual(["recorded early"]);
    expect(await readResource(context, "Tool", "c", "early")).toMatchObject({ generation: 1, set: "c-shop" });
    expect((await detailsOf("c")).at(-1)).toMatchObject({ action: "recorded", set: "c-shop", generation: 1 });
    expect(await applied("c", [tool("early", "changed")])).toEqual(["configured early"]);
    expect(await readResource(context, "Tool", "c", "early")).toMatchObject({ generation: 2, set: "c-shop" });
  });

  test("is refused manifests of another set, unless it adopts them", async () => {
    await applied("d", [tool("contested")], { set: "d-first" });
    const refused = { reason: "SET_CONFLICT", metadata: { set: "d-first" } };
    await expect(applied("d", [tool("contested")], { set: "d-second" })).rejects.toMatchObject(refused);
    await expect(applied("d", [tool("contested", "changed")], { set: "d-second" })).rejects.toMatchObject(refused);
    expect(await applied("d", [tool("contested")], { set: "d-second", adopt: true })).toEqual(["recorded contested"]);
    expect((await detailsOf("d")).at(-1)).toMatchObject({ set: "d-second", previousSet: "d-first" });
    expect(await applied("d", [tool("another")], { set: "d-first", prune: true })).toEqual(["created another"]);
  });
});

describe("pruning refuses, and then nothing is applied,", () => {
  test("while something that stays refers to what would go", async () => {
    await applied("e", [tool("used")], { set: "e-shop" });
    await applied("e", [agent("stays", "used")]);
    const wanted = applied("e", [tool("fresh")], { set: "e-shop", prune: true });
    await expect(wanted).rejects.toMatchObject({
      reason: "RESOURCE_IN_USE",
      message: expect.stringMatching(/^Tool e\/used is used by Agent\/e\/stays; it is not in the files any more/),
    });
    expect(await namesIn("e")).toEqual(["stays", "used"]);
  });

  test("files without a manifest", async () => {
    await applied("f", [tool("kept")], { set: "f-shop" });
    const empty = { files: [{ name: "a.yaml", content: "# nothing\n" }], defaultNamespace: "f", strict: false };
    const wanted = apply(context, ana, { ...empty, set: "f-shop", prune: true });
    await expect(wanted).rejects.toMatchObject({ reason: expect.stringMatching(/REQUEST_INVALID|MANIFEST_INVALID/) });
    expect(await namesIn("f")).toEqual(["kept"]);
  });

  test("who may not delete it", async () => {
    await applied("g", [policy("rule"), tool("kept")], { set: "g-shop" });
    const olaf: Principal = { ...ana, id: "olaf", roles: ["operator"] };
    const wanted = apply(context, olaf, input("g", [tool("kept")], { set: "g-shop", prune: true }));
    await expect(wanted).rejects.toMatchObject({ reason: "PERMISSION_DENIED", metadata: { right: "policies.delete" } });
    expect(await namesIn("g")).toEqual(["kept", "rule"]);
  });

  test("nothing of other namespaces to a caller whose role holds in one", async () => {
    await applied("h1", [tool("mine")], { set: "h-shop" });
    await applied("h2", [tool("theirs")], { set: "h-shop" });
    const within = new Set(["h1"]);
    expect(await applied("h1", [tool("new")], { set: "h-shop", prune: true, within })).toEqual([
      "created new",
      "pruned mine",
    ]);
    expect(await namesIn("h2")).toEqual(["theirs"]);
  });
});

describe("a plan", () => {
  test("says what apply would do, with both manifests and what would be refused, and changes nothing", async () => {
    await applied("i", [tool("same"), tool("old"), tool("used")], { set: "i-shop" });
    await applied("i", [agent("stays", "used")]);
    const before = await detailsOf("i");
    const wanted = input("i", [tool("same"), tool("old", "new words"), tool("fresh")], { set: "i-shop", prune: true });
    const plan = await planApply(context, ana, wanted);
    expect(plan.valid).toBe(true);
    expect(plan.changes.map(({ action, name, generation }) => `${action} ${name} ${generation}`)).toEqual([
      "unchanged same 1",
      "configured old 1",
      "created fresh 0",
      "pruned used 1",
    ]);
    const [, old, fresh, used] = plan.changes;
    expect(JSON.parse(old?.currentJson ?? "").spec.description).toBe("Looks");
    expect(JSON.parse(old?.plannedJson ?? "").spec.description).toBe("new words");
    expect(fresh).toMatchObject({ currentJson: "" });
    expect(fresh).not.toHaveProperty("refusal");
    expect(used).toMatchObject({ plannedJson: "", refusal: { reason: "RESOURCE_IN_USE" } });
    expect(await detailsOf("i")).toEqual(before);
    await expect(apply(context, ana, wanted)).rejects.toMatchObject({ reason: "RESOURCE_IN_USE" });
  });

  test("of invalid manifests is their findings", async () => {
    const plan = await planApply(context, ana, input("j", [{ ...tool("bad"), spec: {} }]));
    expect(plan).toMatchObject({ valid: false, changes: [] });
    expect(plan.diagnostics.map(({ code }) => code)).toContain("E-MISSING");
  });
});

test("an expected generation holds off what others changed meanwhile", async () => {
  await applied("k", [tool("edited")]);
  expect(await applied("k", [tool("edited", "mine")], { expectedGeneration: 1 })).toEqual(["configured edited"]);
  await expect(applied("k", [tool("edited", "late")], { expectedGeneration: 1 })).rejects.toMatchObject({
    reason: "VERSION_CHANGED",
    message: expect.stringContaining("is at generation 2 by now"),
  });
  await expect(applied("k", [tool("new")], { expectedGeneration: 3 })).rejects.toMatchObject({
    reason: "VERSION_CHANGED",
  });
  const two = applied("k", [tool("edited"), tool("new")], { expectedGeneration: 2 });
  await expect(two).rejects.toMatchObject({ reason: "REQUEST_INVALID" });
  expect(await applied("k", [tool("new")], { expectedGeneration: 0 })).toEqual(["created new"]);
});

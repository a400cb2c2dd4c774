// Applying, reading and deleting manifests against a real Postgres: one transaction, generations, revisions, records.

import { sql } from "kysely";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { sha256 } from "../../kit/json.ts";
import { apply } from "../../server/commands/apply.ts";
import { deleteResource } from "../../server/commands/delete_resource.ts";
import { ManifestInvalidError } from "../../server/commands/manifest_invalid_error.ts";
import { listResources, readResource } from "../../server/commands/read_resources.ts";
import { validateManifests } from "../../server/commands/validate.ts";
import type { Principal } from "../../server/commands/views.ts";
import { ManifestPool } from "../../server/manifests/pool.ts";
import { resourceQueries } from "../../server/storage/resources.ts";
import { createStore } from "../../server/storage/store.ts";
import { testDatabase } from "../harness/database.ts";
import { stageSecrets } from "./stage_secrets.ts";

const database = await testDatabase({ poolMax: 10 });
const store = createStore(database.db);
const pool = new ManifestPool(systemClock());
pool.start();
afterAll(() => pool.stop());
const { secrets } = stageSecrets();
const context = { store, pool, secrets };
const ana: Principal = { id: "ana", kind: "user", groups: [], claims: {}, method: "test", roles: ["admin"] };

function tool(namespace: string, name = "lookup", description = "Looks things up"): string {
  return `apiVersion: orloj.dev/v1
kind: Tool
metadata: {name: ${name}, namespace: ${namespace}, labels: {risk: low}}
spec:
  type: command
  description: ${description}
  command: {argv: [cat]}
  inputSchema: {type: object}
  effect: read
`;
}

function agent(namespace: string, name = "helper", toolName = "lookup"): string {
  return `apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  runtime: model
  model: {provider: scripted, name: demo, script: [{text: hello}]}
  systemPrompt: You help.
  tools: [${toolName}]
`;
}

function policy(namespace: string, toolName = "lookup"): string {
  return `apiVersion: orloj.dev/v1
kind: Policy
metadata: {name: p-${toolName}, namespace: ${namespace}}
spec:
  mode: enforce
  attachTo: [{kind: Tool, name: ${toolName}}]
  allow: {match: {requester.groups: [engineering]}}
`;
}

function input(...documents: string[]) {
  return { files: [{ name: "all.yaml", content: documents.join("---\n") }], defaultNamespace: "", strict: false };
}

async function state() {
  const { rows } = await sql<{ catalog: bigint; policy: bigint; records: bigint; resources: bigint }>`
    select (select value from revision where name = 'catalog') as catalog, (select value from revision where name = 'policy') as policy,
      (select count(*) from audit_event) as records, (select count(*) from resource) as resources`.execute(database.db);
  return rows[0] as { catalog: bigint; policy: bigint; records: bigint; resources: bigint };
}

function recordsOf(namespace: string) {
  return database.db
    .selectFrom("audit_event")
    .select(["kind", "actor", "record"])
    .where("namespace", "=", namespace)
    .orderBy("id")
    .execute();
}

test("apply creates, then leaves alone what is equal, then configures what changed, each with generation and record", async () => {
  const before = await state();
  const first = await apply(context, ana, input(agent("one"), tool("one"), policy("one")));
  expect(first.results.map(({ kind, name, action, generation }) => [kind, name, action, generation])).toEqual([
    ["Agent", "helper", "created", 1],
    ["Tool", "lookup", "created", 1],
    ["Policy", "p-lookup", "created", 1],
  ]);
  const created = await state();
  expect(created).toMatchObject({
    catalog: before.catalog + 1n,
    policy: before.policy + 1n,
    records: before.records + 3n,
  });

  const second = await apply(context, ana, input(tool("one"), agent("one")));
  expect(second.results.map((result) => result.action)).toEqual(["unchanged", "unchanged"]);
  expect(await state()).toEqual(created);

  const third = await apply(context, ana, input(tool("one", "lookup", "Looks other things up"), agent("one")));
  expect(third.results.map(({ action, generation }) => [action, generation])).toEqual([
    ["configured", 2],
    ["unchanged", 1],
  ]);
  expect((await state()).policy).toBe(created.policy + 1n);
  const records = await recordsOf("one");
  expect(records.map((record) => [record.kind, record.actor])).toEqual(Array(4).fill(["resource.applied", "ana"]));
  expect(JSON.parse(records[3]?.record ?? "").detail).toEqual({
    kind: "Tool",
    name: "lookup",
    action: "configured",
    generation: 2,
    digest: third.results[0]?.digest,
    previousGeneration: 1,
    previousDigest: first.results[1]?.digest,
  });
  const revisions = await database.db
    .selectFrom("resource_revision")
    .select(["generation", "digest", "applied_by"])
    .where("namespace", "=", "one")
    .where("kind", "=", "Tool")
    .orderBy("generation")
    .execute();
  expect(revisions.map((revision) => [revision.generation, revision.applied_by])).toEqual([
    [1, "ana"],
    [2, "ana"],
  ]);
});

test("what is read back is the canonical manifest whose digest is shown, and applying it again changes nothing", async () => {
  await apply(context, ana, input(agent("back"), tool("back")));
  const view = await readResource({ store }, "Tool", "back", "lookup");
  expect(view).toMatchObject({ kind: "Tool", namespace: "back", generation: 1, labels: { risk: "low" } });
  expect(sha256(view.manifestJson as string)).toBe(view.digest);
  expect(view.createTime.getTime()).toBeGreaterThan(Date.now() - 60_000);
  const again = await apply(context, ana, input(`${view.manifestJson}\n`));
  expect(again.results).toMatchObject([{ action: "unchanged", digest: view.digest }]);
  await expect(readResource({ store }, "Tool", "back", "none")).rejects.toMatchObject({ reason: "RESOURCE_NOT_FOUND" });
});

test("a finding in one document refuses all of them, with every position, and stores nothing", async () => {
  const before = await state();
  const bad = input(tool("bad"), agent("bad", "helper", "lokup"), agent("bad", "other", "none"));
  const error = await apply(context, ana, bad).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ManifestInvalidError);
  const { diagnostics, message } = error as ManifestInvalidError;
  expect(
    diagnostics.filter((one) => one.code === "E-REFERENCE").map((one) => [one.file, one.line > 0, one.hint]),
  ).toEqual([
    ["all.yaml", true, 'did you mean "lookup"?'],
    ["all.yaml", true, expect.any(String)],
  ]);
  expect(message).toContain("2 errors");
  expect(message).toContain("all.yaml:");
  expect(await state()).toEqual(before);
  expect(await validateManifests(context, bad)).toMatchObject({
    valid: false,
    diagnostics: [{ code: "E-REFERENCE" }, { code: "E-REFERENCE" }],
  });
  expect(await validateManifests(context, input(tool("bad")))).toMatchObject({ valid: true });
  expect(await state()).toEqual(before);
});

test("references are found in the stored catalog, in the own namespace and in system, and nowhere else", async () => {
  await apply(context, ana, input(tool("stored"), tool("system", "shared")));
  expect((await apply(context, ana, input(agent("stored")))).results).toMatchObject([{ action: "created" }]);
  expect((await apply(context, ana, input(agent("stored", "second", "shared")))).results).toMatchObject([
    { action: "created" },
  ]);
  await expect(apply(context, ana, input(agent("elsewhere")))).rejects.toMatchObject({ reason: "MANIFEST_INVALID" });
});

test("the default namespace of the call holds for documents that name none", async () => {
  const text = tool("x").replace(", namespace: x", "");
  expect((await apply(context, ana, { ...input(text), defaultNamespace: "given" })).results).toMatchObject([
    { namespace: "given" },
  ]);
  expect((await apply(context, ana, input(text))).results).toMatchObject([{ namespace: "default" }]);
});

test("a resource in use is not deleted unless forced, and counts on when it comes back", async () => {
  await apply(context, ana, input(tool("del"), agent("del"), policy("del")));
  const before = await state();
  await expect(deleteResource({ store }, ana, "Tool", "del", "lookup", false)).rejects.toMatchObject({
    reason: "RESOURCE_IN_USE",
    message: expect.stringContaining("Agent/del/helper, Policy/del/p-lookup"),
    metadata: { referrers: "2" },
  });
  expect(await state()).toEqual(before);
  await deleteResource({ store }, ana, "Tool", "del", "lookup", true);
  expect(await state()).toMatchObject({
    catalog: before.catalog + 1n,
    policy: before.policy + 1n,
    records: before.records + 1n,
    resources: before.resources - 1n,
  });
  const record = (await recordsOf("del")).at(-1);
  expect(record).toMatchObject({ kind: "resource.deleted", actor: "ana" });
  expect(JSON.parse(record?.record ?? "").detail).toMatchObject({
    kind: "Tool",
    name: "lookup",
    forced: true,
    referrers: ["Agent/del/helper", "Policy/del/p-lookup"],
  });
  await expect(deleteResource({ store }, ana, "Tool", "del", "lookup", true)).rejects.toMatchObject({
    reason: "RESOURCE_NOT_FOUND",
  });
  expect((await apply(context, ana, input(tool("del")))).results).toMatchObject([{ action: "created", generation: 2 }]);
  await deleteResource({ store }, ana, "Agent", "del", "helper", false);
});

test("a shared tool of system is in use from other namespaces", async () => {
  await apply(context, ana, input(tool("system", "common")));
  await apply(context, ana, input(agent("user", "helper", "common")));
  await expect(deleteResource({ store }, ana, "Tool", "system", "common", false)).rejects.toMatchObject({
    reason: "RESOURCE_IN_USE",
    message: expect.stringContaining("Agent/user/helper"),
  });
});

test("concurrent applies and deletions go one after the other: no reference is left hanging", async () => {
  await apply(context, ana, input(tool("race")));
  const outcomes = await Promise.allSettled([
    apply(context, ana, input(agent("race"))),
    deleteResource({ store }, ana, "Tool", "race", "lookup", false),
    ...Array.from({ length: 4 }, (_, index) => apply(context, ana, input(tool("race", `other-${index}`)))),
  ]);
  const rows = await database.db
    .selectFrom("resource")
    .select(["kind", "name"])
    .where("namespace", "=", "race")
    .execute();
  const has = (kind: string, name: string) => rows.some((row) => row.kind === kind && row.name === name);
  if (has("Agent", "helper")) expect(has("Tool", "lookup")).toBe(true);
  expect(outcomes.slice(2).map((outcome) => outcome.status)).toEqual(Array(4).fill("fulfilled"));
  expect(outcomes.slice(0, 2).filter((outcome) => outcome.status === "rejected")).toHaveLength(1);
});

test("an apply that was validated against an older catalog is validated again", async () => {
  await apply(context, ana, input(tool("again")));
  let asked = 0;
  const meddling = {
    secrets,
    store,
    pool: {
      // The tool disappears after the validation has seen it.
      validate: async (...parameters: Parameters<ManifestPool["validate"]>) => {
        asked += 1;
        const result = await pool.validate(...parameters);
        if (asked === 1) await deleteResource({ store }, ana, "Tool", "again", "lookup", false);
        return result;
      },
    } as ManifestPool,
  };
  await expect(apply(meddling, ana, input(agent("again")))).rejects.toMatchObject({ reason: "MANIFEST_INVALID" });
  expect(asked).toBe(2);
});

test("resources are listed in order, by kind and namespace, page by page, with manifests only when asked", async () => {
  await apply(context, ana, input(tool("list"), tool("list", "b"), agent("list"), policy("list", "b")));
  const names = async (filter: Parameters<typeof listResources>[1], pageSize: number) => {
    const found: string[][] = [];
    let pageToken: string | undefined = "";
    while (pageToken !== undefined) {
      const page: Awaited<ReturnType<typeof listResources>> = await listResources({ store }, filter, {
        pageSize,
        pageToken,
      });
      found.push(page.items.map((item) => `${item.kind}/${item.name}`));
      pageToken = page.nextPageToken;
    }
    return found;
  };
  expect(await names({ namespace: "list", full: false }, 3)).toEqual([
    ["Agent/helper", "Policy/p-b", "Tool/b"],
    ["Tool/lookup"],
  ]);
  expect(await names({ namespace: "list", kind: "Tool", full: false }, 10)).toEqual([["Tool/b", "Tool/lookup"]]);
  const [lean] = (await listResources({ store }, { namespace: "list", full: false }, { pageSize: 1, pageToken: "" }))
    .items;
  expect(lean).not.toHaveProperty("manifestJson");
  const [full] = (await listResources({ store }, { namespace: "list", full: true }, { pageSize: 1, pageToken: "" }))
    .items;
  expect(JSON.parse(full?.manifestJson ?? "")).toMatchObject({ kind: "Agent", metadata: { name: "helper" } });
});

test("a failing audit insert takes the change with it", async () => {
  const before = await state();
  const failing = {
    secrets,
    pool,
    store: {
      ...store,
      transaction: ((fn) =>
        store.transaction((tx) =>
          fn({ ...tx, audit: { insert: () => Promise.reject(new Error("no record")) } }),
        )) as typeof store.transaction,
    },
  };
  await expect(apply(failing, ana, input(tool("unrecorded")))).rejects.toThrow();
  await apply(context, ana, input(tool("recorded")));
  await expect(deleteResource(failing, ana, "Tool", "recorded", "lookup", false)).rejects.toThrow();
  expect(await state()).toMatchObject({
    catalog: before.catalog + 1n,
    records: before.records + 1n,
    resources: before.resources + 1n,
  });
});

test("catalog queries lock only the revision row", async () => {
  await store.transaction(async (tx) => {
    await resourceQueries(tx.db).lockCatalog();
    expect(await readResource({ store }, "Tool", "recorded", "lookup")).toMatchObject({ generation: 1 });
  });
});

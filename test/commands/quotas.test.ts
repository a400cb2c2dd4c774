// Quotas of namespaces: invocations a second by a manual clock, resources against a real Postgres.

import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { apply } from "../../server/commands/apply.ts";
import { type QuotaSettings, Quotas } from "../../server/commands/quotas.ts";
import { listResources } from "../../server/commands/read_resources.ts";
import type { Principal } from "../../server/commands/views.ts";
import { ManifestPool } from "../../server/manifests/pool.ts";
import { createStore } from "../../server/storage/store.ts";
import { testDatabase } from "../harness/database.ts";
import { manualClock } from "../rpc/manual_clock.ts";
import { stageSecrets } from "./stage_secrets.ts";

const ana: Principal = { id: "ana", kind: "user", groups: [], claims: {}, method: "test", roles: ["admin"] };
const store = createStore((await testDatabase()).db);
const pool = new ManifestPool(systemClock());
pool.start();
afterAll(() => pool.stop());

test("a namespace that invokes too often is told when to try again, and no other one is concerned", () => {
  const clock = manualClock();
  const settings: QuotaSettings = { team: { invocationsPerSecond: 2 }, "*": { invocationsPerSecond: 1 }, free: {} };
  const quotas = new Quotas(settings, clock);
  const invoked = (namespace: string, times: number) =>
    Array.from({ length: times }, () => {
      try {
        quotas.invoked(namespace);
        return true;
      } catch {
        return false;
      }
    }).filter(Boolean).length;
  expect([invoked("team", 20), invoked("other", 20), invoked("another", 20), invoked("free", 50)]).toEqual([
    10, 5, 5, 50,
  ]);
  expect(() => quotas.invoked("team")).toThrow(
    expect.objectContaining({ reason: "TOO_MANY", metadata: { namespace: "team", retry_after_ms: "500" } }),
  );
  clock.advance(1_000);
  expect([invoked("team", 20), invoked("other", 20)]).toEqual([2, 1]);
});

test("without a quota nothing is counted, and the name of a member of every object is a namespace like others", () => {
  const quotas = new Quotas({}, manualClock());
  for (let times = 0; times < 1_000; times += 1) quotas.invoked("constructor");
  expect(quotas.resourcesMax("constructor")).toBeUndefined();
});

test("an apply that would exceed the resources of a namespace changes nothing and says how many there are", async () => {
  const quotas = new Quotas({ small: { resources: 3 } }, manualClock());
  const context = { store, pool, secrets: stageSecrets().secrets, quotas };
  const tools = (namespace: string, from: number, to: number, description = "Does nothing") =>
    Array.from(
      { length: to - from },
      (_, index) =>
        `apiVersion: orloj.dev/v1\nkind: Tool\nmetadata: {name: t${from + index}, namespace: ${namespace}}\nspec: {type: command, description: ${description}, command: {argv: [cat]}, inputSchema: {type: object}, effect: read}\n`,
    ).join("---\n");
  const applied = (content: string) =>
    apply(context, ana, { files: [{ name: "t.yaml", content }], defaultNamespace: "", strict: false });
  const count = async () =>
    (await listResources(context as never, { namespace: "small", full: false }, { pageSize: 50, pageToken: "" })).items
      .length;
  await applied(tools("small", 0, 2));
  await expect(applied(`${tools("small", 2, 4)}---\n${tools("large", 0, 1)}`)).rejects.toMatchObject({
    reason: "TOO_MANY",
    message: expect.stringMatching(/namespace small has 2 of at most 3 resources, and this apply would add 2/),
    metadata: { namespace: "small", resources: "2", resources_max: "3" },
  });
  expect(await count()).toBe(2);
  // What is there may be changed, and what still fits is added.
  await applied(tools("small", 0, 3, "Does something else"));
  await applied(tools("large", 0, 6));
  expect(await count()).toBe(3);
});

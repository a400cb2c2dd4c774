// Rights that depend on what is asked: policies, namespaces of files, and invoking for a person. On a real Postgres.

import { describe, expect, test } from "vitest";
import { apply } from "../../server/commands/apply.ts";
import type { InvokeInput } from "../../server/commands/control_plane.ts";
import { deleteResource } from "../../server/commands/delete_resource.ts";
import { requesterOf } from "../../server/commands/requester.ts";
import { validateManifests } from "../../server/commands/validate.ts";
import type { Grant, PersonBounds, Principal } from "../../server/commands/views.ts";
import { ana, commandStage } from "./command_stage.ts";

const stage = await commandStage();
const { context } = stage;

/** An operator with further grants. */
function operator(...grants: Grant[]): Principal {
  return { ...ana, id: "olaf", roles: ["operator"], grants };
}

function policy(mode: "enforce" | "observe", group: string, namespace = "default") {
  return {
    ...{ apiVersion: "orloj.dev/v1", kind: "Policy", metadata: { name: "rule", namespace } },
    spec: { mode, attachTo: [], allow: { match: { "requester.groups": [group] } } },
  };
}

async function applied(principal: Principal, manifest: object, within?: ReadonlySet<string>) {
  const files = [{ name: "a.yaml", content: JSON.stringify(manifest) }];
  const input = { files, defaultNamespace: "", strict: false, ...(within && { within }) };
  const { results } = await apply({ ...context, pool: stage.pool }, principal, input);
  return results.map(({ action }) => action).join();
}

const remove = (principal: Principal, namespace = "default") =>
  deleteResource(context, principal, "Policy", namespace, "rule", false);
const denied = (right: string) => ({ reason: "PERMISSION_DENIED", metadata: { right } });

const commandTool = (name: string) => ({
  ...{ apiVersion: "orloj.dev/v1", kind: "Tool", metadata: { name } },
  spec: {
    ...{ type: "command", description: "x", command: { argv: ["cat"] } },
    ...{ inputSchema: { type: "object" }, effect: "read" },
  },
});

test("writing, switching and deleting policies are rights of their own, and admin has them all", async () => {
  const plain = operator();
  const [write, mode, gone] = (["policies.write", "policies.mode", "policies.delete"] as const).map((right) =>
    operator({ right }),
  ) as [Principal, Principal, Principal];
  await expect(applied(plain, policy("enforce", "a"))).rejects.toMatchObject(denied("policies.write"));
  await expect(applied(mode, policy("enforce", "a"))).rejects.toMatchObject(denied("policies.write"));
  expect(await applied(write, policy("enforce", "a"))).toBe("created");
  expect(await applied(plain, policy("enforce", "a"))).toBe("unchanged");
  expect(await applied(write, policy("enforce", "b"))).toBe("configured");
  await expect(applied(write, policy("observe", "b"))).rejects.toMatchObject(denied("policies.mode"));
  expect(await applied(mode, policy("observe", "b"))).toBe("configured");
  await expect(applied(mode, policy("enforce", "c"))).rejects.toMatchObject(denied("policies.write"));
  await expect(applied(write, policy("enforce", "c"))).rejects.toMatchObject(denied("policies.mode"));
  for (const principal of [plain, write, mode]) {
    await expect(remove(principal)).rejects.toMatchObject(denied("policies.delete"));
    // Whether it exists is not told either.
    await expect(remove(principal, "nowhere")).rejects.toMatchObject(denied("policies.delete"));
  }
  await remove(gone);
  expect(await applied(ana, policy("observe", "a"))).toBe("created");
  await remove(ana);
});

test("who may change policies and has no role changes nothing else", async () => {
  const author: Principal = { ...ana, roles: [], grants: [{ right: "policies.write" }, { right: "policies.delete" }] };
  expect(await applied(author, policy("enforce", "a"))).toBe("created");
  const tool = commandTool("strange");
  await expect(applied(author, tool)).rejects.toMatchObject(denied("operator"));
  const gone = deleteResource(context, author, "Agent", "default", "solo", true);
  await expect(gone).rejects.toMatchObject(denied("operator"));
  await remove(author);
});

test("a right of a namespace ends there", async () => {
  const here = operator({ right: "policies.write", namespace: "default" });
  await expect(applied(here, policy("enforce", "a", "other"))).rejects.toMatchObject(denied("policies.write"));
  expect(await applied(here, policy("enforce", "a"))).toBe("created");
  const chief: Principal = { ...ana, roles: [], grants: [{ right: "admin", namespace: "default" }] };
  await expect(remove(chief, "other")).rejects.toMatchObject(denied("policies.delete"));
  await remove(chief);
});

test("a refused apply changes nothing, whatever else was in it", async () => {
  const tool = commandTool("along");
  const content = `${JSON.stringify(tool)}\n---\n${JSON.stringify(policy("enforce", "a"))}`;
  const input = { files: [{ name: "a.yaml", content }], defaultNamespace: "", strict: false };
  await expect(apply({ ...context, pool: stage.pool }, operator(), input)).rejects.toMatchObject(
    denied("policies.write"),
  );
  const { rows } = await stage.database.pool.query("select from resource where name = 'along'");
  expect(rows).toEqual([]);
});

test("files may hold nothing outside of the caller's namespaces, and findings tell nothing of what is there", async () => {
  const mine = new Set(["mine"]);
  await expect(applied(operator(), policy("enforce", "a"), mine)).rejects.toMatchObject({
    ...{ reason: "PERMISSION_DENIED", metadata: { namespace: "default" } },
    message: expect.stringContaining("a.yaml:1:"),
  });
  // "caller" and "solo" exist in `default`.
  const flow = {
    ...{ apiVersion: "orloj.dev/v1", kind: "AgentSystem", metadata: { name: "s", namespace: "mine" } },
    spec: { nodes: [{ name: "a", agent: "sol" }], output: { value: "x" } },
  };
  const files = [{ name: "a.yaml", content: JSON.stringify(flow) }];
  const input = { files, defaultNamespace: "", strict: false };
  const open = await validateManifests({ ...context, pool: stage.pool }, input);
  const closed = await validateManifests({ ...context, pool: stage.pool }, { ...input, within: mine });
  expect(JSON.stringify(open.diagnostics)).toContain("solo");
  expect(JSON.stringify(closed.diagnostics)).not.toContain("solo");
});

describe("invoking for a person", () => {
  const INPUT: InvokeInput = {
    ...{ namespace: "default", workflow: "tagged", parametersJson: "{}", tags: {}, metadata: {}, idempotencyKey: "" },
  };
  const portal = (persons?: PersonBounds): Principal => ({
    ...{
      id: "portal",
      kind: "service",
      groups: ["services"],
      claims: { team: "own" },
      method: "token",
      roles: ["invoker"],
    },
    grants: [{ right: "invoke-as", namespace: "default", ...(persons && { persons }) }],
  });
  const eve = (more: object = {}) => ({ ...INPUT, onBehalfOf: { id: "eve", groups: [], claims: {}, ...more } });

  test("what may be said of the person is what the right says, and no more", () => {
    const bounded = portal({ ids: ["eve", "ed"], groups: ["customers"], claims: ["team"] });
    expect(requesterOf(portal(), eve())).toEqual({
      ...{ id: "eve", kind: "user", groups: [], claims: {}, method: "invoke-as", invokedBy: "portal", roles: [] },
    });
    expect(requesterOf(bounded, eve({ groups: ["customers"], claims: { team: "x" } }))).toMatchObject({
      claims: { team: "x" },
    });
    const wrong: [Principal, InvokeInput][] = [
      [{ ...portal(), grants: [] }, eve()],
      [portal(), { ...eve(), namespace: "other" }],
      [portal(), eve({ groups: ["admins"] })],
      [portal(), eve({ claims: { team: "x" } })],
      [bounded, eve({ id: "root" })],
      [bounded, eve({ groups: ["customers", "admins"] })],
      [bounded, eve({ claims: { team: "x", role: "y" } })],
      [portal(), eve({ id: "server" })],
      [portal(), eve({ id: "worker:w1" })],
      [ana, eve({ id: "anonymous" })],
    ];
    for (const [caller, input] of wrong) {
      expect(() => requesterOf(caller, input), JSON.stringify(input)).toThrow(/may not invoke/);
    }
    expect(requesterOf(ana, eve({ groups: ["anything"], claims: { any: "x" } }))).toMatchObject({ invokedBy: "ana" });
    expect(requesterOf(portal(), INPUT)).toEqual(portal());
  });

  test("the run is the person's: requester, tags, policies; the service stands beside it in the run and in the trail", async () => {
    const said = eve({ claims: { team: "blue" } });
    const requester = requesterOf(portal({ ids: ["*"], groups: [], claims: ["team"] }), said);
    const { run } = await stage.invokeOne("tagged", { onBehalfOf: said.onBehalfOf }, requester);
    expect(run.requester).toMatchObject({ id: "eve", method: "invoke-as", invokedBy: "portal" });
    expect((await stage.run(run.id)).tags).toMatchObject({ team: "blue" });
    const { rows } = await stage.database.pool.query(
      "select actor, on_behalf_of, record from audit_event where run_id = $1",
      [run.id],
    );
    expect(rows).toMatchObject([{ actor: "portal", on_behalf_of: "eve" }]);
    expect(JSON.parse(rows[0].record).detail.requester).toMatchObject({ id: "eve", invokedBy: "portal" });
    const refused = requesterOf(portal(), { ...eve(), workflow: "closed" });
    await expect(stage.invokeOne("closed", {}, refused)).rejects.toMatchObject({ reason: "POLICY_DENIED" });
    const denials = await stage.database.pool.query("select actor, record from audit_event where kind = 'run.refused'");
    expect(denials.rows.at(-1)).toMatchObject({ actor: "portal" });
    expect(JSON.parse(denials.rows.at(-1).record).detail.requester).toMatchObject({ id: "eve", invokedBy: "portal" });
  });

  test("a key of the person is not one of the service that speaks for it, nor the other way round", async () => {
    const own = { ...ana, id: "eve", groups: [], claims: { team: "blue" } };
    const first = await stage.invokeOne("tagged", { idempotencyKey: "k" }, own);
    const said = eve({ claims: { team: "blue" } });
    const requester = requesterOf(portal({ ids: ["*"], groups: [], claims: ["team"] }), said);
    await expect(
      stage.invokeOne("tagged", { idempotencyKey: "k", onBehalfOf: said.onBehalfOf }, requester),
    ).rejects.toMatchObject({ reason: "IDEMPOTENCY_CONFLICT", metadata: { run: first.run.id } });
  });
});

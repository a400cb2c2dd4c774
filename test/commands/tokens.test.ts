// Bearer tokens on a real Postgres: made, taken by every replica, revoked at once, expired, misused; and nowhere to be read.

import { sql } from "kysely";
import { expect, test } from "vitest";
import { systemRandom } from "../../kit/random.ts";
import { createToken, listTokens, type NewToken, revokeToken } from "../../server/commands/manage_tokens.ts";
import { Tokens } from "../../server/commands/tokens.ts";
import { ana, commandStage } from "./command_stage.ts";

const stage = await commandStage();
const { context } = stage;
// Two replicas: nothing is shared but the database.
const here = new Tokens(context, systemRandom());
const there = new Tokens(stage.replica(), systemRandom());

const CI: NewToken = {
  ...{ name: "ci", kind: "service", groups: ["engineering"], claims: { customer_id: "123" }, roles: ["invoker"] },
  ...{ rights: ["invoke-as"], namespaces: [] },
};
const make = async (more: Partial<NewToken> = {}) => await createToken(context, here, ana, { ...CI, ...more });

test("every replica takes a token, with what it stands for", async () => {
  const { token, view } = await make();
  expect(view).toMatchObject({
    name: "ci",
    kind: "service",
    roles: ["invoker"],
    rights: ["invoke-as"],
    namespaces: [],
  });
  expect(view).toMatchObject({ createdBy: "ana", method: "token" });
  for (const replica of [here, there]) {
    expect(await replica.authenticate(token, false)).toEqual({
      ...{ id: "ci", kind: "service", groups: ["engineering"], claims: { customer_id: "123" }, method: "token" },
      ...{ roles: ["invoker"], grants: [{ right: "invoke-as" }] },
    });
  }
});

test("roles and rights of a namespace hold there alone", async () => {
  const { token, view } = await make({ roles: ["operator"], rights: ["policies.write"], namespaces: ["prod", "test"] });
  expect(view).toMatchObject({ roles: ["operator"], rights: ["policies.write"], namespaces: ["prod", "test"] });
  expect(await here.authenticate(token, false)).toMatchObject({
    roles: [],
    grants: [
      { right: "operator", namespace: "prod" },
      { right: "policies.write", namespace: "prod" },
      { right: "operator", namespace: "test" },
      { right: "policies.write", namespace: "test" },
    ],
  });
});

test("a revoked token is refused by every replica from the next call on, and stays revoked", async () => {
  const { token, view } = await make();
  expect(await there.authenticate(token, false)).toBeDefined();
  const revoked = await revokeToken(context, ana, view.id);
  expect(revoked.revokeTime).toBeInstanceOf(Date);
  expect(await there.authenticate(token, false)).toBeUndefined();
  expect(await here.authenticate(token, false)).toBeUndefined();
  expect(await revokeToken(context, ana, view.id)).toEqual(revoked);
  await expect(revokeToken(context, ana, "tok_none")).rejects.toMatchObject({ reason: "TOKEN_NOT_FOUND" });
});

test("an expired token is refused, by the clock of the database", async () => {
  const { token, view } = await make({ ttlMs: 60_000 });
  expect(await here.authenticate(token, false)).toBeDefined();
  await context.store.read(({ db }) =>
    sql`update access_token set expire_time = clock_timestamp() where id = ${view.id}`.execute(db),
  );
  expect(await here.authenticate(token, false)).toBeUndefined();
  const valid = await listTokens(context, false, { pageSize: 100, pageToken: "" });
  expect(valid.items.map(({ id }) => id)).not.toContain(view.id);
  const all = await listTokens(context, true, { pageSize: 100, pageToken: "" });
  expect(all.items.map(({ id }) => id)).toContain(view.id);
});

test("tokens of a server for its own machine are taken on loopback alone", async () => {
  const token = await here.ensure(undefined, { ...ana, id: "dev", method: "development-token" });
  expect(await there.authenticate(token, true)).toMatchObject({ id: "dev" });
  expect(await there.authenticate(token, false)).toBeUndefined();
});

test("what is not a token is refused without a look at the database", async () => {
  const { token } = await make();
  const asked = () => Promise.reject(new Error("asked"));
  const away = new Tokens({ ...context, store: { ...context.store, read: asked, atOnce: asked } }, systemRandom());
  const garbage = [
    "",
    "x",
    "orloj_",
    `${token}x`,
    token.slice(0, -1),
    `${token.slice(0, -1)}'`,
    token.toUpperCase(),
    "orloj_\0".padEnd(38, "x"),
  ];
  for (const each of garbage) expect(await away.authenticate(each, true), each).toBeUndefined();
  await expect(away.authenticate(token, true)).rejects.toThrow("asked");
});

test("a token that differs in one character is another", async () => {
  const { token } = await make();
  for (const at of [6, 20, token.length - 2]) {
    const other = `${token.slice(0, at)}${token[at] === "A" ? "B" : "A"}${token.slice(at + 1)}`;
    expect(await here.authenticate(other, false), String(at)).toBeUndefined();
  }
});

test("many calls at once are looked up in few statements", async () => {
  const { token } = await make();
  let asked = 0;
  const read: typeof context.store.read = (fn) => {
    asked += 1;
    return context.store.read(fn);
  };
  const counted = new Tokens({ ...context, store: { ...context.store, read } }, systemRandom());
  const found = await Promise.all(Array.from({ length: 300 }, () => counted.authenticate(token, false)));
  expect(found.every((principal) => principal?.id === "ci")).toBe(true);
  expect(asked).toBeLessThan(10);
});

test("neither database nor trail holds a token; each change is recorded with who made it", async () => {
  const { token, view } = await make();
  await revokeToken(context, ana, view.id);
  const rows = await context.store.read(({ db }) =>
    sql<{ text: string }>`select t::text as text from access_token t union all select record from audit_event`.execute(
      db,
    ),
  );
  const secret = token.slice("orloj_".length);
  expect(rows.rows.filter(({ text }) => text.includes(secret))).toEqual([]);
  const records = rows.rows.map(({ text }) => text).filter((text) => text.includes(view.id) && text.startsWith("{"));
  expect(records.map((record) => JSON.parse(record))).toMatchObject([
    { kind: "token.created", actor: "ana", detail: { principal: "ci", roles: ["invoker"], grants: ["invoke-as"] } },
    { kind: "token.revoked", actor: "ana", detail: { principal: "ci" } },
  ]);
});

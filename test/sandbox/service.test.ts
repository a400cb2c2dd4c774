// The sandbox as its callers see it: who is let in, keys that are repeated, an answer that is lost, webhooks that are believed
// and webhooks that are not, deployments and their way back, and input that is wrong.

import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { SECOND } from "../../kit/units.ts";
import { type Sandbox, secretsOf, startSandbox } from "../../sandbox/service.ts";
import { atEndOfFile } from "../harness/cleanup.ts";

const TOKEN = "t";
const KEY = Buffer.alloc(32, 7);
const BELIEVED = { token: TOKEN, signingSecret: `whsec_${KEY.toString("base64")}` };
const clock = systemClock();

async function started(): Promise<Sandbox> {
  const sandbox = await startSandbox({ port: 0, ...BELIEVED }, clock);
  atEndOfFile(() => sandbox.close());
  return sandbox;
}

async function ask(
  sandbox: Sandbox,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
) {
  const response = await fetch(sandbox.url + path, {
    method,
    headers: { authorization: `Bearer ${TOKEN}`, ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: what it holds is what the test expects of it
  return { status: response.status, body: (await response.json()) as any, headers: response.headers };
}

test("strangers, other methods, unknown paths, and bodies that are none are refused", async () => {
  const sandbox = await started();
  expect(await ask(sandbox, "GET", "/services/checkout", undefined, { authorization: "Bearer x" })).toMatchObject({
    status: 401,
  });
  expect((await ask(sandbox, "DELETE", "/tickets")).status).toBe(405);
  for (const path of ["/", "/nothing", "/services/nobody", "/tickets/1", "/pages/https%3A%2F%2Felsewhere"]) {
    expect((await ask(sandbox, "GET", path)).status, path).toBe(404);
  }
  for (const body of ["[]", "no JSON", "null", `"${"x".repeat(70_000)}"`]) {
    expect((await ask(sandbox, "POST", "/tickets", body)).status, body.slice(0, 9)).toBe(400);
  }
  expect(Object.values(sandbox.effects()).every((count) => count === 0)).toBe(true);
});

test("a restart, a deployment and a rollback change what health says; the first look at the changes comes too early", async () => {
  const sandbox = await started();
  expect(await ask(sandbox, "GET", "/services/checkout/changes")).toMatchObject({ status: 503 });
  expect((await ask(sandbox, "GET", "/services/checkout/changes")).body.changes).toHaveLength(2);
  expect((await ask(sandbox, "GET", "/services/checkout")).body).toMatchObject({ state: "failing", version: "v7" });
  await ask(sandbox, "POST", "/services/checkout/restart", { reason: "r" });
  expect((await ask(sandbox, "GET", "/services/checkout")).body).toMatchObject({ state: "healthy", version: "v7" });
  expect((await ask(sandbox, "POST", "/deployments", { service: "checkout", version: "v8" })).status).toBe(201);
  expect((await ask(sandbox, "POST", "/deployments", { service: "nobody", version: "v8" })).status).toBe(404);
  expect((await ask(sandbox, "GET", "/deployments")).body.deployments[0]).toMatchObject({ version: "v8" });
  const versions: string[] = [];
  for (let back = 0; back < 2; back += 1) {
    versions.push((await ask(sandbox, "POST", "/services/checkout/rollback", {})).body.version);
  }
  expect(versions).toEqual(["v7", "v6"]);
  expect((await ask(sandbox, "POST", "/services/checkout/rollback", {})).status).toBe(409);
  expect(sandbox.effects()).toMatchObject({ restarts: 1, deployments: 1, rollbacks: 2, tickets: 0 });
  expect((await ask(sandbox, "GET", "/effects")).body).toEqual(sandbox.effects());
});

test("a refund is paid once: its first answer is lost, its key gets it again, and without a key there is no second one", async () => {
  const sandbox = await started();
  const refund = (order: string, amountCents: unknown, key?: string) =>
    ask(sandbox, "POST", `/refunds/${order}`, { amountCents }, key === undefined ? {} : { "idempotency-key": key });
  await expect(refund("A-1001", 4_900, "k1")).rejects.toThrow();
  expect(sandbox.effects()).toMatchObject({ refunds: 1, repeated: 0 });
  expect(await refund("A-1001", 4_900, "k1")).toMatchObject({ status: 201, body: { refundId: "refund-1" } });
  expect((await refund("A-1001", 4_900, "k2")).status).toBe(409);
  expect((await refund("A-9", 1)).status).toBe(404);
  expect((await refund("A-1003", 1)).status).toBe(422);
  expect((await refund("A-1002", 25_901)).status).toBe(422);
  expect((await refund("A-1002", "all")).status).toBe(422);
  expect(sandbox.effects()).toMatchObject({ refunds: 1, repeated: 1 });
});

test("pages are found by words and read by address", async () => {
  const sandbox = await started();
  const { pages } = (await ask(sandbox, "GET", "/pages?words=my%20export%20is%20late")).body;
  expect(pages).toEqual([{ url: "https://help.example.com/exports", title: "Exporting your data" }]);
  expect((await ask(sandbox, "GET", "/pages?words=zzzz")).body.pages).toEqual([]);
  expect((await ask(sandbox, "GET", `/pages/${encodeURIComponent(pages[0].url)}`)).body).toMatchObject(pages[0]);
});

test("a webhook is believed for its signature alone, and an id counts once", async () => {
  const sandbox = await started();
  const body = JSON.stringify({ type: "incident.restarted", data: {} });
  const now = Math.floor(clock.now() / SECOND);
  const deliver = (id: string, timestamp: number, key: Buffer, text = body) =>
    ask(sandbox, "POST", "/notices", text, {
      authorization: "none",
      "webhook-id": id,
      "webhook-timestamp": String(timestamp),
      "webhook-signature": `v1a,x v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`,
    });
  expect((await deliver("m1", now, KEY)).status).toBe(202);
  expect((await deliver("m1", now, KEY)).status).toBe(202);
  const refused = [
    deliver("m2", now, Buffer.alloc(32, 8)),
    deliver("m3", now, KEY, `${body} `),
    deliver("m4", now - 3_600, KEY),
    deliver("m5", Number.NaN, KEY),
    deliver("", now, KEY),
    ask(sandbox, "POST", "/notices", body),
  ];
  expect((await Promise.all(refused)).map(({ status }) => status)).toEqual(refused.map(() => 401));
  expect(sandbox.effects()).toMatchObject({ notices: 1, repeated: 1, forged: refused.length });
  expect((await ask(sandbox, "GET", "/notices")).body.notices).toEqual([{ id: "m1", event: JSON.parse(body) }]);
});

test("the secrets are those that the examples name", () => {
  const names = Object.keys(secretsOf("http://127.0.0.1:1", BELIEVED));
  expect(names).toEqual(expect.arrayContaining(["ORLOJ_SECRET_PAY_URL", "ORLOJ_SECRET_OPERATIONS_SIGNING"]));
});

// Webhook deliveries: what a receiver that follows Standard Webhooks finds, and what never leaves the server.

import { createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Json } from "../../kit/json.ts";
import { renderMeans, type WebhookMeansValue } from "../../server/grant/render.ts";
import { webhookSignatures } from "../../server/grant/render_webhook.ts";
import type { ToolSpec } from "../../server/manifests/specs.ts";
import { webhookTool } from "./render_fixtures.ts";

const KEY = Buffer.alloc(32, 7);
const SECRETS: Record<string, string> = {
  "crm/url": "https://crm.example/",
  "crm/signing": `whsec_${KEY.toString("base64")}`,
};
const CALL = { requestId: "auto:task_1/2/0", nowMs: 1_700_000_000_999 };

function rendered(tool: ToolSpec, args: Json = { id: "o 1" }, secrets = SECRETS, call = CALL) {
  return renderMeans(tool, args, (name, key) => secrets[`${name}/${key}`], call);
}

function webhook(...of: Parameters<typeof rendered>): WebhookMeansValue {
  const result = rendered(...of);
  if (!result.ok || result.means.kind !== "webhook") throw new Error(JSON.stringify(result));
  return result.means;
}

const text = (means: WebhookMeansValue) => new TextDecoder().decode(means.body);

// As a receiver checks it, written from the specification.
function verifies(means: WebhookMeansValue, key: Buffer): boolean {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures = "" } = means.headers;
  const expected = createHmac("sha256", key)
    .update(`${id}.${timestamp}.${text(means)}`)
    .digest("base64");
  return signatures.split(" ").includes(`v1,${expected}`);
}

test("a signature is that of the specification's example", () => {
  const signed = { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: "1614265330", body: '{"test": 2432232314}' };
  expect(webhookSignatures("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", signed)).toEqual([
    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  ]);
});

test("the secrets that travel with a grant are those of the means: one that only signs is not among them", () => {
  const result = rendered(webhookTool());
  expect(result.ok && result.secrets).toEqual(["https://crm.example/"]);
});

describe("a delivery", () => {
  test("is signed over its id, its time, and its body, and names the call twice", () => {
    const means = webhook(webhookTool());
    expect(means.url).toBe("https://crm.example/hooks/o%201");
    expect(text(means)).toBe('{"data":{"id":"o 1"},"type":"refund.created"}');
    expect(means.headers).toEqual({
      "content-type": "application/json",
      "Idempotency-Key": "auto:task_1/2/0",
      "webhook-id": "auto:task_1/2/0",
      "webhook-timestamp": "1700000000",
      "webhook-signature": expect.stringMatching(/^v1,[A-Za-z0-9+/]{43}=$/),
    });
    expect(verifies(means, KEY)).toBe(true);
    expect(verifies(means, Buffer.alloc(32, 8))).toBe(false);
  });

  test("repeated later has the same id and the same body, and another time and signature", () => {
    const [first, second] = [
      webhook(webhookTool()),
      webhook(webhookTool(), { id: "o 1" }, SECRETS, { ...CALL, nowMs: 1_800_000_000_000 }),
    ];
    expect(text(second)).toBe(text(first));
    expect(second.headers["webhook-id"]).toBe(first.headers["webhook-id"]);
    expect(second.headers["webhook-signature"]).not.toBe(first.headers["webhook-signature"]);
    expect(verifies(second, KEY)).toBe(true);
  });

  test("has an id without full stop, which would make two texts out of one signature", () => {
    const means = webhook(webhookTool(), { id: "1" }, SECRETS, { ...CALL, requestId: "key:support/tell/a.b" });
    expect(means.headers["webhook-id"]).toMatch(/^[0-9a-z:]+$/);
    expect(means.headers["Idempotency-Key"]).toBe("key:support/tell/a.b");
    expect(verifies(means, KEY)).toBe(true);
  });

  test("carries the data that the tool declares", () => {
    const means = webhook(webhookTool({ data: { order: "${{ args.id }}", amount: 1 } }));
    expect(JSON.parse(text(means))).toEqual({ type: "refund.created", data: { order: "o 1", amount: 1 } });
  });

  test("tells the event that the argument names, and no other", () => {
    const tool = webhookTool({ events: ["refund.created", "refund.failed"] });
    expect(JSON.parse(text(webhook(tool, { id: "1", event: "refund.failed" })))).toMatchObject({
      type: "refund.failed",
    });
    for (const event of ["refund.deleted", 7, ""]) {
      expect(rendered(tool, { id: "1", event })).toMatchObject({ ok: false, class: "InvalidArguments" });
    }
  });

  test("is signed with each of several keys, so that a receiver's key is rotated without a gap", () => {
    const next = Buffer.alloc(24, 9);
    const signing = `${SECRETS["crm/signing"]}\nwhsec_${next.toString("base64")}\n`;
    const means = webhook(webhookTool(), { id: "1" }, { ...SECRETS, "crm/signing": signing });
    expect(verifies(means, KEY) && verifies(means, next)).toBe(true);
  });

  test("holds no key", () => {
    const means = JSON.stringify(webhook(webhookTool()));
    for (const form of ["base64", "hex"] as const) expect(means).not.toContain(KEY.toString(form));
  });
});

test.each([
  ["without prefix", KEY.toString("base64")],
  ["of the asymmetric kind", `whsk_${KEY.toString("base64")}`],
  ["too short", `whsec_${Buffer.alloc(23).toString("base64")}`],
  ["too long", `whsec_${Buffer.alloc(65).toString("base64")}`],
  ["no base64", `whsec_${"*".repeat(44)}`],
  ["empty", " "],
  ["one of two wrong", `${SECRETS["crm/signing"]} canary`],
])("a signing secret %s is the tool's fault, and is not quoted", (_, signing) => {
  const result = rendered(webhookTool(), { id: "1" }, { ...SECRETS, "crm/signing": signing });
  expect(result).toMatchObject({
    ok: false,
    class: "ToolInvalid",
    message: expect.stringContaining("whsec_ and the base64"),
  });
  expect(JSON.stringify(result)).not.toContain("canary");
});

test("an address that is built by arguments is encoded like that of an http tool", () => {
  expect(rendered(webhookTool(), { id: ".." })).toMatchObject({
    ok: false,
    class: "InvalidArguments",
    message: expect.stringContaining("webhook.url"),
  });
});

// The webhook tool: what counts as delivered, which class everything else has, and that a signature goes to one receiver.

import type { RequestListener } from "node:http";
import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { Redactor } from "../../kit/redactor.ts";
import { createAddressGuard } from "../../worker/tool/addresses.ts";
import { createWebhookExecutor } from "../../worker/tool/webhook.ts";
import { startLoopbackServer } from "../harness/loopback_server.ts";

const clock = systemClock();
const HEADERS = { "content-type": "application/json", "webhook-id": "auto:t/1/0", "webhook-signature": "v1,abc" };

async function receiver(listener: RequestListener) {
  const seen: { method: string | undefined; headers: Record<string, unknown>; body: string }[] = [];
  const base = await startLoopbackServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    seen.push({ method: request.method, headers: request.headers, body });
    listener(request, response);
  });
  return { seen, url: `${base}/hook` };
}

function deliver(url: string, options: { networks?: string[]; timeoutMs?: number; signal?: AbortSignal } = {}) {
  const guard = createAddressGuard(options.networks ?? ["127.0.0.0/8"]);
  return createWebhookExecutor({ guard, clock }).run({
    means: { kind: "webhook", url, headers: HEADERS, body: Buffer.from('{"type":"a.b"}'), allowPrivateNetwork: true },
    timeoutMs: options.timeoutMs ?? 10_000,
    resultBytesMax: 1_000,
    redactor: new Redactor(),
    signal: options.signal ?? new AbortController().signal,
  });
}

test.each([200, 201, 202, 204])("%i is delivered", async (status) => {
  const target = await receiver((_, response) => response.writeHead(status).end(status === 204 ? undefined : "thanks"));
  expect(await deliver(target.url)).toEqual({ ok: true, result: { delivered: true, status } });
  expect(target.seen).toMatchObject([{ method: "POST", headers: HEADERS, body: '{"type":"a.b"}' }]);
});

test.each<[number, Record<string, string>, string, boolean]>([
  [400, {}, "Http4xx", false],
  [410, {}, "Http4xx", false],
  [429, { "retry-after": "2" }, "RateLimited", false],
  [500, {}, "Http5xx", true],
  [503, { "retry-after": "2" }, "Http503", false],
  [503, {}, "Http5xx", true],
  [304, {}, "ResponseInvalid", true],
])("%i %o is %s", async (status, headers, failureClass, ambiguous) => {
  const target = await receiver((_, response) => response.writeHead(status, headers).end());
  expect(await deliver(target.url)).toMatchObject({ ok: false, failure: { class: failureClass, ambiguous } });
});

test("a redirect is no delivery, and the signature goes nowhere else", async () => {
  const other = await receiver((_, response) => response.end());
  const target = await receiver((_, response) => response.writeHead(307, { location: other.url }).end());
  expect(await deliver(target.url)).toMatchObject({
    ok: false,
    failure: { class: "ResponseInvalid", ambiguous: true },
  });
  expect(other.seen).toEqual([]);
});

test("an address outside the worker's networks gets no connection", async () => {
  const target = await receiver((_, response) => response.end());
  expect(await deliver(target.url, { networks: [] })).toMatchObject({
    ok: false,
    failure: { class: "AddressForbidden", ambiguous: false },
  });
  expect(target.seen).toEqual([]);
});

test("a receiver that does not answer is a Timeout, and a stopped call is Cancelled; both may have been delivered", async () => {
  const controller = new AbortController();
  const target = await receiver(() => {});
  expect(await deliver(target.url, { timeoutMs: 1_000 })).toMatchObject({
    failure: { class: "Timeout", ambiguous: true },
  });
  const stopping = await receiver(() => controller.abort());
  expect(await deliver(stopping.url, { signal: controller.signal })).toMatchObject({
    failure: { class: "Cancelled", ambiguous: true },
  });
});

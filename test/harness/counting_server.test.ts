// The counting server itself: what e2e tests conclude from it must be true.

import { expect, test } from "vitest";
import { startCountingServer } from "./counting_server.ts";

test("it counts by path and key, and holds requests until enough are in flight", async () => {
  const sink = await startCountingServer();
  sink.hold("/both", 2);
  sink.respond("/fail", (_call, number) => (number === 1 ? { status: 503, headers: { "retry-after": "0" } } : {}));
  const send = (path: string, key: string) =>
    fetch(sink.url + path, { method: "POST", headers: { "idempotency-key": key }, body: "{}" });
  const first = send("/both", "a");
  await sink.waitForCount("/both", 1);
  expect(sink.inFlightMax("/both")).toBe(1);
  const answers = await Promise.all([first, send("/both", "b")]);
  expect(answers.map((answer) => answer.status)).toEqual([200, 200]);
  expect(sink.inFlightMax("/both")).toBe(2);
  expect([(await send("/fail", "k")).status, (await send("/fail", "k")).status]).toEqual([503, 200]);
  expect(sink.countsByKey("/fail")).toEqual(new Map([["k", 2]]));
  expect(sink.count()).toBe(4);
});

test("it notices a client that gives up", async () => {
  const sink = await startCountingServer();
  sink.hold("/slow");
  const stop = new AbortController();
  const given = fetch(`${sink.url}/slow`, { signal: stop.signal });
  await sink.waitForCount("/slow", 1);
  stop.abort();
  await expect(given).rejects.toThrow();
  expect((await sink.waitForAbort("/slow")).aborted).toBe(true);
});

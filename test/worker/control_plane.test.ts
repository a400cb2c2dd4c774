// The control plane's own endpoints: refused to tools at every address of the machine that they are on, in every spelling.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { Redactor } from "../../kit/redactor.ts";
import { databaseEndpoints, listenerEndpoints } from "../../server/own_endpoints.ts";
import { createAddressGuard } from "../../worker/tool/addresses.ts";
import { ControlPlaneEndpoints } from "../../worker/tool/control_plane.ts";
import { createHttpExecutor } from "../../worker/tool/http.ts";

const names: Record<string, string[]> = {
  localhost: ["127.0.0.1", "::1"],
  "cp.example": ["192.0.2.7"],
  "db.example": ["192.0.2.8"],
};
const resolve = async (host: string) => names[host] ?? Promise.reject(new Error("no such name"));

test("endpoints on this machine are refused at each of its addresses, those elsewhere at theirs", async () => {
  const here = new ControlPlaneEndpoints(resolve);
  await here.learn([":7601", "db.example:5432"], "localhost");
  const own = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address));
  for (const address of ["127.0.0.1", "127.8.9.1", "::1", "0.0.0.0", ...own]) {
    expect(here.includes(address, 7601)).toBe(true);
    expect(here.includes(address, 5432)).toBe(false);
  }
  expect(here.includes("192.0.2.8", 5432)).toBe(true);
  expect(here.includes("192.0.2.8", 7601)).toBe(false);
  const elsewhere = new ControlPlaneEndpoints(resolve);
  await elsewhere.learn([":7601", "nobody.example:1", "nonsense"], "cp.example");
  expect(elsewhere.includes("192.0.2.7", 7601)).toBe(true);
  expect(elsewhere.includes("127.0.0.1", 7601)).toBe(false);
});

test("no spelling of such an address gets a connection, though the operator listed every network", async () => {
  let connections = 0;
  const server = createServer((_, response) => response.end("secret"));
  server.on("connection", () => {
    connections += 1;
  });
  await new Promise<void>((ready) => server.listen(0, ready));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const reserved = new ControlPlaneEndpoints(resolve);
  await reserved.learn([`:${port}`], "127.0.0.1");
  const guard = createAddressGuard(["0.0.0.0/0", "::/0"], reserved);
  const executor = createHttpExecutor({ guard, clock: systemClock() });
  const spellings = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0177.1",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "127.255.0.9",
  ];
  for (const host of spellings) {
    const run = await executor.run({
      means: { kind: "http", method: "GET", url: `http://${host}:${port}/`, headers: {}, allowPrivateNetwork: true },
      ...{ timeoutMs: 5_000, resultBytesMax: 1_000, signal: new AbortController().signal, redactor: new Redactor() },
    });
    expect(run).toMatchObject({ ok: false, failure: { class: "AddressForbidden", ambiguous: false } });
  }
  expect(connections).toBe(0);
});

test.each([
  ["postgres://u:p@db.example/orloj", ["db.example:5432"]],
  ["postgres://u:p@127.0.0.1:6000/orloj", [":6000"]],
  ["postgres://localhost/orloj", [":5432"]],
  ["postgres://u@localhost:5432/postgres?host=/tmp/sock", []],
  ["postgres://u@%2Ftmp%2Fsock/postgres", []],
  ["not a url", []],
])("of the database %s workers are told %j, without user and password", (url, told) => {
  expect(databaseEndpoints(url)).toEqual(told);
});

test("of the listeners they are told the ports", () => {
  expect(listenerEndpoints({ api: 1, worker: 2, ops: 3 })).toEqual([":1", ":2", ":3"]);
});

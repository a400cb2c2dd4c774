// How a peer that has just flooded gets back in: the rule alone, and real listeners with TLS and without, by a manual clock.

import { once } from "node:events";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, expect, test } from "vitest";
import { FloodGate } from "../../server/rpc/flood_gate.ts";
import { rpcLimits } from "../../server/rpc/limits.ts";
import * as h2 from "../floods/frames.ts";
import { createCa } from "../harness/certificates.ts";
import { manualClock } from "./manual_clock.ts";
import { type Rig, readAll, startRig } from "./rig.ts";

const LIMITS = rpcLimits({
  flooderConnectionBurst: 2,
  flooderConnectionRate: 10,
  flooderMs: 5_000,
  flooderWaitMs: 250,
});

function gated() {
  const clock = manualClock();
  const gate = new FloodGate(clock, LIMITS);
  const waits = (address: string, times: number) => Array.from({ length: times }, () => gate.waitMs(address));
  return { clock, gate, waits };
}

test("who floods waits for its turn, what would wait too long is closed, and nobody else waits", () => {
  const { clock, gate, waits } = gated();
  expect(waits("192.0.2.1", 20)).toEqual(Array.from({ length: 20 }, () => 0));
  gate.flooded("192.0.2.1");
  expect(waits("192.0.2.1", 6)).toEqual([0, 0, 100, 200, undefined, undefined]);
  expect(waits("192.0.2.2", 20)).toEqual(Array.from({ length: 20 }, () => 0));
  clock.advance(100);
  expect(waits("192.0.2.1", 2)).toEqual([200, undefined]);
});

test("a further flood gives nothing back, and makes the time longer", () => {
  const { clock, gate, waits } = gated();
  gate.flooded("192.0.2.1");
  waits("192.0.2.1", 4);
  clock.advance(200);
  gate.flooded("192.0.2.1");
  expect(waits("192.0.2.1", 1)).toEqual([100]);
  clock.advance(4_999);
  gate.waitMs("192.0.2.1");
  gate.waitMs("192.0.2.1");
  expect(waits("192.0.2.1", 1)).toEqual([100]);
  clock.advance(1);
  expect(waits("192.0.2.1", 9)).toEqual(Array.from({ length: 9 }, () => 0));
});

test("all addresses of one host are one peer, and old flooders make room", () => {
  const { gate, waits } = gated();
  gate.flooded("2001:db8::1");
  expect(waits("2001:db8::2", 3)).toEqual([0, 0, 100]);
  for (let index = 0; index < 10_000; index += 1) gate.flooded(`10.0.${index >> 8}.${index & 255}`);
  expect(waits("2001:db8::2", 3)).toEqual([0, 0, 0]);
  expect(waits("10.0.0.0", 3)).toEqual([0, 0, 100]);
});

let rig: Rig | undefined;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await rig?.close();
  rig = undefined;
});

test.each([["without TLS"], ["with TLS"]])(
  "a listener %s takes connections of a flooder in turn, and closes what would wait too long",
  async (how) => {
    const clock = manualClock();
    const servers = await createCa("servers");
    const tls = await servers.issue({ usages: ["server"], dnsNames: ["localhost"] });
    const limits = { ...LIMITS, flooderConnectionBurst: 1, pingBurst: 20 };
    const open = await startRig({ clock, limits, ...(how === "with TLS" && { tls }) });
    rig = open;
    const trusting = { host: "127.0.0.1", ca: servers.cert, servername: "localhost", ALPNProtocols: ["h2"] };
    /** Greets, sends more, and tells when the server greets. */
    const connect = (more: readonly Buffer[] = []) => {
      const socket = how === "with TLS" ? connectTls({ ...trusting, port: open.ports.api }) : open.raw("api", "");
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.write(Buffer.concat([h2.greeting(), ...more]));
      return { socket, greets: () => once(socket, "data"), all: readAll(socket) };
    };
    await connect(Array.from({ length: 30 }, () => h2.ping())).all;
    await connect().greets();
    const waits = connect();
    await clock.armed(100);
    const gone = connect();
    await clock.armed(200);
    expect(await connect().all).toBe("");
    expect(open.plane.refusals.map(({ reason }) => reason)).toEqual(["PING_FLOOD", "CONNECTION_LIMIT"]);
    gone.socket.destroy();
    clock.advance(99);
    // The other listener is open to the same address: by then, a connection that may begin has begun.
    await once(open.raw("worker", h2.greeting()), "data");
    expect(waits.socket.bytesRead).toBe(0);
    const isGreeted = waits.greets();
    clock.advance(1);
    await isGreeted;
  },
);

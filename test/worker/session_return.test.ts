// A worker that lost its own endpoint goes back to it later, beside the stream that serves it: nothing held is lost, and nothing is promised twice.

import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import type { Random } from "../../kit/random.ts";
import { inOrder, type PlayedServer, playedWorker } from "./played_server.ts";
import { ackOutcome, assign, closeAtEnd, hangs, played, serveView } from "./session_stage.ts";

// Endpoints in the order in which they are given; waits by a quarter: the first one before the way back, and the second.
const random: Random = { ...inOrder, next: () => 0.25 };
const WAITS = [45_000, 90_000];

/** A clock on which the waits before a way back are over when the test says so. */
function patientClock() {
  const real = systemClock();
  const waiting = new Set<() => void>();
  const waits: number[] = [];
  const after = (ms: number, callback: () => void) => {
    if (!WAITS.includes(ms)) return real.after(ms, callback);
    waits.push(ms);
    waiting.add(callback);
    return () => void waiting.delete(callback);
  };
  const pass = () => {
    for (const callback of [...waiting]) {
      waiting.delete(callback);
      callback();
    }
  };
  return { clock: { ...real, after }, waits, pass };
}

/** A worker that runs a task at its second endpoint, for its own one refused it. */
async function elsewhere() {
  const [own, other] = [await played(), await played()];
  own.refusal = Code.Unavailable;
  const { clock, waits, pass } = patientClock();
  const worker = playedWorker([own.endpoint, other.endpoint], { drainWindowMs: 50 }, clock, random);
  closeAtEnd(worker);
  const started = worker.start();
  const stream = await other.stream();
  stream.welcome();
  await started;
  assign(stream, 1);
  await serveView(stream, hangs);
  await stream.next("accept");
  await stream.next("credit", ({ freeSlots }) => freeSlots === 1);
  return { own, other, stream, waits, pass, worker };
}

/** Its own endpoint is there again, and the time has come. */
async function back({ own, pass }: { own: PlayedServer; pass: () => void }) {
  own.refusal = undefined;
  pass();
  return await own.stream();
}

test("goes back with what it holds, and leaves the other stream once it is welcomed", async () => {
  const there = await elsewhere();
  const home = await back(there);
  expect(home.hello).toMatchObject({ resumeSessionId: "ses_1", held: [{ taskId: "task_1", token: "token_1" }] });
  // Its Hello does not name what comes now: that is given back, and nothing more is asked for.
  await there.stream.next("credit", ({ freeSlots }) => freeSlots === 0);
  assign(there.stream, 2);
  expect((await there.stream.next("yield")).leases[0]).toMatchObject({ token: "token_2", reason: "moving" });
  home.welcome({ held: [{ taskId: "task_1", token: "token_1", keep: true }] });
  await there.stream.ended;
  expect((await home.next("accept")).tokens).toEqual(["token_1"]);
  await home.next("credit", ({ freeSlots }) => freeSlots === 1);
  assign(home, 3);
  expect((await home.next("accept", ({ tokens }) => tokens.includes("token_3"))).tokens).toEqual(["token_3"]);
});

test("an endpoint that still refuses costs nothing: the worker stays, takes tasks again, and waits twice as long", async () => {
  const there = await elsewhere();
  const refused = there.own.refused(2);
  there.pass();
  await refused;
  await there.stream.next("credit", ({ freeSlots }) => freeSlots === 0);
  await there.stream.next("credit", ({ freeSlots }) => freeSlots === 1);
  assign(there.stream, 2);
  expect((await there.stream.next("accept")).tokens).toEqual(["token_2"]);
  expect(there.waits).toEqual(WAITS);
  await back(there);
});

test("the other endpoint fails while the worker is on its way back: it arrives all the same", async () => {
  const there = await elsewhere();
  const home = await back(there);
  there.stream.lose();
  home.welcome({ held: [{ taskId: "task_1", token: "token_1", keep: true }] });
  expect((await home.next("accept")).tokens).toEqual(["token_1"]);
  await home.next("credit", ({ freeSlots }) => freeSlots === 1);
});

test("a replica that shuts down while its worker tries to go back in vain is left for another", async () => {
  const there = await elsewhere();
  const home = await back(there);
  for (const server of [there.own, there.other]) server.refusal = Code.Unavailable;
  there.stream.send({ case: "drain", value: { reason: "restart", move: true } });
  await there.stream.next("credit", ({ freeSlots }) => freeSlots === 0);
  home.lose();
  await there.own.refused(2);
  there.own.refusal = undefined;
  const next = await there.own.stream();
  next.welcome({ held: [{ taskId: "task_1", token: "token_1", keep: true }] });
  await there.stream.ended;
});

test("a worker that stops on its way back says goodbye on both streams", async () => {
  const there = await elsewhere();
  const home = await back(there);
  const stopped = there.worker.stop();
  expect((await there.stream.next("outcomes")).outcomes[0]?.outcome.case).toBe("interrupted");
  ackOutcome(there.stream, 1);
  await Promise.all([home.next("goodbye"), there.stream.next("goodbye")]);
  await stopped;
});

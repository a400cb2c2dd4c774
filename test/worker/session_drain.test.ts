// How the session of a worker ends or moves on: drains of worker and server, goodbyes.

import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { inOrder, playedWorker } from "./played_server.ts";
import { ackOutcome, assign, closeAtEnd, connected, hangs, played, serveView } from "./session_stage.ts";

test("drain: no credit, finishes what it can, gives the rest back as interrupted, says goodbye", async () => {
  const { worker, stream } = await connected({ drainWindowMs: 50 });
  assign(stream, 1);
  await serveView(stream, hangs);
  await stream.next("accept");
  const stopped = worker.stop();
  await stream.next("credit", (credit) => credit.freeSlots === 0 && credit.lastAssignSequence === 1n);
  assign(stream, 2);
  expect((await stream.next("yield")).leases[0]).toMatchObject({ token: "token_2", reason: "draining" });
  expect((await stream.next("outcomes")).outcomes[0]?.outcome.case).toBe("interrupted");
  expect(stream.rest()).not.toContain("goodbye");
  ackOutcome(stream, 1);
  await stream.next("goodbye");
  await stopped;
  await worker.ended;
});

/** A worker with two endpoints that runs a task at the first. */
async function holding() {
  const first = await played();
  const second = await played();
  const worker = playedWorker([first.endpoint, second.endpoint], {}, undefined, inOrder);
  closeAtEnd(worker);
  const started = worker.start();
  const stream = await first.stream();
  stream.welcome();
  await started;
  assign(stream, 1);
  await serveView(stream, hangs);
  await stream.next("accept");
  return { first, second, stream };
}

test("a server that shuts down is left once the next one has taken over: with everything held, renewed all along", async () => {
  const { second, stream } = await holding();
  stream.send({ case: "drain", value: { reason: "restart", move: true } });
  const next = await second.stream();
  expect(next.hello).toMatchObject({ resumeSessionId: "ses_1", held: [{ taskId: "task_1", token: "token_1" }] });
  // Until it is welcomed there, the first one still has the session.
  assign(stream, 2);
  expect((await stream.next("accept")).tokens).toEqual(["token_2"]);
  next.welcome({ held: [{ taskId: "task_1", token: "token_1", keep: true }] });
  await stream.ended;
  expect((await next.next("accept", (accept) => accept.tokens.length === 2)).tokens).toEqual(["token_1", "token_2"]);
});

test("while no other server takes it, a drained worker stays, and looks again", async () => {
  const { second, stream } = await holding();
  second.refusal = Code.Unavailable;
  stream.send({ case: "drain", value: { reason: "restart", move: true } });
  await second.refused(2);
  assign(stream, 2);
  expect((await stream.next("accept")).tokens).toEqual(["token_2"]);
  second.refusal = undefined;
  (await second.stream()).welcome({ held: [{ taskId: "task_1", token: "token_1", keep: true }] });
  await stream.ended;
});

test("a drain of the worker by an operator moves nothing", async () => {
  const { stream, second } = await holding();
  stream.send({ case: "drain", value: { reason: "an operator drains this worker" } });
  assign(stream, 2);
  expect((await stream.next("accept")).tokens).toEqual(["token_2"]);
  expect(second.streams).toBe(0);
});

test("goodbye of the only server leads to a new stream there", async () => {
  const { server, stream } = await connected();
  stream.send({ case: "goodbye", value: { reason: "restart" } });
  expect((await server.stream()).hello.resumeSessionId).toBe("ses_1");
});

test("after a drain nothing follows the goodbye", async () => {
  const { worker, stream } = await connected({}, { ttlMs: 60 });
  await stream.next("renew");
  const stopped = worker.stop();
  await stream.next("goodbye");
  const before = stream.rest().length;
  await stopped;
  expect(stream.rest().length).toBe(before);
});

test("a worker that an operator drained tells every server that follows, before its credit", async () => {
  const { stream, second } = await holding();
  stream.send({ case: "drain", value: { reason: "an operator drains this worker", window: { seconds: 30n } } });
  stream.send({ case: "drain", value: { reason: "restart", move: true } });
  const next = await second.stream();
  next.welcome({ held: [{ taskId: "task_1", token: "token_1", keep: true }] });
  expect(await next.next("drain")).toMatchObject({ window: { seconds: 30n }, move: false });
  await next.next("credit");
});

test("a worker that stops says that it drains, and says goodbye at the end", async () => {
  const { worker, stream } = await connected();
  const stopped = worker.stop();
  await stream.next("drain");
  await stream.next("goodbye");
  await stopped;
});

test("a worker that stops before it is welcomed says goodbye, so that its session ends at once", async () => {
  const server = await played();
  const worker = playedWorker([server.endpoint]);
  closeAtEnd(worker);
  const started = worker.start();
  const stream = await server.stream();
  const stopped = worker.stop();
  await stream.next("goodbye");
  stream.welcome();
  await stopped;
  await started;
  expect(stream.rest()).toEqual([]);
});

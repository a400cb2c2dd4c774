// The outbox: what shares a frame, in which order frames leave, and what happens when the server does not read.

import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { TurnRecordSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { OUTBOX_ITEMS_MAX, Outbox } from "../../worker/session/outbox.ts";
import type { FrameStream, RequestFrame } from "../../worker/session/stream.ts";

/** A stream that remembers, and whose write says what `room` says. */
function fakeStream(room: () => boolean = () => true) {
  const frames: RequestFrame[] = [];
  let cancelled = false;
  const stream: FrameStream = {
    write: (frame) => {
      frames.push(frame);
      return room();
    },
    end: () => {},
    awaited: "",
    cancel: () => {
      cancelled = true;
    },
  };
  return { stream, frames, cases: () => frames.map((frame) => frame.case), cancelled: () => cancelled };
}

const turn = (sequence: number, turnJson = "{}") => ({
  kind: "turn" as const,
  value: create(TurnRecordSchema, { token: "t", sequence, turnJson }),
});

test("items of one event-loop turn leave as one frame a kind, the last credit last", () => {
  const { stream, frames, cases } = fakeStream();
  const outbox = new Outbox();
  outbox.attach(stream);
  outbox.add({ kind: "credit", freeSlots: 1, lastAssign: 1n });
  outbox.add(turn(1));
  outbox.add({ kind: "accept", token: "a" });
  outbox.add({ kind: "accept", token: "b" });
  outbox.add({ kind: "credit", freeSlots: 0, lastAssign: 2n });
  expect(frames).toEqual([]);
  outbox.flush();
  expect(cases()).toEqual(["accept", "turns", "credit"]);
  expect(frames[0]?.value).toMatchObject({ tokens: ["a", "b"] });
  expect(frames[2]?.value).toMatchObject({ freeSlots: 0, lastAssignSequence: 2n });
});

test("nothing is written after the stream said that it is full, until it has room", () => {
  let room = false;
  const { stream, cases } = fakeStream(() => room);
  const outbox = new Outbox();
  outbox.attach(stream);
  outbox.add({ kind: "accept", token: "a" });
  outbox.add(turn(1));
  outbox.flush();
  outbox.add({ kind: "accept", token: "b" });
  outbox.flush();
  expect(cases()).toEqual(["accept"]);
  room = true;
  outbox.writable();
  expect(cases()).toEqual(["accept", "accept", "turns"]);
});

test("large items are spread over frames", () => {
  const { stream, frames } = fakeStream();
  const outbox = new Outbox();
  outbox.attach(stream);
  for (let n = 1; n <= 4; n += 1) outbox.add(turn(n, "x".repeat(700_000)));
  outbox.flush();
  expect(frames.length).toBe(4);
});

test("a server that does not read costs the connection, not the memory", () => {
  const { stream, cancelled } = fakeStream(() => false);
  const outbox = new Outbox();
  outbox.attach(stream);
  for (let n = 0; n <= OUTBOX_ITEMS_MAX; n += 1) outbox.add({ kind: "accept", token: "a" });
  expect(cancelled()).toBe(true);
});

test("what is added without a stream is not kept", () => {
  const { stream, frames } = fakeStream();
  const outbox = new Outbox();
  outbox.add({ kind: "accept", token: "a" });
  outbox.attach(stream);
  outbox.flush();
  expect(frames).toEqual([]);
});

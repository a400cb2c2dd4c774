// Log lines of tasks on a worker's stream: before the outcome, and never to a server that does not take them.

import { expect, test } from "vitest";
import { assign, connected, serveView } from "./session_stage.ts";

const script = [{ text: "done" }];

test("the lines of a task leave with its token before its outcome", async () => {
  const { stream } = await connected({}, { takesTaskLogs: true });
  assign(stream, 1);
  await serveView(stream, script);
  await stream.next("turns");
  const waiting = stream.next("taskLogs");
  stream.send({ case: "turnAcks", value: { acks: [{ token: "token_1", sequence: 1, verdict: 1 }] } });
  const { logs } = await waiting;
  await stream.next("outcomes");
  expect(logs).toMatchObject([{ taskId: "task_1", token: "token_1", dropped: 0 }]);
  expect(logs[0]?.lines.map((line) => line.replace(/^\S+Z /, "").replace(/ms=\d+/, "ms=_"))).toEqual([
    "info attempt begins attempt=1 delivery=1 agent=a worker=w1",
    "info model answered provider=scripted model=m turn=1 ms=_ toolCalls=0",
    "info attempt succeeded ms=_",
  ]);
});

test("a server that does not say that it takes lines is sent none", async () => {
  const { stream } = await connected();
  assign(stream, 1);
  await serveView(stream, script);
  await stream.next("turns");
  stream.send({ case: "turnAcks", value: { acks: [{ token: "token_1", sequence: 1, verdict: 1 }] } });
  await stream.next("outcomes");
  expect(stream.rest()).not.toContain("taskLogs");
});

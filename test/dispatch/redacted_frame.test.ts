// What a worker tells is without secrets before anything is done with it: also if the worker did not leave them out.

import { create, type MessageInitShape, toJsonString } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { REDACTED, Redactor } from "../../kit/redactor.ts";
import { SessionRequestSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { redactedFrame } from "../../server/dispatch/redacted_frame.ts";

const SECRET = "canary-4711-x";
const redactor = new Redactor();
redactor.learn(SECRET);
const json = JSON.stringify({ [SECRET]: [`Bearer ${SECRET}`, Buffer.from(SECRET).toString("base64")] });
const failure = { class: SECRET, message: `bad ${encodeURIComponent(SECRET)}` };

type Frame = NonNullable<MessageInitShape<typeof SessionRequestSchema>["frame"]>;

test.each<Frame>([
  { case: "turns", value: { turns: [{ taskId: "task_1", token: "tok_1", turnJson: json }] } },
  { case: "toolCalls", value: { calls: [{ taskId: "task_1", token: "tok_1", tool: SECRET, argumentsJson: json }] } },
  { case: "toolResults", value: { results: [{ grantId: "gra_1", result: { case: "resultJson", value: json } }] } },
  { case: "toolResults", value: { results: [{ grantId: "gra_1", result: { case: "failure", value: failure } }] } },
  { case: "outcomes", value: { outcomes: [{ token: "tok_1", outcome: { case: "outputJson", value: json } }] } },
  { case: "outcomes", value: { outcomes: [{ token: "tok_1", outcome: { case: "failed", value: failure } }] } },
  { case: "outcomes", value: { outcomes: [{ outcome: { case: "interrupted", value: { reason: SECRET } } }] } },
  { case: "yield", value: { leases: [{ token: "tok_1", reason: SECRET }] } },
  { case: "drain", value: { reason: SECRET } },
  { case: "goodbye", value: { reason: SECRET } },
  { case: "renew", value: { tokens: ["tok_1"], logs: [{ taskId: "task_1", lines: ["a", `b ${SECRET}`] }] } },
])("$case $value", (frame) => {
  const request = create(SessionRequestSchema, { frame });
  expect(toJsonString(SessionRequestSchema, request)).toContain("canary");
  redactedFrame(redactor, request.frame);
  const told = toJsonString(SessionRequestSchema, request);
  expect(told).toContain(REDACTED);
  expect(told).not.toMatch(/canary|Y2FuYXJ5/);
  for (const id of ["task_1", "tok_1", "gra_1"]) {
    expect(told.includes(id)).toBe(JSON.stringify(frame).includes(id));
  }
});

test("a frame without secrets keeps its text to the letter", () => {
  const text = '{ "b": 1, "a": "\\u0061" }';
  const frame = { case: "turns" as const, value: { turns: [{ turnJson: text }] } };
  const request = create(SessionRequestSchema, { frame });
  redactedFrame(redactor, request.frame);
  expect(request).toEqual(create(SessionRequestSchema, { frame }));
});

// What an assignment takes of a frame is never told to be less than it is, however long its members are.

import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { AssignmentSchema } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { assignmentBytes } from "../../server/dispatch/assignment.ts";

const wide = (characters: number) => "\u20ac".repeat(characters);
const usual = {
  ...{
    sequence: 1n << 40n,
    taskId: wide(30),
    runId: wide(30),
    namespace: wide(253),
    node: wide(253),
    agent: wide(253),
  },
  ...{ token: wide(32), viewDigest: wide(71), inputJson: wide(1_000), traceparent: wide(55), attempt: 2 ** 31 - 1 },
};

test.each<[string, MessageInitShape<typeof AssignmentSchema>]>([
  ["nothing", {}],
  ["as much as names and a short input may be", usual],
  ["a long input", { ...usual, inputJson: wide(100_000) }],
  ["a long credential", { ...usual, inputJson: "", modelSecret: wide(20_000) }],
  ["a journal", { ...usual, journal: [{ sequence: 1, entry: { case: "turnJson", value: wide(50_000) } }] }],
  ["withheld tools", { ...usual, withheldTools: [wide(20_000)] }],
  ["secrets", { ...usual, agentSecrets: [wide(20_000)] }],
  ["means", { ...usual, agentMeans: { case: "agentModel", value: { headers: { a: wide(20_000) } } } }],
])("%s", (_what, members) => {
  const assignment = create(AssignmentSchema, members);
  expect(assignmentBytes(assignment)).toBeGreaterThanOrEqual(toBinary(AssignmentSchema, assignment).byteLength);
});

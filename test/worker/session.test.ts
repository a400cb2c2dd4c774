// The session of a worker against a server that the test plays over a real connection.

import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { FactVerdict } from "../../proto/gen/orloj/v1/worker_pb.ts";
import { PlayedServer, playedWorker } from "./played_server.ts";
import {
  ackOutcome,
  ackTurn,
  assign,
  closeAtEnd,
  closers,
  committed,
  connected,
  hangs,
  played,
  serveView,
  usesTool,
} from "./session_stage.ts";

test("says who it is, and offers its slots after Welcome", async () => {
  const { stream } = await connected({ labels: { region: "eu" } });
  expect(stream.authorization).toBe("Bearer join-me");
  expect(stream.hello).toMatchObject({
    protocolVersion: 1,
    workerName: "w1",
    slots: 2,
    runtimes: ["model", "http", "command"],
  });
  expect(stream.hello.labels).toEqual({ region: "eu" });
  expect(stream.hello.instanceId.length).toBeGreaterThanOrEqual(16);
  expect(await stream.next("credit")).toMatchObject({ freeSlots: 2, lastAssignSequence: 0n });
});

test("runs an assigned task: accept, view, turn, outcome; a slot is free again", async () => {
  const { stream } = await connected();
  assign(stream, 1);
  expect((await stream.next("accept")).tokens).toEqual(["token_1"]);
  await stream.next("credit", (credit) => credit.freeSlots === 1 && credit.lastAssignSequence === 1n);
  await serveView(stream, [{ text: "hi" }]);
  const turn = (await stream.next("turns")).turns[0];
  expect(turn).toMatchObject({ token: "token_1", sequence: 1, turnJson: '{"text":"hi","toolCalls":[]}' });
  ackTurn(stream, 1, 1);
  const outcome = (await stream.next("outcomes")).outcomes[0];
  expect(outcome).toMatchObject({ token: "token_1", outcome: { case: "outputJson", value: '{"text":"hi"}' } });
  await stream.next("credit", (credit) => credit.freeSlots === 2);
  ackOutcome(stream, 1);
  // The view is kept: the second task asks for none.
  assign(stream, 2);
  await stream.next("turns");
  expect(stream.rest()).not.toContain("fetchViews");
});

test("drives a granted tool call and reports its result with the next journal sequence", async () => {
  const { stream } = await connected({ commandPath: "/usr/bin:/bin" });
  assign(stream, 1);
  await serveView(stream, usesTool);
  await stream.next("turns");
  ackTurn(stream, 1, 1);
  const call = (await stream.next("toolCalls")).calls[0];
  expect(call).toMatchObject({ turnSequence: 1, callIndex: 0, tool: "touch", argumentsJson: '{"n":1}', attempt: 1 });
  const callId = call?.callId as bigint;
  const means = { case: "command" as const, value: { argv: ["echo", "-n", "done"] } };
  const granted = { grantId: "gra_1", timeout: { seconds: 9n }, resultBytesMax: 999n, means };
  stream.send({
    case: "toolDecisions",
    value: { decisions: [{ callId, decision: { case: "granted", value: granted } }] },
  });
  const result = (await stream.next("toolResults")).results[0];
  expect(result).toMatchObject({ grantId: "gra_1", callId, journalSequence: 2, result: { case: "resultJson" } });
  stream.send({ case: "toolResultAcks", value: { acks: [{ callId, verdict: committed }] } });
  expect((await stream.next("turns")).turns[0]).toMatchObject({ sequence: 3 });
  ackTurn(stream, 1, 3);
  expect((await stream.next("outcomes")).outcomes[0]?.outcome).toEqual({
    case: "outputJson",
    value: '{"text":"{\\"got\\":\\"done\\"}"}',
  });
});

test("a lost stream is resumed: held leases in Hello, every unacknowledged fact again", async () => {
  const { server, stream } = await connected();
  assign(stream, 1);
  await serveView(stream, [{ text: "hi" }]);
  await stream.next("turns");
  assign(stream, 2);
  await stream.next("turns");
  ackTurn(stream, 2, 1);
  await stream.next("outcomes");
  stream.lose();
  const again = await server.stream();
  expect(again.hello.instanceId).toBe(stream.hello.instanceId);
  expect(again.hello.resumeSessionId).toBe("ses_1");
  expect(again.hello.held.map(({ token }) => token)).toEqual(["token_1", "token_2"]);
  again.welcome({
    held: [
      { taskId: "task_1", token: "token_1", keep: true },
      { taskId: "task_2", token: "token_2", keep: false },
    ],
  });
  expect((await again.next("turns")).turns.map(({ token }) => token)).toEqual(["token_1"]);
  // The outcome of a lease that is no longer held may be the one that was committed: it is sent again to hear so.
  expect((await again.next("outcomes")).outcomes.map(({ token }) => token)).toEqual(["token_2"]);
  ackOutcome(again, 2, FactVerdict.DUPLICATE);
  ackTurn(again, 1, 1, FactVerdict.DUPLICATE);
  expect((await again.next("outcomes")).outcomes[0]).toMatchObject({ token: "token_1" });
  await again.next("credit", (credit) => credit.freeSlots === 2 && credit.lastAssignSequence === 2n);
});

test("a lost lease of a task is dropped alone: the newer one of the same task goes on", async () => {
  const { server, stream } = await connected();
  assign(stream, 1);
  assign(stream, 2, { taskId: "task_1" });
  await serveView(stream, hangs);
  await stream.next("credit", (credit) => credit.lastAssignSequence === 2n);
  stream.lose();
  const again = await server.stream();
  again.welcome({
    held: [
      { taskId: "task_1", token: "token_1", keep: false },
      { taskId: "task_1", token: "token_2", keep: true },
    ],
  });
  expect((await again.next("renew")).tokens).toEqual(["token_2"]);
});

test("an undecided tool call is asked again under its call id after a lost stream", async () => {
  const { server, stream } = await connected();
  assign(stream, 1);
  await serveView(stream, usesTool);
  await stream.next("turns");
  ackTurn(stream, 1, 1);
  const first = (await stream.next("toolCalls")).calls[0];
  stream.lose();
  const again = await server.stream();
  again.welcome({ held: [{ taskId: "task_1", token: "token_1", keep: true }] });
  expect((await again.next("toolCalls")).calls[0]).toEqual(first);
});

test("a cancel is acknowledged, stops the model, and ends as cancelled", async () => {
  const { stream } = await connected();
  assign(stream, 1);
  await serveView(stream, hangs);
  stream.send({ case: "cancel", value: { tasks: [{ taskId: "task_1", token: "token_1", reason: "user" }] } });
  expect((await stream.next("cancelAck")).tokens).toEqual(["token_1"]);
  expect((await stream.next("outcomes")).outcomes[0]?.outcome.case).toBe("cancelled");
  // Repeated and unknown cancels are acknowledged as well.
  stream.send({ case: "cancel", value: { tasks: [{ taskId: "task_9", token: "token_9", reason: "user" }] } });
  expect((await stream.next("cancelAck")).tokens).toEqual(["token_9"]);
});

test("a task that is assigned as cancelled ends at once", async () => {
  const { stream } = await connected();
  assign(stream, 1, { cancelled: true });
  expect((await stream.next("outcomes")).outcomes[0]?.outcome.case).toBe("cancelled");
});

test("renews all held tokens, and drops a task whose token the server calls lost, without an outcome", async () => {
  const { stream } = await connected({}, { ttlMs: 300 });
  assign(stream, 1);
  await serveView(stream, hangs);
  const renewal = await stream.next("renew", (renew) => renew.tokens.length === 1);
  expect(renewal).toMatchObject({ tokens: ["token_1"], lastAssignSequence: 1n });
  stream.send({ case: "renewAck", value: { sequence: renewal.sequence, lostTokens: ["token_1"] } });
  await stream.next("credit", (credit) => credit.freeSlots === 2 && credit.lastAssignSequence === 1n);
  await stream.next("renew", (renew) => renew.tokens.length === 0);
  expect(stream.rest()).not.toContain("outcomes");
});

test("a stale verdict for a turn drops the task quietly", async () => {
  const { stream } = await connected();
  assign(stream, 1);
  await serveView(stream, [{ text: "hi" }]);
  await stream.next("turns");
  await stream.next("credit", (credit) => credit.freeSlots === 1);
  ackTurn(stream, 1, 1, FactVerdict.LEASE_LOST);
  await stream.next("credit", (credit) => credit.freeSlots === 2);
  expect(stream.rest()).not.toContain("outcomes");
});

test("starts nothing more while renewals are unanswered, and goes on when they are answered", async () => {
  const { stream } = await connected({}, { ttlMs: 300 });
  // Well over the ttl without an acknowledgement.
  let renewal = await stream.next("renew");
  for (let count = 0; count < 4; count += 1) renewal = await stream.next("renew");
  assign(stream, 1);
  await serveView(stream, [{ text: "hi" }]);
  renewal = await stream.next("renew", (renew) => renew.sequence > renewal.sequence + 1n);
  expect(stream.rest()).not.toContain("turns");
  stream.send({ case: "renewAck", value: { sequence: renewal.sequence } });
  await stream.next("turns");
});

test("gives back what it cannot run and what it has no slot for", async () => {
  const { stream } = await connected({ slots: 1 });
  assign(stream, 1);
  await serveView(stream, [], "unheard-of");
  expect((await stream.next("yield")).leases[0]).toMatchObject({ token: "token_1", reason: "unsupported" });
  assign(stream, 2, { viewDigest: "sha256:other" });
  await serveView(stream, hangs);
  assign(stream, 3);
  expect((await stream.next("yield")).leases[0]).toMatchObject({ token: "token_3", reason: "full" });
});

test("a long journal is fetched to its end, and its turns are not asked again", async () => {
  const { stream } = await connected();
  assign(stream, 1, { journalTruncated: true });
  await serveView(stream, usesTool);
  expect(await stream.next("fetchJournal")).toMatchObject({ taskId: "task_1", token: "token_1", afterSequence: 0 });
  const turnJson = '{"text":"","toolCalls":[{"name":"touch","arguments":{"n":1}}]}';
  const entry = { sequence: 1, entry: { case: "turnJson" as const, value: turnJson } };
  stream.send({ case: "journalPages", value: { taskId: "task_1", entries: [entry], more: true } });
  expect(await stream.next("fetchJournal")).toMatchObject({ afterSequence: 1 });
  const toolResult = { turnSequence: 1, callIndex: 0, tool: "touch", resultJson: '{"stdout":"kept"}' };
  const second = { sequence: 2, entry: { case: "toolResult" as const, value: toolResult } };
  stream.send({ case: "journalPages", value: { taskId: "task_1", entries: [second], more: false } });
  const turn = (await stream.next("turns")).turns[0];
  expect(turn).toMatchObject({ sequence: 3, turnJson: '{"text":"{\\"got\\":\\"kept\\"}","toolCalls":[]}' });
});

test("a worker that the server refuses ends with what was wrong, without its token", async () => {
  const server = await played();
  server.refusal = Code.Unauthenticated;
  const worker = playedWorker([server.endpoint]);
  const error = await worker.start().catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ reason: "CREDENTIALS_INVALID" });
  expect(String(error)).not.toContain("join-me");
});

test("a worker waits for a server that is not there yet", async () => {
  const placeholder = await played();
  const { endpoint } = placeholder;
  await placeholder.close();
  closers.pop();
  const attempted = Promise.withResolvers<void>();
  const worker = playedWorker([endpoint], { log: () => attempted.resolve() });
  closeAtEnd(worker);
  const started = worker.start();
  await attempted.promise;
  const server = new PlayedServer();
  await server.listen(Number(endpoint.split(":")[1]));
  closers.push(() => server.close());
  (await server.stream()).welcome();
  await started;
});

test("a worker that lost its server tries again at least as often as it would renew", async () => {
  const server = await played();
  const { sleep, ...clock } = systemClock();
  const waits: number[] = [];
  const enough = Promise.withResolvers<void>();
  const hasty = (ms: number, signal?: AbortSignal) => {
    waits.push(ms);
    if (waits.length === 30) enough.resolve();
    return sleep(Math.min(ms, 2), signal);
  };
  const worker = playedWorker([server.endpoint], {}, { ...clock, sleep: hasty });
  closeAtEnd(worker);
  const started = worker.start();
  const stream = await server.stream();
  stream.welcome({ ttlMs: 1_500 });
  await started;
  waits.length = 0;
  await server.close();
  closers.shift();
  await enough.promise;
  expect(Math.max(...waits)).toBeLessThanOrEqual(500);
  expect(Math.max(...waits)).toBeGreaterThan(250);
});

test("many facts of one moment share a frame", async () => {
  const { stream } = await connected({ slots: 50 });
  assign(stream, 1);
  await stream.next("accept");
  for (let n = 2; n <= 50; n += 1) assign(stream, n);
  await serveView(stream, [{ text: "hi" }]);
  expect((await stream.next("turns", (frame) => frame.turns.length > 10)).turns.length).toBeGreaterThan(10);
});

test("a session that the server forgot begins anew: what was held is dropped, assignments count from the start", async () => {
  const { server, stream } = await connected();
  assign(stream, 5);
  await serveView(stream, hangs);
  await stream.next("credit", (credit) => credit.freeSlots === 1);
  stream.lose();
  const again = await server.stream();
  again.welcome({ sessionId: "ses_2", held: [{ taskId: "task_5", token: "token_5", keep: false }] });
  await again.next("credit", (credit) => credit.freeSlots === 2 && credit.lastAssignSequence === 0n);
  assign(again, 1);
  expect((await again.next("accept", (accept) => accept.tokens.includes("token_1"))).tokens).toEqual(["token_1"]);
});

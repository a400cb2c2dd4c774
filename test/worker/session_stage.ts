// A worker's session against a server that the test plays: its tasks, views and acknowledgements.
// Called by the session tests; everything that it opens is closed after each test.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterEach } from "vitest";
import { type AssignmentSchema, FactVerdict } from "../../proto/gen/orloj/v1/worker_pb.ts";
import type { Worker, WorkerOptions } from "../../worker/worker.ts";
import { PlayedServer, type PlayedStream, playedWorker } from "./played_server.ts";

export const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

export async function played(tls?: ConstructorParameters<typeof PlayedServer>[0]): Promise<PlayedServer> {
  const server = new PlayedServer(tls);
  await server.listen();
  closers.push(() => server.close());
  return server;
}

/** A worker that has its Welcome. */
export async function connected(
  changes: Partial<WorkerOptions> = {},
  welcome: Parameters<PlayedStream["welcome"]>[0] = {},
) {
  const server = await played();
  const worker = playedWorker([server.endpoint], changes);
  closeAtEnd(worker);
  const started = worker.start();
  const stream = await server.stream();
  stream.welcome(welcome);
  await started;
  return { server, worker, stream };
}

export function closeAtEnd(worker: Worker): void {
  closers.push(async () => {
    worker.abort();
    await worker.ended.catch(() => {});
  });
}

const limits = { maxTurns: 8, maxToolCalls: 8, timeoutMs: 60_000, maxOutputBytes: 10_000 };
const retry = { on: [], maxAttempts: 1, backoff: { initialMs: 1, maxMs: 1, factor: 1, jitter: "none" } };
const touch = { name: "touch", description: "", inputSchema: {}, effect: "write", onError: "tell", retry };

function view(script: object[], provider = "scripted"): string {
  const model = { provider, name: "m", parameters: {}, script };
  const spec = { runtime: "model", model, systemPrompt: "", tools: [], limits, repairAttempts: 0, description: "" };
  return JSON.stringify({ agents: { a: { name: "a", spec, tools: [touch] } } });
}

/** Answers the worker's question for the view. */
export async function serveView(stream: PlayedStream, script: object[], provider?: string): Promise<void> {
  const asked = await stream.next("fetchViews");
  const views = asked.digests.map((digest) => ({ digest, viewJson: view(script, provider) }));
  stream.send({ case: "views", value: { views } });
}

export function assign(stream: PlayedStream, n: number, changes: MessageInitShape<typeof AssignmentSchema> = {}): void {
  const assignment = {
    sequence: BigInt(n),
    taskId: `task_${n}`,
    runId: "run_1",
    namespace: "default",
    node: "n",
    attempt: 1,
    delivery: 1,
    token: `token_${n}`,
    viewDigest: "sha256:v",
    agent: "a",
    inputJson: "{}",
    ...changes,
  };
  stream.send({ case: "assign", value: { assignments: [assignment] } });
}

export const committed = FactVerdict.COMMITTED;
export const hangs = [{ text: "late", delayMs: 60_000 }];
export const usesTool = [
  { when: "turn == 1", toolCalls: [{ name: "touch", arguments: { n: 1 } }] },
  { output: { got: "${{ results.touch.stdout }}" } },
];

export function ackTurn(stream: PlayedStream, n: number, sequence: number, verdict: FactVerdict = committed): void {
  stream.send({ case: "turnAcks", value: { acks: [{ token: `token_${n}`, sequence, verdict }] } });
}

export function ackOutcome(stream: PlayedStream, n: number, verdict: FactVerdict = committed): void {
  stream.send({ case: "outcomeAcks", value: { acks: [{ token: `token_${n}`, verdict }] } });
}

// The SDK against a real Connect server: keys, retries, deadlines, batches, watching, errors.
// Waiting is a fake that returns at once, so no test sleeps.
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { AuditRecordSchema } from "../../proto/gen/orloj/v1/common_pb.ts";
import { DiagnosticSchema } from "../../proto/gen/orloj/v1/error_pb.ts";
import type { InvokeRequest } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { Code, createClient, type Host, OrlojError, RunFailedError, RunState } from "../../sdk/index.ts";
import { BATCH_CHARS_MAX } from "../../sdk/invoke_batcher.ts";
import { TRIES_MAX } from "../../sdk/transport.ts";
import { WATCH_TRIES_MAX } from "../../sdk/watch.ts";
import { refusal, runOf, startScriptedServer, succeeded } from "./scripted_server.ts";

function fakeHost(): Host & { waits: number[] } {
  let keys = 0;
  const waits: number[] = [];
  return {
    waits,
    async sleep(delayMs) {
      waits.push(delayMs);
    },
    random: () => 1,
    uniqueKey: () => `key-${++keys}`,
  };
}

const event = (id: bigint, kind = "task.leased") => create(AuditRecordSchema, { id, kind, recordJson: "{}" });

test("invoke sends the token, a deadline and a generated idempotency key", async () => {
  const requests: InvokeRequest[] = [];
  await using server = await startScriptedServer({
    workflows: {
      invoke(request) {
        requests.push(request);
        return { run: runOf("run_1") };
      },
    },
  });
  const client = createClient({ endpoint: server.endpoint, token: "secret", host: fakeHost() });
  const handle = await client
    .workflow("refund-flow", { namespace: "support" })
    .invoke({ a: 1 }, { tags: { t: "1" }, metadata: { m: "2" } });
  expect(handle.id).toBe("run_1");
  expect(requests[0]).toMatchObject({
    namespace: "support",
    workflow: "refund-flow",
    parametersJson: '{"a":1}',
    idempotencyKey: "key-1",
    tags: { t: "1" },
    metadata: { m: "2" },
  });
  expect(server.seen[0]).toMatchObject({ authorization: "Bearer secret", timeoutMs: "60000" });
});

test("the raw client sends a key too, and keeps one that was given", async () => {
  const keys: string[] = [];
  await using server = await startScriptedServer({
    workflows: {
      invoke(request) {
        keys.push(request.idempotencyKey);
        return { run: runOf("run_1") };
      },
      invokeBatch({ items }) {
        keys.push(...items.map((item) => item.idempotencyKey));
        return { results: [] };
      },
    },
  });
  const client = createClient({ endpoint: server.endpoint, host: fakeHost() });
  await client.workflows.invoke({ workflow: "a" });
  await client.workflows.invoke({ workflow: "a", idempotencyKey: "mine" });
  await client.workflows.invokeBatch({ items: [{ workflow: "a" }, { workflow: "a", idempotencyKey: "mine" }] });
  expect(keys).toEqual(["key-1", "mine", "key-2", "mine"]);
});

test("Unavailable is retried with the same key and growing delays, at most TRIES_MAX tries", async () => {
  const keys: string[] = [];
  await using server = await startScriptedServer({
    workflows: {
      invoke(request) {
        keys.push(request.idempotencyKey);
        throw refusal(Code.Unavailable, "STORAGE_UNAVAILABLE", "the database is away");
      },
    },
  });
  const host = fakeHost();
  const error = await createClient({ endpoint: server.endpoint, host })
    .workflow("a")
    .invoke()
    .catch((one) => one);
  expect(error).toBeInstanceOf(OrlojError);
  expect(error).toMatchObject({ reason: "STORAGE_UNAVAILABLE", code: Code.Unavailable });
  expect(keys).toEqual(new Array(TRIES_MAX).fill("key-1"));
  expect(host.waits).toEqual([100, 400]);
});

test.each([
  Code.Internal,
  Code.Aborted,
  Code.ResourceExhausted,
  Code.DeadlineExceeded,
  Code.FailedPrecondition,
  Code.Unknown,
])("code %s is not retried", async (code) => {
  let calls = 0;
  await using server = await startScriptedServer({
    workflows: {
      getRun() {
        calls += 1;
        throw refusal(code, "SOMETHING", "no");
      },
    },
  });
  const failure = createClient({ endpoint: server.endpoint, host: fakeHost() }).run("run_1").get();
  await expect(failure).rejects.toMatchObject({ reason: "SOMETHING", code });
  expect(calls).toBe(1);
});

test("a connection that breaks before the answer is retried, and a delete is not", async () => {
  let gets = 0;
  let deletes = 0;
  await using server = await startScriptedServer({
    workflows: {
      getRun() {
        gets += 1;
        if (gets === 1) server.breakConnections();
        return { run: runOf("run_1") };
      },
    },
    manifests: {
      deleteResource() {
        deletes += 1;
        server.breakConnections();
        return {};
      },
    },
  });
  const client = createClient({ endpoint: server.endpoint, host: fakeHost() });
  expect((await client.run("run_1").get()).id).toBe("run_1");
  expect(gets).toBe(2);
  const error = await client.manifests.deleteResource({ kind: "Tool", name: "a" }).catch(OrlojError.from);
  expect(error).toMatchObject({ reason: "CONNECTION_LOST", code: Code.Unavailable });
  expect(deletes).toBe(1);
});

test("a server that is not there is CONNECTION_LOST", async () => {
  const server = await startScriptedServer({});
  await server[Symbol.asyncDispose]();
  const failure = createClient({ endpoint: server.endpoint, host: fakeHost() }).workflow("a").invoke();
  await expect(failure).rejects.toMatchObject({ reason: "CONNECTION_LOST", code: Code.Unavailable });
});

test("invocations of one turn share batches of at most 100, each with its own answer or error", async () => {
  const sizes: number[] = [];
  let lone = 0;
  await using server = await startScriptedServer({
    workflows: {
      invoke: (request) => {
        lone += 1;
        return { run: runOf(`run_${request.parametersJson}`) };
      },
      invokeBatch({ items }) {
        sizes.push(items.length);
        const results = items.map((item) => {
          const { n } = JSON.parse(item.parametersJson) as { n: number };
          if (n !== 7) return { result: { case: "response" as const, value: { run: runOf(`run_${n}`) } } };
          const info = { reason: "POLICY_DENIED", domain: "orloj.dev", metadata: { policy: "p" } };
          const value = { code: "permission_denied", message: "denied by p", info };
          return { result: { case: "error" as const, value } };
        });
        return { results };
      },
    },
  });
  const workflow = createClient({ endpoint: server.endpoint }).workflow("a");
  const settled = await Promise.allSettled(Array.from({ length: 201 }, (_, n) => workflow.invoke({ n })));
  expect(sizes.sort()).toEqual([100, 100]);
  expect(lone).toBe(1);
  settled.forEach((one, n) => {
    if (n === 7) expect(one).toMatchObject({ status: "rejected" });
    else if (n < 200) expect(one).toMatchObject({ status: "fulfilled", value: { id: `run_${n}` } });
  });
  expect((settled[7] as PromiseRejectedResult).reason).toMatchObject({
    reason: "POLICY_DENIED",
    code: Code.PermissionDenied,
    message: "denied by p",
    metadata: { policy: "p" },
  });
});

test("a batch that is refused as a whole is sent item by item with the same keys", async () => {
  const batchKeys: string[] = [];
  const loneKeys: string[] = [];
  await using server = await startScriptedServer({
    workflows: {
      invokeBatch({ items }) {
        batchKeys.push(...items.map((item) => item.idempotencyKey));
        throw refusal(Code.InvalidArgument, "REQUEST_INVALID", "item 1: workflow is empty");
      },
      invoke(request) {
        loneKeys.push(request.idempotencyKey);
        if (request.workflow === "") throw refusal(Code.InvalidArgument, "REQUEST_INVALID", "workflow is empty");
        return { run: runOf("run_1") };
      },
    },
  });
  const client = createClient({ endpoint: server.endpoint });
  const [good, bad] = await Promise.allSettled([client.workflow("a").invoke(), client.workflow("").invoke()]);
  expect(good).toMatchObject({ status: "fulfilled" });
  expect(bad).toMatchObject({ status: "rejected", reason: { reason: "REQUEST_INVALID" } });
  expect(loneKeys.sort()).toEqual(batchKeys.sort());
});

test("large parameters do not share a batch beyond the size limit", async () => {
  const sizes: number[] = [];
  await using server = await startScriptedServer({
    workflows: {
      invoke() {
        sizes.push(1);
        return { run: runOf("run_1") };
      },
      invokeBatch: ({ items }) => {
        sizes.push(items.length);
        return { results: items.map(() => ({ result: { case: "response", value: { run: runOf("run_1") } } })) };
      },
    },
  });
  const workflow = createClient({ endpoint: server.endpoint }).workflow("a");
  const big = "x".repeat(BATCH_CHARS_MAX - 100);
  await Promise.all([workflow.invoke({ big }), workflow.invoke({ big }), workflow.invoke({}), workflow.invoke({})]);
  expect(sizes.sort()).toEqual([1, 3]);
});

test("an invocation aborted in its own turn is never sent", async () => {
  let calls = 0;
  await using server = await startScriptedServer({
    workflows: {
      invoke() {
        calls += 1;
        return { run: runOf("run_1") };
      },
    },
  });
  const stop = new AbortController();
  const client = createClient({ endpoint: server.endpoint });
  const aborted = client.workflow("a").invoke({}, { signal: stop.signal });
  stop.abort();
  await expect(aborted).rejects.toMatchObject({ reason: "ABORTED_BY_CALLER", code: Code.Canceled });
  await client.workflow("a").invoke();
  expect(calls).toBe(1);
});

test("result resolves with the output of a run that succeeds", async () => {
  await using server = await startScriptedServer({
    workflows: {
      invoke: () => ({ run: runOf("run_1") }),
      async *watchRun() {
        yield { run: runOf("run_1") };
        yield { run: succeeded("run_1", { text: "42" }) };
      },
    },
  });
  const handle = await createClient({ endpoint: server.endpoint }).workflow("a").invoke();
  expect(await handle.result<{ text: string }>()).toEqual({ text: "42" });
});

test.each([
  [RunState.FAILED, "FAILED", Code.FailedPrecondition],
  [RunState.POLICY_DENIED, "POLICY_DENIED", Code.PermissionDenied],
  [RunState.CANCELLED, "CANCELLED", Code.FailedPrecondition],
] as const)("result rejects with state and failure of a run that ends %s", async (state, name, code) => {
  const failure = { class: "OutputInvalid", message: "no fit" };
  await using server = await startScriptedServer({
    workflows: {
      async *watchRun() {
        yield { run: runOf("run_1", { state, failure }) };
      },
    },
  });
  const error = await createClient({ endpoint: server.endpoint })
    .run("run_1")
    .result()
    .catch((one) => one);
  expect(error).toBeInstanceOf(RunFailedError);
  expect(error).toMatchObject({ state: name, code, runId: "run_1", failure });
});

test("watch takes up a broken stream, keeps the edges, and tells no event twice", async () => {
  let streams = 0;
  const receivedTwo = Promise.withResolvers<void>();
  await using server = await startScriptedServer({
    workflows: {
      async *watchRun() {
        streams += 1;
        if (streams === 1) {
          yield { run: runOf("run_1"), events: [event(1n), event(2n)] };
          yield { run: runOf("run_1", { edges: [] }), events: [event(3n)] };
          await receivedTwo.promise;
          server.breakConnections();
          return;
        }
        if (streams === 2) throw refusal(Code.Unavailable, "SHUTTING_DOWN", "draining");
        if (streams === 3) return;
        yield { run: runOf("run_1"), events: [event(1n), event(2n), event(3n), event(4n)] };
        yield { run: succeeded("run_1"), events: [event(5n)] };
      },
    },
  });
  const client = createClient({ endpoint: server.endpoint, host: fakeHost() });
  const ids: bigint[] = [];
  const edges: number[] = [];
  for await (const snapshot of client.run("run_1").watch()) {
    ids.push(...snapshot.events.map((one) => one.id));
    edges.push(snapshot.run.edges.length);
    if (edges.length === 2) receivedTwo.resolve();
  }
  expect(streams).toBe(4);
  expect(ids).toEqual([1n, 2n, 3n, 4n, 5n]);
  expect(edges).toEqual([1, 1, 1, 1]);
});

test("watch ends at once with what the server refused", async () => {
  let streams = 0;
  await using server = await startScriptedServer({
    workflows: {
      // biome-ignore lint/correctness/useYield: the scripted stream only fails
      async *watchRun() {
        streams += 1;
        throw refusal(Code.NotFound, "RUN_NOT_FOUND", "run_1 not found", { run: "run_1" });
      },
    },
  });
  const result = createClient({ endpoint: server.endpoint, host: fakeHost() }).run("run_1").result();
  await expect(result).rejects.toMatchObject({ reason: "RUN_NOT_FOUND", metadata: { run: "run_1" } });
  expect(streams).toBe(1);
});

test("watch gives up after WATCH_TRIES_MAX streams that brought nothing", async () => {
  const server = await startScriptedServer({});
  await server[Symbol.asyncDispose]();
  const host = fakeHost();
  const result = createClient({ endpoint: server.endpoint, host }).run("run_1").result();
  await expect(result).rejects.toMatchObject({ reason: "CONNECTION_LOST", metadata: { run: "run_1" } });
  expect(host.waits).toHaveLength(WATCH_TRIES_MAX - 1);
});

test("leaving the loop ends the stream at the server", async () => {
  const ended = Promise.withResolvers<void>();
  await using server = await startScriptedServer({
    workflows: {
      async *watchRun(_, { signal }) {
        signal.addEventListener("abort", () => ended.resolve());
        yield { run: runOf("run_1") };
        await ended.promise;
      },
    },
  });
  for await (const { run } of createClient({ endpoint: server.endpoint }).run("run_1").watch()) {
    expect(run.id).toBe("run_1");
    break;
  }
  await ended.promise;
});

test("a signal ends the waiting for a result, not the run", async () => {
  const stop = new AbortController();
  await using server = await startScriptedServer({
    workflows: {
      async *watchRun(_, { signal }) {
        yield { run: runOf("run_1") };
        stop.abort();
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
  });
  const result = createClient({ endpoint: server.endpoint }).run("run_1").result({ signal: stop.signal });
  await expect(result).rejects.toMatchObject({ reason: "ABORTED_BY_CALLER" });
  expect(server.seen.map((one) => one.method)).toEqual(["WatchRun"]);
});

test("cancel sends the reason and turns a refusal into its reason", async () => {
  const reasons: string[] = [];
  await using server = await startScriptedServer({
    workflows: {
      cancelRun(request) {
        reasons.push(request.reason);
        if (reasons.length > 1) throw refusal(Code.FailedPrecondition, "RUN_FINISHED", "run_1 is finished");
        return { run: runOf("run_1", { state: RunState.CANCELLING }) };
      },
    },
  });
  const handle = createClient({ endpoint: server.endpoint }).run("run_1");
  expect((await handle.cancel("no longer needed")).state).toBe(RunState.CANCELLING);
  await expect(handle.cancel()).rejects.toMatchObject({ reason: "RUN_FINISHED" });
  expect(reasons).toEqual(["no longer needed", ""]);
});

test("an error carries the findings of invalid manifests with their positions", async () => {
  const finding = create(DiagnosticSchema, { severity: "error", code: "E-X", file: "a.yaml", line: 3, column: 5 });
  await using server = await startScriptedServer({
    manifests: {
      apply() {
        throw refusal(Code.InvalidArgument, "MANIFEST_INVALID", "1 error", {}, [finding]);
      },
    },
  });
  const client = createClient({ endpoint: server.endpoint });
  const error = (await client.manifests.apply({ files: [] }).catch(OrlojError.from)) as OrlojError;
  expect(error.reason).toBe("MANIFEST_INVALID");
  expect(error.diagnostics[0]).toMatchObject({ code: "E-X", file: "a.yaml", line: 3, column: 5 });
});

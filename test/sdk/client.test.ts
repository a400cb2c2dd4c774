// The SDK against a real Connect server: keys, retries, deadlines, batches.
// Waiting is a fake that returns at once, so no test sleeps.
import { expect, test } from "vitest";
import type { InvokeRequest } from "../../proto/gen/orloj/v1/workflow_pb.ts";
import { Code, createClient, OrlojError } from "../../sdk/index.ts";
import { BATCH_CHARS_MAX } from "../../sdk/invoke_batcher.ts";
import { TRIES_MAX } from "../../sdk/transport.ts";
import { fakeHost } from "./fake_host.ts";
import { refusal, runOf, startScriptedServer } from "./scripted_server.ts";

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

test("a tag that is undefined is left out, as a parameter is", async () => {
  const requests: InvokeRequest[] = [];
  await using server = await startScriptedServer({
    workflows: {
      invoke(request) {
        requests.push(request);
        return { run: runOf("run_1") };
      },
    },
  });
  const tags: Partial<Record<"a" | "b", string | undefined>> = { a: "1", b: undefined };
  const options = { tags: tags as Record<string, string> };
  await createClient({ endpoint: server.endpoint, host: fakeHost() }).workflow("w").invoke({ c: undefined }, options);
  expect(requests[0]).toMatchObject({ tags: { a: "1" }, parametersJson: "{}" });
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

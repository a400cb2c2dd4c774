// Run handles against a real Connect server: results, watching through broken streams, cancelling, errors.
// Waiting is a fake that returns at once, so no test sleeps.
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { AuditRecordSchema } from "../../proto/gen/orloj/v1/common_pb.ts";
import { DiagnosticSchema } from "../../proto/gen/orloj/v1/error_pb.ts";
import { Code, createClient, OrlojError, RunFailedError, RunState } from "../../sdk/index.ts";
import { WATCH_TRIES_MAX } from "../../sdk/watch.ts";
import { fakeHost } from "./fake_host.ts";
import { refusal, runOf, startScriptedServer, succeeded } from "./scripted_server.ts";

const event = (id: bigint, kind = "task.leased") => create(AuditRecordSchema, { id, kind, recordJson: "{}" });

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

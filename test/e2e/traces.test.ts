// One trace from the caller through server and workers to what tools and agents are told, read by a collector of the test's own.

import { dirname } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver, treeOf } from "../harness/otlp_receiver.ts";
import { runOrloj } from "../harness/processes.ts";
import { agent, askingAgent, commandTool, completion, httpTool, single, system, template } from "./documents.ts";
import { type Stage, split, startStage } from "./stage.ts";

const CANARY = "canary-of-the-trace-4711";
const CALLER = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" };

let collector: OtlpReceiver;
let tracing: Record<string, string>;
let stage: Stage;

beforeAll(async () => {
  collector = await startOtlpReceiver();
  tracing = {
    ORLOJ_TRACING: "otlp",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_BSP_SCHEDULE_DELAY: "100",
  };
  stage = await startStage({ env: { ...tracing, ORLOJ_SECRET_KEY_VALUE: CANARY } });
});

async function traceOf(runId: string, fits: (spans: readonly ReceivedSpan[]) => boolean) {
  const own = (all: readonly ReceivedSpan[]) => {
    const { traceId } = all.find(({ attributes }) => attributes["orloj.run.id"] === runId) ?? {};
    return all.filter((span) => span.traceId === traceId);
  };
  return own(await collector.waitFor((all) => fits(own(all))));
}

function named(spans: readonly ReceivedSpan[], name: string): ReceivedSpan {
  const found = spans.filter((span) => span.name === name);
  expect(found, name).toHaveLength(1);
  return found[0] as ReceivedSpan;
}

test("one trace tells a run of three agents, from its caller to a tool, an agent outside, and a program", async () => {
  const { client, sink } = stage;
  const worker = await stage.worker("traced", tracing);
  sink.respond("/v1/chat/completions", ({ body }) => {
    const { messages } = JSON.parse(body) as { messages: { role: string }[] };
    const asked = messages.some(({ role }) => role === "tool");
    return completion(
      asked
        ? { content: '{"found": "secret answer"}' }
        : { toolCalls: [{ name: "lookup", arguments: { q: "secret question" } }] },
    );
  });
  sink.respond("/agent", () => ({ headers: { "content-type": "application/json" }, body: '{"checked": true}' }));
  const script = `process.stdout.write(JSON.stringify({trace: process.env.TRACEPARENT}))`;
  await stage.apply(
    httpTool("lookup", "/lookup", {
      effect: "read",
      http: {
        ...{ method: "GET", url: "${{ secret.sink.url }}/lookup", allowPrivateNetwork: true },
        headers: { authorization: "Bearer ${{ secret.key.value }}" },
      },
    }),
    commandTool("note", [process.execPath, "-e", script]),
    askingAgent("research", `${sink.url}/v1`, { tools: ["lookup"] }),
    {
      ...{ apiVersion: "orloj.dev/v1", kind: "Agent", metadata: { name: "check" } },
      spec: {
        runtime: "http",
        http: { url: "${{ secret.sink.url }}/agent", allowPrivateNetwork: true },
        outputSchema: { type: "object" },
      },
    },
    agent(
      "close",
      [
        { when: "turn == 1", toolCalls: [{ name: "note", arguments: {} }] },
        { output: { note: "${{ results.note }}" } },
      ],
      {
        tools: ["note"],
      },
    ),
    system("triage", {
      nodes: ["research", "check", "close"].map((name) => ({ name, agent: name })),
      edges: [
        { from: "research", to: "check" },
        { from: "check", to: "close" },
      ],
      output: { schema: {}, value: "${{ nodes.close.output }}" },
    }),
    template("triage"),
  );
  const traceparent = `00-${CALLER.traceId}-${CALLER.spanId}-01`;
  const run = await client.workflow("triage").invoke({}, { traceparent });
  const output = await run.result<{ note: { trace: string } }>();

  const spans = await traceOf(run.id, (all) => {
    const names = all.map(({ name }) => name);
    return ["run triage", "task close", "lease close", "execute close"].every((name) => names.includes(name));
  });
  expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([CALLER.traceId]));
  expect(treeOf(spans, CALLER.spanId)).toEqual([
    "invoke triage",
    "  run triage",
    "    task research",
    "      wait research",
    "      lease research",
    "        execute research",
    "          chat m",
    "          execute_tool lookup",
    "            decide lookup",
    "            http lookup",
    "          chat m",
    "    task check",
    "      wait check",
    "      lease check",
    "        execute check",
    "          invoke_agent check",
    "    task close",
    "      wait close",
    "      lease close",
    "        execute close",
    "          chat script",
    "          execute_tool note",
    "            decide note",
    "            command note",
    "          chat script",
  ]);
  const byWorker = spans.filter(({ service }) => service === "orloj-worker").map(({ name }) => name);
  expect(byWorker).toContain("chat m");
  expect(byWorker).not.toContain("lease research");
  expect(named(spans, "run triage")).toMatchObject({
    ...{ service: "orloj-server", kind: 1, error: "" },
    attributes: { "orloj.run.id": run.id, "orloj.workflow": "triage", "orloj.run.state": "SUCCEEDED" },
  });
  expect(named(spans, "lease research")).toMatchObject({
    attributes: {
      "orloj.worker": "traced",
      "orloj.attempt": 1,
      "orloj.delivery": 0,
      "orloj.lease.end": "task.succeeded",
    },
    events: [
      { name: "turn.recorded", attributes: { "orloj.tool_calls": 1 } },
      { name: "tool.granted", attributes: { "orloj.tool": "lookup", "orloj.effect": "read" } },
      { name: "tool.result", attributes: { "orloj.ok": true } },
      { name: "turn.recorded", attributes: { "orloj.tool_calls": 0 } },
    ],
  });
  expect(named(spans, "decide lookup").attributes).toMatchObject({ "orloj.decision": "granted" });
  expect(named(spans, "http lookup")).toMatchObject({ kind: 3, attributes: { "orloj.tool.type": "http" } });

  const told = (span: string) => `00-${CALLER.traceId}-${named(spans, span).spanId}-01`;
  expect(sink.calls("/lookup").map(({ headers }) => headers["traceparent"])).toEqual([told("http lookup")]);
  expect(sink.calls("/agent").map(({ headers }) => headers["traceparent"])).toEqual([told("invoke_agent check")]);
  expect(output.note.trace).toBe(told("command note"));
  for (const { startNs, endNs, name } of spans) expect(endNs >= startNs, name).toBe(true);

  const everything = JSON.stringify(spans, (_key, value) => (typeof value === "bigint" ? String(value) : value));
  for (const secret of [CANARY, "secret question", "secret answer"]) expect(everything).not.toContain(secret);

  expect((await run.get()).traceId).toBe(CALLER.traceId);
  const { stdout } = await runOrloj(["describe", "run", run.id], { server: stage.server });
  expect(stdout).toContain(CALLER.traceId);
  await worker.stop();
});

test("a worker that is killed leaves the span of its lease, and the next one is linked to it", async () => {
  const { client, sink } = stage;
  const workers = { k1: await stage.worker("k1", tracing), k2: await stage.worker("k2", tracing) };
  sink.hold("/linger");
  await stage.apply(
    httpTool("linger", "/linger", { effect: "read" }),
    agent(
      "waiter",
      [{ when: "turn == 1", toolCalls: [{ name: "linger", arguments: {} }] }, { output: { done: true } }],
      {
        tools: ["linger"],
      },
    ),
    ...single("waiter"),
  );
  const run = await client.workflow("waiter").invoke();
  await sink.waitForCount("/linger", 1);
  const holder = await stage.holder(run);
  const { held, otherName } = split(workers, holder);
  held?.signal("SIGKILL");
  await sink.waitForCount("/linger", 2);
  sink.release("/linger");
  expect(await run.result()).toEqual({ done: true });

  const spans = await traceOf(
    run.id,
    (all) =>
      all.filter(({ name }) => name === "lease only").length === 2 && all.some(({ name }) => name === "execute waiter"),
  );
  const [lost, taken] = spans.filter(({ name }) => name === "lease only").sort((a, b) => Number(a.startNs - b.startNs));
  expect(lost).toMatchObject({
    error: "LeaseExpired",
    attributes: { "orloj.worker": holder, "orloj.delivery": 0, "orloj.lease.end": "lease.expired" },
  });
  expect(taken).toMatchObject({
    error: "",
    attributes: { "orloj.worker": otherName, "orloj.attempt": 1, "orloj.delivery": 1 },
    links: [{ spanId: lost?.spanId, attributes: { "orloj.link": "redelivery" } }],
  });
  expect(spans.filter(({ name }) => name === "execute waiter").map(({ parentSpanId }) => parentSpanId)).toEqual([
    taken?.spanId,
  ]);
  const told = sink.calls("/linger").map(({ headers }) => String(headers["traceparent"]).split("-")[1]);
  expect(told).toEqual([run.invoked?.traceId, run.invoked?.traceId]);
  for (const worker of [workers.k1, workers.k2]) worker.signal("SIGKILL");
});

test("a trace that its caller does not record is passed on as such, and nothing of it is sent", async () => {
  const { client, sink } = stage;
  const worker = await stage.worker("quiet", tracing);
  await stage.apply(
    httpTool("ping", "/ping", { effect: "read" }),
    agent("pinger", [{ when: "turn == 1", toolCalls: [{ name: "ping", arguments: {} }] }, { output: {} }], {
      tools: ["ping"],
    }),
    ...single("pinger"),
  );
  const unsampled = "5bf92f3577b34da6a3ce929d0e0e4736";
  const run = await client.workflow("pinger").invoke({}, { traceparent: `00-${unsampled}-${CALLER.spanId}-00` });
  await run.result();
  expect(sink.calls("/ping").map(({ headers }) => headers["traceparent"])).toEqual([
    expect.stringMatching(new RegExp(`^00-${unsampled}-[0-9a-f]{16}-00$`)),
  ]);
  const next = await client.workflow("pinger").invoke();
  await next.result();
  await traceOf(
    next.id,
    (all) => all.some(({ name }) => name === "run pinger") && all.some(({ name }) => name === "execute pinger"),
  );
  expect(collector.spans.filter(({ traceId }) => traceId === unsampled)).toEqual([]);
  await worker.stop();
});

test("with tracing off nothing is sent, tools are told no trace, and the run has one all the same", async () => {
  const quiet = await startOtlpReceiver();
  const off = { OTEL_EXPORTER_OTLP_ENDPOINT: quiet.url, OTEL_BSP_SCHEDULE_DELAY: "100" };
  const silent = await startStage({ env: off });
  const worker = await silent.worker("silent", {
    ...off,
    ORLOJ_COMMAND_PATH: `${dirname(process.execPath)}:/usr/bin:/bin`,
  });
  await silent.apply(
    httpTool("ping", "/ping", { effect: "read" }),
    agent("pinger", [{ when: "turn == 1", toolCalls: [{ name: "ping", arguments: {} }] }, { output: {} }], {
      tools: ["ping"],
    }),
    ...single("pinger"),
  );
  const run = await silent.client.workflow("pinger").invoke();
  await run.result();
  expect((await run.get()).traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(silent.sink.calls("/ping").map(({ headers }) => headers["traceparent"])).toEqual([undefined]);
  await worker.stop();
  await silent.server.stop();
  expect(quiet.requests).toBe(0);
});

test("a server that is told to trace what it cannot says why", async () => {
  const refused = async (env: Record<string, string>) => {
    const { code, stderr } = await runOrloj(["server", "--home", "/nowhere"], { env });
    return { code, stderr };
  };
  expect(await refused({ ORLOJ_TRACING: "jaeger" })).toEqual({
    code: 2,
    stderr: expect.stringContaining('ORLOJ_TRACING must be otlp or off, not "jaeger"'),
  });
  expect(await refused({ ORLOJ_TRACING: "otlp", OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" })).toEqual({
    code: 2,
    stderr: expect.stringContaining("spans are sent by http/protobuf"),
  });
});

// Agents that are endpoints or programs, through real processes: success, repetition with one key after a failure and after a killed
// worker, denial without a request, an end with everything that was started, and no secret in what is told. And their examples.

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { TaskState } from "../../sdk/index.ts";
import { type RunningProcess, startProcess } from "../harness/processes.ts";
import { policy, single } from "./documents.ts";
import { nameOf, split, startStage } from "./stage.ts";

const ROOT = join(import.meta.dirname, "../..");
const TOKEN = "canary-agent-token-5e1f";
const BACKOFF = { initial: "10ms", max: "20ms", jitter: "none" };

const service = startProcess(process.execPath, [join(ROOT, "examples/http-agent/agent.mjs")], {
  env: { TRIAGE_PORT: "0", TRIAGE_TOKEN: TOKEN },
});
const [, url = ""] = await service.waitFor(/ready url=(\S+)/);
const stage = await startStage({ env: { ORLOJ_SECRET_TRIAGE_URL: url, ORLOJ_SECRET_TRIAGE_TOKEN: TOKEN } });
const workers: Record<string, RunningProcess> = { w1: await stage.worker("w1"), w2: await stage.worker("w2") };
const { client, sink } = stage;

type Spec = Readonly<Record<string, unknown>>;

function outside(name: string, runtime: "http" | "command", block: Spec, spec: Spec = {}) {
  const agent = { runtime, [runtime]: block, outputSchema: { type: "object" }, ...spec };
  return [{ apiVersion: "orloj.dev/v1", kind: "Agent", metadata: { name }, spec: agent }, ...single(name)];
}

const endpoint = (name: string, spec: Spec = {}) =>
  outside(
    name,
    "http",
    {
      url: `\${{ secret.sink.url }}/${name}`,
      headers: { Authorization: "Bearer ${{ secret.triage.token }}" },
      allowPrivateNetwork: true,
    },
    spec,
  );

const program = (name: string, source: string, spec: Spec = {}, env: Spec = {}) =>
  outside(name, "command", { argv: [process.execPath, "--input-type=module", "-e", source], env }, spec);

async function onlyTask(runId: string) {
  const { tasks } = await client.workflows.listTasks({ runId });
  expect(tasks).toHaveLength(1);
  return tasks[0] as NonNullable<(typeof tasks)[0]>;
}

test("the examples run as they are shipped: an endpoint opens one ticket for a task, a program answers the same in both languages", async () => {
  for (const folder of ["examples/http-agent", "examples/command-agent"]) {
    const files = readdirSync(join(ROOT, folder)).filter((name) => name.endsWith(".yaml"));
    await stage.apply(...files.map((name) => readFileSync(join(ROOT, folder, name), "utf8")));
  }
  const ticket = await client.workflow("ticket-triage").invoke({ text: "I was charged twice" });
  expect(await ticket.result()).toEqual({ ticket: 1, route: "billing" });
  expect((await client.workflows.getTask({ taskId: (await onlyTask(ticket.id)).id })).turns).toEqual([]);
  const key = (await onlyTask(ticket.id)).id;
  const headers = { authorization: `Bearer ${TOKEN}`, "idempotency-key": key };
  const again = await fetch(url, { method: "POST", headers, body: '{"text": "I was charged twice"}' });
  expect(await again.json()).toEqual({ ticket: 1, route: "billing" });
  expect((await fetch(url, { method: "POST", body: "{}" })).status).toBe(401);

  const text = "A worker holds a lease. The lease ends with the worker.";
  const keywords = { words: 11, keywords: ["lease", "worker", "ends"] };
  expect(await (await client.workflow("keywords").invoke({ text })).result()).toEqual(keywords);
  const python = spawnSync("python3", [join(ROOT, "examples/command-agent/agent.py")], {
    input: JSON.stringify({ text, limit: 3 }),
    encoding: "utf8",
  });
  // The program in Python needs Python, which the product does not.
  if (python.error === undefined) expect(JSON.parse(python.stdout)).toEqual(keywords);
});

test("an endpoint that fails is asked again with the same key and the next attempt, and what it echoes of a secret is redacted", async () => {
  sink.respond("/flaky", ({ headers }, number) => {
    const body = JSON.stringify({ number, saw: headers.authorization });
    return { status: number < 3 ? 500 : 200, body };
  });
  const retry = { on: ["AgentUnavailable"], maxAttempts: 3, backoff: BACKOFF };
  await stage.apply(...endpoint("flaky", { errorHandling: { retry } }));
  const run = await client.workflow("flaky").invoke({ question: "why" });
  expect(await run.result()).toEqual({ number: 3, saw: "Bearer [redacted]" });
  const task = await onlyTask(run.id);
  const calls = sink.calls("/flaky");
  expect(calls.map(({ body }) => body)).toEqual(Array(3).fill('{"question":"why"}'));
  expect(calls.map(({ headers }) => [headers["idempotency-key"], headers["orloj-task-id"]])).toEqual(
    Array(3).fill([task.id, task.id]),
  );
  expect(calls.map(({ headers }) => headers["orloj-attempt"])).toEqual(["1", "2", "3"]);
  expect(new Set(calls.map(({ headers }) => headers.traceparent?.slice(0, 35))).size).toBe(1);
  const [retrying] = await stage.trail(run, "task.retrying");
  expect(retrying?.detail.failure).toEqual({
    class: "AgentUnavailable",
    message: 'the endpoint answered 500: {"number":1,"saw":"Bearer [redacted]"}',
  });
});

test("an endpoint whose worker is killed is asked again by another one, with the same key and attempt: at least once", async () => {
  sink.hold("/lasting");
  await stage.apply(...endpoint("lasting"));
  const run = await client.workflow("lasting").invoke();
  await sink.waitForCount("/lasting", 1);
  const { held, otherName } = split(workers, await stage.holder(run));
  held?.signal("SIGKILL");
  await sink.waitForCount("/lasting", 2);
  sink.release("/lasting");
  expect(await run.result()).toMatchObject({ ok: true });
  const task = await onlyTask(run.id);
  expect(task).toMatchObject({ worker: otherName, attempt: 1, deliveries: 1 });
  const told = sink.calls("/lasting").map(({ headers }) => [headers["idempotency-key"], headers["orloj-attempt"]]);
  expect(told).toEqual([
    [task.id, "1"],
    [task.id, "1"],
  ]);
  for (const name of Object.keys(workers)) if (name !== otherName) workers[name] = await stage.worker(name);
});

test("an agent that policy denies is not asked, and its task ends POLICY_DENIED", async () => {
  await stage.apply(
    ...endpoint("barred"),
    policy("nobody-runs-barred", {
      ...{ attachTo: [{ kind: "Agent", name: "barred" }], checkpoints: ["agent.run"] },
      allow: { match: { "requester.groups": ["nobody"] } },
    }),
  );
  const run = await client.workflow("barred").invoke();
  await expect(run.result()).rejects.toMatchObject({ state: "POLICY_DENIED" });
  expect(sink.count("/barred")).toBe(0);
  expect(await stage.trail(run, "task.denied")).toHaveLength(1);
});

test("a cancel and a timeout end a program with everything that it started", async () => {
  // Each process holds a request open: its end is seen as a connection that breaks.
  const family = (name: string) => `
    import { spawn } from "node:child_process";
    process.on("SIGTERM", () => undefined);
    const hang = 'process.on("SIGTERM", () => undefined); await fetch(process.env.SINK + "/${name}-child")';
    spawn(process.execPath, ["--input-type=module", "-e", hang], { stdio: "ignore" });
    await fetch(process.env.SINK + "/${name}-parent");`;
  const env = { SINK: "${{ secret.sink.url }}" };
  for (const path of ["/user-child", "/user-parent", "/time-child", "/time-parent"]) sink.hold(path);
  await stage.apply(
    ...program("user", family("user"), {}, env),
    ...program(
      "time",
      family("time"),
      { limits: { timeout: "4s" }, errorHandling: { retry: { on: [] }, onExhausted: "fail" } },
      env,
    ),
  );
  const user = await client.workflow("user").invoke();
  await Promise.all([sink.waitForCount("/user-child", 1), sink.waitForCount("/user-parent", 1)]);
  await user.cancel();
  await Promise.all([sink.waitForAbort("/user-child"), sink.waitForAbort("/user-parent")]);
  await expect(user.result()).rejects.toMatchObject({ state: "CANCELLED" });

  const time = await client.workflow("time").invoke();
  await sink.waitForAbort("/time-parent");
  await expect(time.result()).rejects.toMatchObject({ state: "FAILED" });
  expect(await onlyTask(time.id)).toMatchObject({ failure: { class: "Timeout" } });
});

test("what does not fit or does not run fails the task in its class, and nothing that was printed tells a secret", async () => {
  const errorHandling = { onExhausted: "fail" };
  const env = { TOKEN: "${{ secret.triage.token }}" };
  const says = "console.error('with ' + process.env.TOKEN);";
  await stage.apply(
    ...program(
      "misfit",
      `${says} console.log('{"token": "' + process.env.TOKEN + '"}')`,
      {
        ...{ errorHandling, outputSchema: { type: "object", required: ["route"] } },
      },
      env,
    ),
    ...program("broken", `${says} process.exit(9)`, { errorHandling: { ...errorHandling, retry: { on: [] } } }, env),
  );
  await stage.apply(
    ...outside("inward", "http", { url: stage.server.api, allowPrivateNetwork: true }, { errorHandling }),
  );
  const failures = [];
  for (const name of ["misfit", "broken", "inward"]) {
    const run = await client.workflow(name).invoke();
    await expect(run.result()).rejects.toMatchObject({ state: "FAILED" });
    const { state, failure } = await onlyTask(run.id);
    failures.push([nameOf(TaskState, state), failure?.class, failure?.message]);
  }
  expect(failures).toEqual([
    ["FAILED", "OutputInvalid", expect.stringContaining("does not fit the agent's outputSchema")],
    ["FAILED", "AgentFailed", "the command exited with 9: with [redacted]"],
    ["FAILED", "AgentInvalid", expect.stringContaining("the address of the endpoint is refused")],
  ]);
  const printed = [stage.server, ...Object.values(workers)]
    .map(({ output }) => output.stdout + output.stderr)
    .join("\n");
  expect(printed).not.toContain(TOKEN);
  const { records } = await client.audit.listAuditRecords({ filter: {}, pageSize: 1_000 });
  expect(records.map(({ recordJson }) => recordJson).join("\n")).not.toContain(TOKEN);
});

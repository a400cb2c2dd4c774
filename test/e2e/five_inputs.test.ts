// Each of the five inputs of a decision flips it, with everything else equal: agent, requester, tool, context, time. Allowed is one
// call at the tool's service; denied is none, a decision on record, and a task that is terminal and not tried again.

import { beforeAll, expect, test } from "vitest";
import { createClient, type OrlojClient, type RunHandle } from "../../sdk/index.ts";
import { runOrloj } from "../harness/processes.ts";
import { effect, expectDenied, RETRY } from "./denials.ts";
import { agent, httpTool, policy, single } from "./documents.ts";
import { type Stage, startStage } from "./stage.ts";

const HOUR_MS = 3_600_000;

let stage: Stage;
let engineer: OrlojClient;

beforeAll(async () => {
  stage = await startStage({ args: ["--dev-groups", "developers"] });
  await stage.worker("w1");
  const words = ["token", "create", "--name", "erin", "--role", "invoker", "--group", "engineering"];
  const { code, stdout } = await runOrloj(words, { server: stage.server });
  expect(code).toBe(0);
  engineer = createClient({ endpoint: stage.server.api, token: stdout.trim() });
});

const attached = (name: string) => ({ attachTo: [{ kind: "Tool", name }], checkpoints: ["tool.call"] });

/** The run's one call arrived, and the next denied one is seen against this count. */
async function expectAllowed(run: RunHandle, path: string): Promise<void> {
  const before = stage.sink.count(path);
  expect(before).toBeLessThanOrEqual(1);
  expect(await run.result()).toEqual({ ok: true });
  expect(stage.sink.count(path)).toBe(1);
}

async function expectNoCall(run: RunHandle, path: string, decision: object): Promise<void> {
  const before = stage.sink.count(path);
  const recorded = await expectDenied(stage, run);
  expect(recorded).toMatchObject({ allowed: false, ...decision });
  expect(recorded.verdicts.length).toBeGreaterThanOrEqual(1);
  expect(stage.sink.count(path)).toBe(before);
}

test("agent: the same tool for the same requester, called by another agent", async () => {
  const caller = (name: string) => [
    agent(name, [{ when: "turn == 1", toolCalls: [{ name: "ship", arguments: {} }] }, { output: { ok: true } }], {
      tools: ["ship"],
      ...RETRY,
    }),
    ...single(name),
  ];
  await stage.apply(
    httpTool("ship", "/ship", { effect: "write" }),
    ...caller("trusted"),
    ...caller("stranger"),
    policy("ship-by-trusted", { ...attached("ship"), allow: { match: { "agent.names": ["trusted"] } } }),
  );
  await expectNoCall(await stage.client.workflow("stranger").invoke(), "/ship", { reason: "not_permitted" });
  expect(stage.sink.count("/ship")).toBe(0);
  await expectAllowed(await stage.client.workflow("trusted").invoke(), "/ship");
});

test("requester: the same workflow, invoked by somebody else", async () => {
  const engineers = { match: { "requester.groups": ["engineering"] } };
  await stage.apply(...effect("deploy"), policy("deploy-engineering", { ...attached("deploy"), allow: engineers }));
  const denied = await stage.client.workflow("deploy").invoke();
  await expectNoCall(denied, "/deploy", { reason: "not_permitted" });
  expect((await denied.get()).requester).toMatchObject({ id: "dev", groups: ["developers"] });
  expect(stage.sink.count("/deploy")).toBe(0);
  const allowed = await engineer.workflow("deploy").invoke();
  await expectAllowed(allowed, "/deploy");
  expect((await allowed.get()).requester).toMatchObject({ id: "erin", groups: ["engineering"] });
});

test("tool: the same agent, workflow and policy, calling another tool", async () => {
  const script = [
    ...["lend", "seize"].map((name) => ({
      when: `turn == 1 && input.tool == "${name}"`,
      toolCalls: [{ name, arguments: { n: 1 } }],
    })),
    { output: { ok: true } },
  ];
  const parameters = { type: "object", properties: { tool: { type: "string" } } };
  await stage.apply(
    ...["lend", "seize"].map((name) => httpTool(name, `/${name}`, { effect: "write" })),
    agent("clerk", script, { tools: ["lend", "seize"], ...RETRY }),
    ...single("clerk", { parameters }),
    policy("no-seizing", {
      attachTo: ["lend", "seize"].map((name) => ({ kind: "Tool", name })),
      checkpoints: ["tool.call"],
      // It reads the arguments, so that nothing is decided before the call.
      deny: { all: [{ match: { "tool.names": ["seize"] } }, { cel: "args.n > 0" }] },
    }),
  );
  await expectNoCall(await stage.client.workflow("clerk").invoke({ tool: "seize" }), "/seize", { reason: "forbidden" });
  expect(stage.sink.count("/seize")).toBe(0);
  await expectAllowed(await stage.client.workflow("clerk").invoke({ tool: "lend" }), "/lend");
});

test("context: the same workflow and requester, with another tag", async () => {
  const [tool, caller, system] = effect("report") as [object, object, object];
  const [, template] = single("report", { tags: { "customer-id": { from: "request" } } });
  const allow = { match: { "context.tags": { "customer-id": ["123"] } } };
  await stage.apply(tool, caller, system, template as object, policy("report-123", { ...attached("report"), allow }));
  const invoke = (id: string) => stage.client.workflow("report").invoke({}, { tags: { "customer-id": id } });
  await expectNoCall(await invoke("999"), "/report", { reason: "not_permitted" });
  expect(stage.sink.count("/report")).toBe(0);
  await expectAllowed(await invoke("123"), "/report");
});

const at = (offsetMs: number) => new Date(Date.now() + offsetMs).toISOString();
/** One hour a day that begins so many hours from now. */
const daily = (hours: number) => ({
  cron: `0 ${new Date(Date.now() + hours * HOUR_MS).getUTCHours()} * * *`,
  ...{ duration: "2h", timeZone: "Etc/UTC" },
});

test.each([
  ["interval", () => ({ from: at(-2 * HOUR_MS), to: at(-HOUR_MS) }), () => ({ from: at(-HOUR_MS), to: at(HOUR_MS) })],
  ["cron", () => daily(6), () => daily(-1)],
])("time: the same call in and out of a window (%s)", async (name, past, covering) => {
  const tool = `switch-${name}`;
  const within = (window: object) => policy(tool, { ...attached(tool), allow: { time: { in: [window] } } });
  await stage.apply(...effect(tool), within(past()));
  await expectNoCall(await stage.client.workflow(tool).invoke(), `/${tool}`, { reason: "not_permitted" });
  expect(stage.sink.count(`/${tool}`)).toBe(0);
  await stage.apply(within(covering()));
  await expectAllowed(await stage.client.workflow(tool).invoke(), `/${tool}`);
  // And back: a maintenance window that is on denies what just went through.
  await stage.apply(policy(tool, { ...attached(tool), deny: { time: { in: [covering()] } } }));
  await expectNoCall(await stage.client.workflow(tool).invoke(), `/${tool}`, { reason: "forbidden" });
});

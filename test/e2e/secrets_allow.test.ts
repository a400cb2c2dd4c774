// A list of secrets by namespace, on real processes: refused when manifests are applied, refused when the list is tightened later,
// and a server that is given a wrong list does not start.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../harness/folders.ts";
import { runOrloj, startServer } from "../harness/processes.ts";
import { RETRY } from "./denials.ts";
import { agent, httpTool, policy, single } from "./documents.ts";
import { stageOf, startStage } from "./stage.ts";

// Two servers, two workers and two verbs, one after the other.
const TEST_MS = 120_000;

async function listFile(allow: object): Promise<string> {
  const file = join(await temporaryFolder("allow"), "orloj.yaml");
  writeFileSync(file, JSON.stringify({ secrets: { allow } }));
  return file;
}

const script = [{ when: "turn == 1", toolCalls: [{ name: "pay", arguments: {} }] }, { output: { ok: true } }];
const paying = [
  httpTool("pay", "/pay", { effect: "write" }),
  agent("pay", script, { tools: ["pay"], ...RETRY }),
  ...single("pay"),
];

test("a list that is tightened refuses what is applied then, and fails what was applied before without a call or a retry", {
  timeout: TEST_MS,
}, async () => {
  const before = await startStage({ args: ["--config", await listFile({ default: ["sink/*"] })] });
  await before.apply(...paying);
  const worker = await before.worker("w");
  expect(await (await before.client.workflow("pay").invoke()).result()).toEqual({ ok: true });
  expect(before.sink.count("/pay")).toBe(1);
  await worker.stop();
  await before.server.stop();

  const { home, databaseUrl } = before.server;
  const server = await startServer({
    ...{ home, ...(databaseUrl !== undefined && { databaseUrl }) },
    args: ["--config", await listFile({ payments: ["sink/url"] })],
    env: { ORLOJ_SECRET_SINK_URL: before.sink.url },
  });
  const after = stageOf(server, before.sink);
  await after.worker("w2");
  const run = await after.client.workflow("pay").invoke();
  const why = "secret sink/url may not be used in namespace default; an operator has to allow it";
  await expect(run.result()).rejects.toMatchObject({
    failure: { class: "SecretForbidden", message: expect.stringContaining(`tool pay: ${why}`) },
  });
  expect(after.sink.count("/pay")).toBe(1);
  expect(await after.trail(run, "task.retrying")).toEqual([]);
  expect(await after.trail(run, "tool.granted")).toEqual([]);

  const folder = await temporaryFolder("manifests");
  writeFileSync(join(folder, "again.yaml"), JSON.stringify(httpTool("again", "/again", { effect: "read" })));
  writeFileSync(
    join(folder, "policy.yaml"),
    JSON.stringify(policy("any", { attachTo: [], allow: { exists: "requester.id" } })),
  );
  const applied = await runOrloj(["apply", "-f", folder], { server });
  expect(applied).toMatchObject({ code: 1, stderr: expect.stringContaining("E-SECRET-FORBIDDEN") });
  expect(applied.stderr).toContain(why);
  expect((await runOrloj(["get", "policies", "-o", "json"], { server })).stdout).not.toContain('"any"');
});

test("a server with a list that is none ends with the place of the mistake", async () => {
  const file = await listFile({ payments: "pay/token" });
  const home = await temporaryFolder("h");
  const ended = await runOrloj(["server", "--config", file], { env: { ORLOJ_HOME: home } });
  expect(ended).toMatchObject({ code: 2, stderr: expect.stringMatching(/E-CONFIG-INVALID.*orloj\.yaml:1:\d+/s) });
});

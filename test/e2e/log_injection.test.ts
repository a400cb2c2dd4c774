// Hostile text from callers, tools, commands and models, through real processes: one log line an event, and nothing that a terminal
// obeys, in the logs of server and worker and in what the command prints.

import { expect, test } from "vitest";
import { OrlojError } from "../../sdk/index.ts";
import { runOrloj } from "../harness/processes.ts";
import { asks, calls } from "./canary_tools.ts";
import { commandTool, httpTool } from "./documents.ts";
import { startStage } from "./stage.ts";

const FORGED = { time: "2026-01-01T00:00:00.000Z", level: "error", event: "forged", message: "forged" };
const HOSTILE = `x\r\n${JSON.stringify(FORGED)}\n12:00:00 error forged\u001b[2J\u009b31m\u2028\u202egro\u200bw`;
// What no line of a log and no line on a terminal may hold.
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e]/;

test("one line an event, whatever tags, results, errors, and answers hold", async () => {
  const stage = await startStage({ args: ["--log-level", "debug"] });
  const { client, sink, server } = stage;
  const worker = await stage.worker("w", { ORLOJ_LOG_LEVEL: "debug" });
  sink.respond("/plain", () => ({ headers: { "content-type": "text/plain" }, body: HOSTILE }));
  sink.respond("/broken/v1/chat/completions", () => {
    return { status: 400, body: JSON.stringify({ error: { message: HOSTILE, code: HOSTILE } }) };
  });
  const write = `process.stderr.write(${JSON.stringify(HOSTILE)}); process.exitCode = 3`;
  await stage.apply(
    httpTool("plain", "/plain", { effect: "read" }),
    ...calls("plain"),
    commandTool("fails", ["node", "-e", write], { retry: { maxAttempts: 1 } }),
    ...calls("fails", { ref: "fails", onError: "fail" }, {}),
    ...asks("broken", sink.url, {}, false),
  );
  const metadata = { note: HOSTILE };
  const plain = await client.workflow("plain").invoke({}, { metadata });
  expect(JSON.stringify(await plain.result())).toContain("forged");
  const broken = await client.workflow("broken").invoke({}, { metadata });
  await expect(broken.result()).rejects.toMatchObject({ failure: { class: "ModelRefused" } });
  const fails = await client.workflow("fails").invoke({}, { metadata });
  const { taskId } = await stage.record("task.dead_lettered", ({ runId }) => runId === fails.id);
  const unknown = await client.workflow(HOSTILE).invoke().catch(OrlojError.from);
  expect(unknown).toBeInstanceOf(OrlojError);
  await worker.waitFor(/task failed/);

  const events = server.output.stderr.trimEnd().split("\n");
  expect(events.filter((line) => OBEYED.test(line))).toEqual([]);
  expect(events.map((line) => (JSON.parse(line) as { event: string }).event)).not.toContain("forged");
  const told = worker.output.stderr.trimEnd().split("\n");
  expect(told.some((line) => line.includes("forged"))).toBe(true);
  for (const line of told) {
    expect(line).toMatch(/^\d\d:\d\d:\d\d (debug|info |warn |error) [a-z]/);
    expect(line).not.toMatch(OBEYED);
  }

  const verbs = [
    ["describe", "run", plain.id],
    ["describe", "run", broken.id],
    ["dead-letters", "show", taskId],
    ["dead-letters", "list"],
    ["audit", "list", "--run", broken.id],
    ["invoke", "plain", "--wait", "-m", `note=${HOSTILE}`],
    ["invoke", HOSTILE],
  ];
  for (const words of verbs) {
    const { stdout, stderr } = await runOrloj(words, { server });
    for (const line of `${stdout}\n${stderr}`.split("\n")) {
      expect([words[0], line]).toEqual([words[0], expect.not.stringMatching(OBEYED)]);
      expect(line).not.toMatch(/^(\{"time"|12:00:00 error)/);
    }
  }
});

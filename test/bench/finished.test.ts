// How the driver learns that runs have ended: in any order with the answer of their invocation, and never past a run that failed.

import { expect, test } from "vitest";
import { followFinishedRuns } from "../../bench/finished.ts";
import type { OrlojClient } from "../../sdk/index.ts";

type Told = { readonly kind: string; readonly runId: string; readonly recordJson: string };

const ended = (runId: string): Told => ({
  ...{ kind: "task.succeeded", runId },
  recordJson: '{"transitions":[{"from":"RUNNING","of":"run","to":"SUCCEEDED"}]}',
});

// A client whose audit trail is this list, after which it stays open.
function clientOf(records: readonly Told[]) {
  async function* watchAuditRecords(_request: unknown, { signal }: { signal: AbortSignal }) {
    yield { records };
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  }
  return { audit: { watchAuditRecords } } as unknown as OrlojClient;
}

test("a run that ended before anybody waited for it resolves at once; a task that is not the last ends nothing", async () => {
  const finished = followFinishedRuns(clientOf([{ ...ended("a"), recordJson: "{}" }, ended("b")]));
  const early = await Promise.race([finished.of("b"), finished.broken]);
  expect(early).toBe(undefined);
  const a = finished.of("a").then(() => "ended");
  expect(await Promise.race([a, new Promise((resolve) => setImmediate(() => resolve("goes on")))])).toBe("goes on");
  finished.close();
});

test.each(["task.failed", "task.denied", "task.dead_lettered", "task.timed_out", "run.stopping", "run.finished"])(
  "%s fails the benchmark",
  async (kind) => {
    const finished = followFinishedRuns(clientOf([{ kind, runId: "c", recordJson: "{}" }]));
    await expect(finished.broken).rejects.toThrow("run c did not succeed");
    finished.close();
  },
);

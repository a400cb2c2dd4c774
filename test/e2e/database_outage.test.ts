// The database that two replicas share is killed and comes back: no process ends, both serve again within five seconds, and what was
// under way goes on without a repetition.

import { expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { type EmbeddedPostgres, startEmbedded } from "../../server/storage/embedded/start.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { startCountingServer } from "../harness/counting_server.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { type ServerProcess, startServer } from "../harness/processes.ts";
import { agent, httpTool, single } from "./documents.ts";
import { stageOf } from "./stage.ts";

/** Promised time from the first connection that the database takes to a ready replica. */
const SERVING_MS = 5_000;
const AWAY_MS = 3_000;
const clock = systemClock();

test("kill -9 of the database under two replicas: both serve again within 5 s, the run goes on, nothing is repeated", {
  timeout: 120_000,
}, async () => {
  const sink = await startCountingServer();
  const home = await temporaryFolder("p");
  const starts: EmbeddedPostgres[] = [];
  const startPostgres = async () => {
    const settings = { max_connections: "60" };
    starts.push(await startEmbedded({ home, clock, log: () => undefined, settings }));
    return starts.at(-1) as EmbeddedPostgres;
  };
  atEndOfFile(async () => {
    for (const started of starts.toReversed()) await started.stop();
  });
  const { url, pid } = await startPostgres();
  const start = () =>
    startServer({
      ...{ databaseUrl: url, args: ["--lease-ttl", "4s"], env: { ORLOJ_SECRET_SINK_URL: sink.url } },
    });
  const replicas = [await start(), await start()] as const;
  const stage = stageOf(replicas[0], sink);
  const worker = await stage.worker("w1");
  sink.hold("/kept");
  await stage.apply(
    httpTool("kept", "/kept", { effect: "write" }),
    agent("keeper", [{ when: "turn == 1", toolCalls: [{ name: "kept", arguments: {} }] }, { output: { kept: true } }], {
      tools: ["kept"],
    }),
    ...single("keeper"),
  );
  const run = await stage.client.workflow("keeper").invoke();
  await sink.waitForCount("/kept", 1);

  process.kill(pid, "SIGKILL");
  sink.release("/kept");
  await expect.poll(() => Promise.all(replicas.map(isReady)), { timeout: 10_000 }).toEqual([false, false]);
  await clock.sleep(AWAY_MS);
  expect((await startPostgres()).url).toBe(url);
  const backAt = clock.monotonic();
  const serving = await Promise.all(
    replicas.map(async (replica) => {
      while (!(await isReady(replica)) && clock.monotonic() - backAt < 4 * SERVING_MS) await clock.sleep(50);
      return clock.monotonic() - backAt;
    }),
  );
  expect(Math.max(...serving)).toBeLessThan(SERVING_MS);

  expect(await stage.client.run(run.id).result()).toEqual({ kept: true });
  expect(sink.count("/kept")).toBe(1);
  const again = await stageOf(replicas[1], sink).client.workflow("keeper").invoke();
  expect(await again.result()).toEqual({ kept: true });
  expect(sink.count("/kept")).toBe(2);
  expect(await worker.stop()).toMatchObject({ code: 0 });
  expect(await Promise.all(replicas.map((replica) => replica.stop()))).toMatchObject([{ code: 0 }, { code: 0 }]);
});

async function isReady({ ops }: ServerProcess): Promise<boolean> {
  return (await fetch(`${ops}/readyz`)).ok;
}

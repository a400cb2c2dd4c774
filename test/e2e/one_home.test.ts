// Two servers with one home: the settings of CLI and workers follow the newest, and go back when it stops.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runOrloj, startServer } from "../harness/processes.ts";

test("a server that stops hands the settings of its home back to an earlier one that answers, and only then", async () => {
  const first = await startServer();
  const databaseUrl = first.databaseUrl as string;
  const named = () =>
    (JSON.parse(readFileSync(join(first.home, "config.json"), "utf8")) as { endpoint: string }).endpoint;
  const second = await startServer({ home: first.home, databaseUrl });
  expect(named()).toBe(second.api);
  await second.stop();
  expect(named()).toBe(first.api);
  expect(await runOrloj(["workers"], { env: { ORLOJ_HOME: first.home } })).toMatchObject({ code: 0 });
  // One that was replaced leaves the file to the newer one.
  const third = await startServer({ home: first.home, databaseUrl });
  await first.stop();
  expect(named()).toBe(third.api);
  // Nobody is left to hand it to.
  await third.stop();
  expect(named()).toBe(third.api);
});

// A benchmark that is interrupted: it ends and leaves neither a folder nor a process, which the harness of the tests looks for too.

import { expect, test } from "vitest";
import { startProcess } from "../harness/processes.ts";

test("after SIGTERM nothing is left", async () => {
  const run = startProcess(process.execPath, ["bench/main.ts", "--warm-up", "1000000", "--json"]);
  await run.waitFor(/noop: warming up: \d+ of 1000000 runs/);
  run.signal("SIGTERM");
  expect(await run.ended).toEqual({ code: 143, signal: null });
  expect(run.output.stdout).toBe("");
  expect(run.output.stderr).toContain("bench: SIGTERM, cleaning up");
});

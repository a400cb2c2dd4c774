// A chaos run that is interrupted: it ends soon and leaves neither its folder nor a process, which the harness of the tests looks for too.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startProcess } from "../harness/processes.ts";
import { until } from "./waiting.ts";

test.each(["SIGINT", "SIGTERM"] as const)("after %s nothing is left", async (signal) => {
  const run = startProcess(process.execPath, ["test/chaos/main.ts", "--profile", "try", "--seed", "1"]);
  const [, folder = ""] = await run.waitFor(/evidence in (\S+)/);
  expect(await until(() => existsSync(join(folder, "races")) || undefined, 10_000)).toBe(true);
  run.signal(signal);
  expect(await run.ended).toEqual({ code: 130, signal: null });
  expect(run.output.stderr).toBe("chaos: interrupted; cleaning up\n");
  expect(existsSync(folder)).toBe(false);
});

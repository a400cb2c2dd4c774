// The README's five minutes, line by line, in a clean clone: what a newcomer types is what is run.
// The clone is of the last commit. Ports are free ones, by the documented variables; state stays in the clone.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../harness/folders.ts";
import { type RunningProcess, startProcess } from "../harness/processes.ts";

const ROOT = join(import.meta.dirname, "../..");
const FIVE_MINUTES_MS = 300_000;
const START_TIMEOUT_MS = 60_000;
const ENV = { ORLOJ_API_PORT: "0", ORLOJ_WORKER_PORT: "0", ORLOJ_OPS_PORT: "0" };

function fiveMinutes(): string[] {
  const section = readFileSync(join(ROOT, "README.md"), "utf8").split("\n## Five minutes\n")[1] ?? "";
  const block = /```sh\n([\s\S]*?)```/.exec(section)?.[1] ?? "";
  return block
    .trim()
    .split("\n")
    .map((line) => line.replace(/\s+#.*$/, ""));
}

test(
  "the README's lines run in a clean clone within five minutes, applying starts nothing, and nothing is left",
  async () => {
    const [server, worker, apply, invoke, ...more] = fiveMinutes();
    expect(more).toEqual([]);
    const begin = performance.now();
    const clone = join(await temporaryFolder("c"), "orloj");
    const start = (line: string, cwd = clone): RunningProcess =>
      startProcess("sh", ["-c", `exec ${line}`], { cwd, env: ENV, group: true });
    const run = async (line: string, cwd = clone): Promise<string> => {
      const running = start(line, cwd);
      const { code } = await running.ended;
      expect({ line, code, ...running.output }).toMatchObject({ code: 0 });
      return running.output.stdout;
    };

    await run(`git clone --quiet "${ROOT}" "${clone}"`, ROOT);
    await run("npm ci --prefer-offline --no-audit --no-fund");
    const serverProcess = start(server as string);
    await serverProcess.waitFor(/\bready\b/, START_TIMEOUT_MS);
    const workerProcess = start(worker as string);
    await workerProcess.waitFor(/\bready\b/, START_TIMEOUT_MS);

    expect(await run(apply as string)).toContain("release-notes");
    expect(await run("npx orloj runs -o json")).not.toContain("run_");
    expect(await run("npx orloj audit list --kind run. -o json")).not.toContain("run.created");

    expect(await run(invoke as string)).toContain("SUCCEEDED");
    expect(performance.now() - begin).toBeLessThan(FIVE_MINUTES_MS);

    const { endpoint } = JSON.parse(readFileSync(join(clone, ".orloj/config.json"), "utf8")) as { endpoint: string };
    // Ctrl-C in both terminals.
    for (const running of [workerProcess, serverProcess]) {
      running.signal("SIGINT");
      await running.ended;
    }
    // Whatever else is left, processes and files, the end of the test run finds.
    await expect(fetch(endpoint)).rejects.toThrow();
  },
  FIVE_MINUTES_MS,
);

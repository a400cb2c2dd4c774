// The worker as a process: its ready line, its exit codes, its signals.

import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { PlayedServer, type PlayedStream } from "./played_server.ts";

const MAIN = join(import.meta.dirname, "../../worker/main.ts");
const SCRIPT = `import { runWorker } from ${JSON.stringify(MAIN)};
process.exitCode = await runWorker(process.argv.slice(1), process.env);`;

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Running {
  readonly child: ChildProcessWithoutNullStreams;
  stdout: string;
  stderr: string;
  readonly exited: Promise<number | null>;
}

function start(argv: string[], env: Record<string, string> = { ORLOJ_JOIN_TOKEN: "join-me" }): Running {
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", SCRIPT, "--", ...argv], {
    env: {
      PATH: process.env.PATH ?? "",
      TEST_RUN_FOLDER: process.env.TEST_RUN_FOLDER ?? "",
      ORLOJ_HOME: "/nowhere",
      ...env,
    },
  });
  const exited = once(child, "close").then(([code]) => code as number | null);
  const running: Running = { child, stdout: "", stderr: "", exited };
  child.stdout.on("data", (chunk) => {
    running.stdout += chunk;
  });
  child.stderr.on("data", (chunk) => {
    running.stderr += chunk;
  });
  closers.push(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  return running;
}

async function ready(): Promise<{ running: Running; stream: PlayedStream }> {
  const server = new PlayedServer();
  await server.listen();
  closers.push(() => server.close());
  const running = start(["--server", server.endpoint, "--name", "w1", "--slots", "3"]);
  const stream = await server.stream();
  const line = once(running.child.stdout, "data");
  stream.welcome();
  await line;
  return { running, stream };
}

async function holdTask(stream: PlayedStream): Promise<void> {
  const view = {
    agents: {
      a: {
        name: "a",
        spec: {
          runtime: "model",
          model: { provider: "scripted", name: "m", script: [{ text: "late", delayMs: 60_000 }] },
          systemPrompt: "",
          limits: { maxTurns: 1, maxToolCalls: 1, timeoutMs: 60_000, maxOutputBytes: 100 },
        },
        tools: [],
      },
    },
  };
  const assignment = { sequence: 1n, taskId: "task_1", token: "token_1", viewDigest: "d", agent: "a", inputJson: "{}" };
  stream.send({ case: "assign", value: { assignments: [assignment] } });
  await stream.next("fetchViews");
  stream.send({ case: "views", value: { views: [{ digest: "d", viewJson: JSON.stringify(view) }] } });
  await stream.next("credit", (credit) => credit.freeSlots === 2);
}

test("prints one ready line, and ends with 0 and a goodbye on SIGTERM", async () => {
  const { running, stream } = await ready();
  expect(running.stdout).toBe("worker w1 ready (session ses_1, 3 slots)\n");
  running.child.kill("SIGTERM");
  await stream.next("goodbye");
  expect(await running.exited).toBe(0);
  expect(running.stderr).not.toContain("join-me");
});

test("a signal that comes again later ends it at once with 1", async () => {
  const { running, stream } = await ready();
  await holdTask(stream);
  running.child.kill("SIGTERM");
  await stream.next("credit", (credit) => credit.freeSlots === 0);
  // A repetition within a second is the same signal, as npx sends it; the first one after that counts.
  const again = setInterval(() => running.child.kill("SIGTERM"), 300);
  expect(await running.exited).toBe(1);
  clearInterval(again);
});

test("a configuration that cannot work ends with 2 and says what to do", async () => {
  const running = start([], { ORLOJ_JOIN_TOKEN: "join-me", ORLOJ_WORKER_SLOTZ: "3" });
  expect(await running.exited).toBe(2);
  expect(running.stderr).toBe(
    "error[E-CONFIG-INVALID]: unknown environment variable ORLOJ_WORKER_SLOTZ; check the spelling\n",
  );
});

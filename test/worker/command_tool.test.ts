// The command tool: no shell, an environment of its own, bounded output, and a process group that ends with the call.

import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { Redactor } from "../../kit/redactor.ts";
import { createCommandExecutor } from "../../worker/tool/command.ts";
import type { CommandMeans, ToolRun } from "../../worker/tool/executor.ts";
import { MemoryWatch } from "../../worker/tool/memory_watch.ts";
import { alive } from "./alive.ts";

let folder = "";
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "command-")));
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Options {
  readonly timeoutMs?: number;
  readonly resultBytesMax?: number;
  readonly signal?: AbortSignal;
  readonly commandPath?: string;
  readonly redactor?: Redactor;
  readonly memory?: MemoryWatch;
}

function run(means: Partial<CommandMeans> & { argv: string[] }, options: Options = {}): Promise<ToolRun> {
  const executor = createCommandExecutor({
    clock: systemClock(),
    commandPath: options.commandPath ?? "/usr/local/bin:/usr/bin:/bin",
    workDir: folder,
    ...(options.memory && { memory: options.memory }),
  });
  return executor.run({
    means: { kind: "command", env: {}, workDir: "", ...means },
    timeoutMs: options.timeoutMs ?? 20_000,
    resultBytesMax: options.resultBytesMax ?? 10_000,
    redactor: options.redactor ?? new Redactor(),
    signal: options.signal ?? new AbortController().signal,
  });
}

const stdoutOf = (ended: ToolRun) => (ended.ok ? String((ended.result as { stdout: string }).stdout) : "");
const failure = (failureClass: string, ambiguous: boolean) => ({
  ok: false,
  failure: { class: failureClass, ambiguous },
});

test("arguments reach the command as they are: nothing is a shell's", async () => {
  const hostile = ["; touch x", "$(id)", "`id`", "*", "a\nb", "|cat", "&& true", "~", "'\""];
  const result = await run({ argv: ["printf", "%s|", ...hostile] });
  expect(result).toEqual({ ok: true, result: { stdout: `${hostile.join("|")}|`, exitCode: 0 } });
});

test("the environment is what the means give and PATH", async () => {
  process.env.CANARY_FOR_COMMANDS = "canary";
  const result = await run({ argv: ["/usr/bin/env"], env: { KEY: "v" } });
  delete process.env.CANARY_FOR_COMMANDS;
  expect(result).toMatchObject({ ok: true, result: { stdout: "PATH=/usr/local/bin:/usr/bin:/bin\nKEY=v\n" } });
});

test("stdin comes in and a JSON object on stdout becomes the result", async () => {
  expect(await run({ argv: ["cat"], stdin: Buffer.from(' {"a": [1]}\n') })).toEqual({ ok: true, result: { a: [1] } });
  expect(await run({ argv: ["echo", "7"] })).toEqual({ ok: true, result: { stdout: "7\n", exitCode: 0 } });
  expect(await run({ argv: ["true"], stdin: Buffer.alloc(1_000_000) })).toMatchObject({ ok: true });
});

test.each([["no-such-command"], ["bin/true"], ["../true"], ["/no/such"], ["/etc/passwd"], ["/tmp"], [""], ["a\0b"]])(
  "%j is CommandNotFound",
  async (name) => {
    expect(await run({ argv: [name] })).toMatchObject(failure("CommandNotFound", false));
  },
);

test("a relative entry of the command path is not searched", async () => {
  writeFileSync(join(folder, "mine"), "#!/bin/sh\necho mine\n");
  chmodSync(join(folder, "mine"), 0o755);
  expect(await run({ argv: ["mine"] }, { commandPath: ".:" })).toMatchObject(failure("CommandNotFound", false));
  expect(await run({ argv: ["mine"] }, { commandPath: folder })).toMatchObject({ ok: true });
});

test("an argument with NUL is refused", async () => {
  expect(await run({ argv: ["echo", "a\0b"] })).toMatchObject(failure("CommandNotFound", false));
});

test("the work directory lies inside the worker's, symlinks followed", async () => {
  mkdirSync(join(folder, "in"));
  symlinkSync("/etc", join(folder, "out"));
  symlinkSync(join(folder, "in"), join(folder, "alias"));
  expect(await run({ argv: ["pwd"], workDir: "in" })).toMatchObject({ result: { stdout: `${folder}/in\n` } });
  expect(await run({ argv: ["pwd"], workDir: "alias" })).toMatchObject({ result: { stdout: `${folder}/in\n` } });
  for (const workDir of ["out", "..", "../..", "in/../..", "/etc", "missing", "a\0b"]) {
    expect(await run({ argv: ["pwd"], workDir })).toMatchObject(failure("WorkDirForbidden", false));
  }
});

test("an exit status says what the command said, without the secrets that it was given", async () => {
  const redactor = new Redactor();
  redactor.learn("canary-value");
  const argv = ["/bin/sh", "-c", 'echo "bad key $KEY of $USER" >&2; exit 3'];
  const result = await run({ argv, env: { KEY: "canary-value", USER: "somebody" } }, { redactor });
  expect(result).toMatchObject(failure("ExitStatus", false));
  expect(result).toMatchObject({ failure: { message: "the command exited with 3: bad key [redacted] of somebody" } });
});

test("a secret that the end of a long output begins in the middle of is still left out", async () => {
  const redactor = new Redactor();
  redactor.learn(`canary-${"é".repeat(40)}-value`);
  const script = 'i=0; while [ $i -lt 900 ]; do printf x; i=$((i+1)); done; printf "%s" "$KEY$AFTER"; exit 3';
  for (const length of [1, 40, 124, 1_000, 1_020]) {
    const env = { KEY: `canary-${"é".repeat(40)}-value`, AFTER: "y".repeat(length) };
    const result = await run({ argv: ["/bin/sh", "-c", `{ ${script}; } >&2`], env }, { redactor });
    expect(result).toMatchObject(failure("ExitStatus", false));
    expect(JSON.stringify(result)).not.toMatch(/anary|é|-value/);
  }
});

test("a command ended by a signal is Signal", async () => {
  expect(await run({ argv: ["/bin/sh", "-c", "kill -9 $$"] })).toMatchObject(failure("Signal", true));
});

test("endless output ends at the cap", async () => {
  expect(await run({ argv: ["yes"] })).toMatchObject(failure("OutputTooLarge", true));
});

/** Resolves once the folder holds a new file of that name. */
function written(file: string): Promise<void> {
  return new Promise((resolve) => {
    const watcher = watch(folder, (_, name) => {
      if (name !== file) return;
      watcher.close();
      resolve();
    });
  });
}

test.each([
  ["cancel", ""],
  ["cancel of one that ignores SIGTERM", "trap '' TERM; "],
])("%s ends the whole group, grandchildren too", async (_, prelude) => {
  const controller = new AbortController();
  const started = written("pids");
  const script = `${prelude}sleep 600 & echo "$$ $!" > pids.new; mv pids.new pids; wait; wait`;
  const running = run({ argv: ["/bin/sh", "-c", script] }, { signal: controller.signal });
  await started;
  const pids = await run({ argv: ["cat", "pids"] });
  const [leader = 0, grandchild = 0] = stdoutOf(pids).split(" ").map(Number);
  expect([alive(leader), alive(grandchild)]).toEqual([true, true]);
  controller.abort();
  expect(await running).toMatchObject(failure("Cancelled", true));
  await expect.poll(() => alive(leader) || alive(grandchild)).toBe(false);
});

test("a timeout ends a command", async () => {
  expect(await run({ argv: ["sleep", "600"] }, { timeoutMs: 50 })).toMatchObject(failure("Timeout", true));
});

test("what a finished command left behind in its group ends with the call", async () => {
  const result = await run({ argv: ["/bin/sh", "-c", "sleep 600 & echo $!"] });
  const pid = Number(stdoutOf(result));
  expect(pid).toBeGreaterThan(1);
  await expect.poll(() => alive(pid)).toBe(false);
});

test("a call that was stopped before it began starts nothing", async () => {
  const run1 = await run({ argv: ["touch", "made"] }, { signal: AbortSignal.abort() });
  expect(run1).toMatchObject(failure("Cancelled", false));
  expect(await run({ argv: ["ls"] })).toMatchObject({ result: { stdout: "" } });
});

test("a command that holds too much memory ends, children counted; one that does not goes on", async () => {
  const memory = new MemoryWatch(systemClock(), 120_000_000);
  const hoard = (bytes: number) =>
    `const held = Buffer.alloc(${bytes}, 1); setTimeout(() => { console.log(held.length); process.exit(0); }, 2000);`;
  const node = process.execPath;
  const small = await run({ argv: [node, "-e", hoard(1_000_000)] }, { memory });
  expect(stdoutOf(small)).toBe("1000000\n");
  expect(await run({ argv: [node, "-e", hoard(200_000_000)] }, { memory })).toMatchObject(
    failure("MemoryExceeded", true),
  );
  const family = `for (const _ of [1, 2]) require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(hoard(60_000_000))}], { stdio: "ignore" });
    setTimeout(() => {}, 20000);`;
  expect(await run({ argv: [node, "-e", family] }, { memory })).toMatchObject(failure("MemoryExceeded", true));
});

// Completion: what the command offers, in a real bash, quickly, and silently where nobody answers.
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { expect, test, vi } from "vitest";
import { type Clock, systemClock } from "../../kit/clock.ts";
import { runOf, type Script, startScriptedServer } from "../sdk/scripted_server.ts";
import { runVerb, temporaryFolder } from "./run_orloj.ts";

vi.setConfig({ testTimeout: 90_000 });

const SCRIPT: Script = {
  manifests: {
    listResources: ({ kind, namespace }) => ({
      resources: ["refund", "release"].map((name) => ({
        kind: kind || "Tool",
        namespace: namespace || "support",
        name,
      })),
    }),
  },
  workflows: { listRuns: () => ({ runs: [runOf("run_1"), runOf("run_2")] }) },
  fleet: {
    listWorkers: () => ({ workers: [{ name: "w1", sessionId: "ses_1", state: "active", slots: 4 }] }),
    listLeases: () => ({ leases: [{ taskId: "task_1", node: "n", worker: "w1" }] }),
  },
  deadLetters: { listDeadLetters: () => ({ deadLetters: [{ taskId: "task_9", cause: "attempts", workflow: "w" }] }) },
};

const values = (out: string) =>
  out
    .split("\n")
    .filter(Boolean)
    .map((line) => line.split("\t")[0]);

test.each([
  [["ru"], ["runs"]],
  [
    ["dead-letters", ""],
    ["list", "show", "replay", "discard"],
  ],
  [["config", "use"], ["use-context"]],
  [
    ["get", ""],
    ["agents", "systems", "tools", "policies", "workflows", "all"],
  ],
  [
    ["get", "tools", "re"],
    ["refund", "release"],
  ],
  [["get", "tools", "ref"], ["refund"]],
  [
    ["get", "tool/re"],
    ["tool/refund", "tool/release"],
  ],
  [
    ["describe", "run", ""],
    ["run_1", "run_2"],
  ],
  [["describe", "worker", ""], ["w1"]],
  [
    ["invoke", ""],
    ["refund", "release"],
  ],
  [
    ["cancel", ""],
    ["run_1", "run_2"],
  ],
  [["drain", ""], ["w1"]],
  [["revoke", ""], ["task_1"]],
  [["dead-letters", "replay", ""], ["task_9"]],
  [["runs", "--state", "F"], ["FAILED"]],
  [
    ["runs", "--workflow", ""],
    ["refund", "release"],
  ],
  [["runs", "-n", ""], ["support"]],
  [
    ["runs", "-o", ""],
    ["table", "wide", "name", "json"],
  ],
  [["runs", "--wa"], ["--watch"]],
  [["-o", "json", "runs", "--wa"], ["--watch"]],
  [["completion", "z"], ["zsh"]],
  [["apply", "-f", ""], [":files"]],
  [["restore", ""], [":files"]],
  [["version", ""], []],
  [["nonsense", ""], []],
] as const)("after orloj %j may come %j", async (words, wanted) => {
  await using server = await startScriptedServer(SCRIPT);
  // However long a busy machine takes: how long is waited is another test's affair.
  const clock = { ...systemClock(), after: () => () => undefined };
  const ended = await runVerb(["__complete", "--", ...words], { endpoint: server.endpoint, clock });
  expect(ended).toMatchObject({ code: 0, err: "" });
  expect(values(ended.out)).toEqual(wanted);
});

test("every verb is offered, and the hidden one is not; contexts are named without a server", async () => {
  using folder = temporaryFolder();
  const env = { HOME: folder.path };
  await runVerb(["config", "set-context", "prod", "--server", "https://x.example"], { env });
  const ended = await runVerb(["__complete", "--", ""], { env });
  expect(values(ended.out)).toEqual(expect.arrayContaining(["server", "runs", "wait", "completion"]));
  expect(values(ended.out)).not.toContain("__complete");
  expect(values((await runVerb(["__complete", "--", "--context", ""], { env })).out)).toEqual(["local", "prod"]);
  expect(values((await runVerb(["__complete", "--", "config", "use-context", "p"], { env })).out)).toEqual(["prod"]);
});

test("a server that is away offers nothing and says nothing; one that never answers is waited for 200 ms", async () => {
  const silent = createServer(() => undefined);
  await new Promise<void>((done) => silent.listen(0, "127.0.0.1", done));
  const { port } = silent.address() as { port: number };
  const waits: number[] = [];
  const clock: Clock = {
    ...systemClock(),
    after(delayMs, callback) {
      waits.push(delayMs);
      setImmediate(callback);
      return () => undefined;
    },
  };
  for (const endpoint of ["http://127.0.0.1:9", `http://127.0.0.1:${port}`]) {
    expect(await runVerb(["__complete", "--", "cancel", ""], { endpoint, clock })).toEqual({
      code: 0,
      out: "",
      err: "",
    });
  }
  expect(waits).toEqual([200, 200]);
  silent.close();
  silent.unref();
});

test("the token command of a context is not run for a completion", async () => {
  using folder = temporaryFolder();
  const env = { HOME: folder.path };
  const marker = join(folder.path, "ran");
  await runVerb(
    ["config", "set-context", "x", "--server", "http://127.0.0.1:9", "--token-command", `touch ${marker}`, "--use"],
    { env },
  );
  await runVerb(["__complete", "--", "cancel", ""], { env });
  expect(() => execFileSync("test", ["-e", marker])).toThrow();
});

test("in bash, words are completed as they are typed, and a folder-like one gets no space", async () => {
  using folder = temporaryFolder();
  await using server = await startScriptedServer(SCRIPT);
  const script = (await runVerb(["completion", "bash"])).out;
  writeFileSync(join(folder.path, "completion.bash"), script);
  const bin = resolve(import.meta.dirname, "../../bin/orloj.ts");
  writeFileSync(join(folder.path, "orloj"), `#!/bin/sh\nexec "${process.execPath}" "${bin}" "$@"\n`, { mode: 0o755 });
  const complete = (...words: string[]) => {
    const line = `source ./completion.bash
      COMP_WORDS=(orloj ${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length}
      _orloj_complete; printf '%s\\n' "\${COMPREPLY[@]}"; complete -p orloj`;
    const { stdout, stderr, status } = spawnSync("bash", ["--norc", "-c", line], {
      ...{ cwd: folder.path, encoding: "utf8" as const },
      env: { PATH: `${folder.path}:/usr/bin:/bin`, ORLOJ_SERVER: server.endpoint, HOME: folder.path },
    });
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    return stdout.split("\n").filter((word) => word !== "" && !word.startsWith("complete -F _orloj_complete"));
  };
  // The scripted server lives in this process: it answers only between two commands, so names are not asked for here.
  expect(complete("ru")).toEqual(["runs"]);
  expect(complete("runs", "--state", "T")).toEqual(["TIMED_OUT"]);
  expect(complete("get", "")).toContain("workflows");
  expect(complete("config", "get")).toEqual(["get-contexts"]);
});

test.each(["bash", "zsh", "fish"])("the script for %s is sound, for a shell that is here", async (shell) => {
  const { out, code } = await runVerb(["completion", shell]);
  expect(code).toBe(0);
  expect(out).toContain("__complete");
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, "script"), out);
  const checked = spawnSync(shell, ["-n", join(folder.path, "script")], { encoding: "utf8" });
  const missing = (checked.error as NodeJS.ErrnoException | undefined)?.code === "ENOENT";
  expect(missing ? 0 : checked.status).toBe(0);
});

test("another shell is refused with those that there are", async () => {
  expect(await runVerb(["completion", "tcsh"])).toMatchObject({
    code: 2,
    err: expect.stringContaining("bash, zsh, fish"),
  });
});

// Every blueprint as a user takes it up: made by `orloj init`, run by the commands of its own README, invoked by SDK.
// Nothing but the public CLI and SDK touches the control plane. What each must do is in blueprints/, one file a blueprint.
// The commands run as they stand; npx, which would look for the command in a package, is a file that runs what it is given.

import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { NodeState, RunFailedError, type RunHandle } from "../../sdk/index.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { runOrloj, startProcess } from "../harness/processes.ts";
import type { BlueprintCase } from "./blueprints/blueprint_case.ts";
import { governedDeployment } from "./blueprints/governed_deployment.ts";
import { hierarchical } from "./blueprints/hierarchical.ts";
import { incidentTriage } from "./blueprints/incident_triage.ts";
import { pipeline } from "./blueprints/pipeline.ts";
import { reviewLoop } from "./blueprints/review_loop.ts";
import { type SandboxProcess, startSandbox } from "./blueprints/sandbox.ts";
import { supportDesk } from "./blueprints/support_desk.ts";
import { swarm } from "./blueprints/swarm.ts";
import { nameOf, type Stage, startStage } from "./stage.ts";

const ROOT = join(import.meta.dirname, "../..");
// A README has up to ten commands, each a process or two; a loaded machine takes seconds for one.
const README_TIMEOUT_MS = 240_000;

const CASES: Readonly<Record<string, BlueprintCase>> = {
  "governed-deployment": governedDeployment,
  hierarchical,
  "incident-triage": incidentTriage,
  pipeline,
  "review-loop": reviewLoop,
  "support-desk": supportDesk,
  swarm,
};

let stage: Stage;
let sandbox: SandboxProcess;
let folder: string;

beforeAll(async () => {
  sandbox = await startSandbox();
  stage = await startStage({ env: sandbox.env, leaseTtl: "30s" });
  folder = await temporaryFolder("b");
  await mkdir(join(folder, "bin"));
  await writeFile(join(folder, "bin/npx"), '#!/bin/sh\nexec "$@"\n');
  await chmod(join(folder, "bin/npx"), 0o755);
  // Tools that read files find them in the folders that init makes.
  const env = { ORLOJ_WORK_DIR: folder };
  await Promise.all([stage.worker("w1", env), stage.worker("w2", env)]);
});

/** Runs commands in one shell, each of which has to end well: what one exports, the next has. */
async function session(commands: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const path = [join(folder, "bin"), join(ROOT, "node_modules/.bin"), process.env["PATH"]].join(":");
  const env = { PATH: path, ORLOJ_HOME: stage.server.home, ORLOJ_SERVER: stage.server.api };
  const running = startProcess("sh", ["-ex"], { cwd: folder, env, stdin: `${commands.join("\n")}\n` });
  const { code } = await running.ended;
  return { code, ...running.output };
}

/** The commands of the first block under a heading, without comments. */
function commandsUnder(heading: string, readme: string): string[] {
  const section = readme.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? "";
  const block = /^```sh\n([\s\S]*?)^```/m.exec(section)?.[1] ?? "";
  const lines = block.split("\n").map((line) => line.replace(/\s+#.*$/, ""));
  return lines.filter((line) => line !== "");
}

async function endOf(run: RunHandle): Promise<{ state: string; output?: unknown }> {
  try {
    return { state: "SUCCEEDED", output: await run.result() };
  } catch (error) {
    if (error instanceof RunFailedError) return { state: error.state };
    throw error;
  }
}

test("orloj init --list names every blueprint that has a case, and no other", async () => {
  const { stdout } = await runOrloj(["init", "--list", "-o", "json"]);
  const { items } = JSON.parse(stdout) as { items: { name: string; summary: string }[] };
  expect(items.map(({ name }) => name)).toEqual(Object.keys(CASES).sort());
});

// Before anything else has happened to them and to the sandbox; side by side, for most of it is starting processes.
describe.concurrent("made by init, every command of the README ends well", () => {
  test.each(Object.keys(CASES))(
    "%s",
    async (name) => {
      const namespace = `my-${name}`;
      const made = await runOrloj(["init", namespace, "--blueprint", name, "-o", "json"], { cwd: folder });
      expect(made).toMatchObject({ code: 0, stderr: "" });
      const readme = await readFile(join(folder, namespace, "README.md"), "utf8");
      const first = commandsUnder("Run it", readme);
      expect((JSON.parse(made.stdout) as { next: string[] }).next).toEqual(first);
      expect(first).toHaveLength(3);
      const tests = commandsUnder("Test it", readme);
      expect(tests.length).toBeGreaterThan(1);
      const ended = await session([...first, ...tests]);
      expect(ended).toMatchObject({ code: 0 });
      const stored = ended.stdout.match(/^created .*$/gm) ?? [];
      expect(stored.length).toBeGreaterThan(3);
      expect(stored.filter((line) => !line.includes(`/${namespace}/`))).toEqual([]);
    },
    README_TIMEOUT_MS,
  );
});

describe.each(Object.entries(CASES))("invoked by SDK, %s", (name, runs) => {
  test.each(runs.map((run) => [run.shows, run] as const))("%s", async (_, expected) => {
    const { workflow, parameters = {}, tags = {}, person, state = "SUCCEEDED", output, nodes, also } = expected;
    const options = { tags, ...(person === undefined ? {} : { onBehalfOf: person }) };
    const template = stage.client.workflow(workflow, { namespace: `my-${name}` });
    const run = await template.invoke(parameters as never, options);
    expect(await endOf(run)).toEqual(output === undefined ? expect.objectContaining({ state }) : { state, output });
    const ended = await run.get();
    expect(Object.fromEntries(ended.nodes.map((node) => [node.name, nameOf(NodeState, node.state)]))).toEqual(nodes);
    await also?.(stage, run, sandbox);
  });
});

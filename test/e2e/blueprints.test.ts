// Every blueprint as a user takes it up: made by `orloj init`, applied and run by the lines of its own README, invoked by SDK.
// Nothing but the public CLI and SDK touches the control plane. What each must do is in blueprints/, one file a blueprint.
// The lines run as they stand; npx, which would look for the command in a package, is a file that runs what it is given.

import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { NodeState, RunFailedError, type RunHandle } from "../../sdk/index.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { runOrloj, startProcess } from "../harness/processes.ts";
import type { BlueprintCase } from "./blueprints/blueprint_case.ts";
import { hierarchical } from "./blueprints/hierarchical.ts";
import { pipeline } from "./blueprints/pipeline.ts";
import { reviewLoop } from "./blueprints/review_loop.ts";
import { swarm } from "./blueprints/swarm.ts";
import { nameOf, type Stage, startStage } from "./stage.ts";

const ROOT = join(import.meta.dirname, "../..");
// A README has up to ten lines, each a process or two; a loaded machine may take seconds for one.
const README_TIMEOUT_MS = 120_000;

const CASES: Readonly<Record<string, BlueprintCase>> = {
  hierarchical,
  pipeline,
  "review-loop": reviewLoop,
  swarm,
};

let stage: Stage;
let folder: string;

beforeAll(async () => {
  const env = Object.assign({}, ...Object.values(CASES).map(({ serverEnv }) => serverEnv));
  stage = await startStage({ env, leaseTtl: "30s" });
  folder = await temporaryFolder("b");
  await mkdir(join(folder, "bin"));
  await writeFile(join(folder, "bin/npx"), '#!/bin/sh\nexec "$@"\n');
  await chmod(join(folder, "bin/npx"), 0o755);
  await Promise.all([stage.worker("w1"), stage.worker("w2")]);
});

/** Runs a line of a README in a shell. */
async function sh(line: string): Promise<{ line: string; code: number | null; stdout: string; stderr: string }> {
  const path = [join(folder, "bin"), join(ROOT, "node_modules/.bin"), process.env["PATH"]].join(":");
  const env = { PATH: path, ORLOJ_HOME: stage.server.home, ORLOJ_SERVER: stage.server.api };
  const running = startProcess("sh", ["-c", line], { cwd: folder, env });
  const { code } = await running.ended;
  return { line, code, ...running.output };
}

/** The lines of the block under a heading, without comments. */
function linesUnder(heading: string, readme: string): string[] {
  const block = new RegExp(`\n## ${heading}\n[\\s\\S]*?\n\`\`\`sh\n([\\s\\S]*?)\`\`\``).exec(readme)?.[1] ?? "";
  const lines = block.split("\n").map((line) => line.replace(/\s+#.*$/, ""));
  return lines.filter((line) => line !== "");
}

async function stateOf(run: RunHandle): Promise<{ state: string; output?: unknown }> {
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

describe.each(Object.keys(CASES))("%s", (name) => {
  const namespace = `my-${name}`;

  test(
    "is made by init, and every line of its README ends well",
    async () => {
      const made = await runOrloj(["init", namespace, "--blueprint", name, "-o", "json"], { cwd: folder });
      expect(made).toMatchObject({ code: 0, stderr: "" });
      const { next } = JSON.parse(made.stdout) as { next: string[] };
      const readme = await readFile(join(folder, namespace, "README.md"), "utf8");
      const [apply, ...invocations] = linesUnder("Run it", readme);
      expect(next).toEqual([apply, ...invocations]);
      expect(next.length).toBe(3);
      expect(apply).toBe(`npx orloj apply -f ${namespace}`);

      const applied = await sh(apply as string);
      expect(applied).toMatchObject({ code: 0 });
      const resources = applied.stdout.match(/^created +(\S+)/gm) ?? [];
      expect(resources.filter((line) => !line.includes(`/${namespace}/`))).toEqual([]);
      const tests = linesUnder("Test it", readme);
      expect(tests.length).toBeGreaterThan(1);
      const ends = await Promise.all([...invocations, ...tests].map(sh));
      expect(ends.filter(({ code }) => code !== 0)).toEqual([]);
      expect(ends.map(({ stderr }) => stderr).join("")).not.toContain("warning[");
    },
    README_TIMEOUT_MS,
  );

  const { runs } = CASES[name] as BlueprintCase;
  test.each(runs.map((run) => [run.shows, run] as const))("%s", async (_, expected) => {
    const { workflow, parameters = {}, tags = {}, state = "SUCCEEDED", output, nodes, also } = expected;
    const run = await stage.client.workflow(workflow, { namespace }).invoke(parameters as never, { tags });
    expect(await stateOf(run)).toEqual(output === undefined ? expect.objectContaining({ state }) : { state, output });
    const ended = await run.get();
    expect(Object.fromEntries(ended.nodes.map((node) => [node.name, nameOf(NodeState, node.state)]))).toEqual(nodes);
    await also?.(stage, run);
  });
});

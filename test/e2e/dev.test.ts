// `orloj dev` as a person uses it: one command, nothing set up, a folder that changes, and Ctrl-C.

import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../harness/folders.ts";
import { type RunningProcess, runOrloj, startOrloj } from "../harness/processes.ts";

const START_MS = 90_000;
const STEP_MS = 30_000;

const agent = (text: string) =>
  `apiVersion: orloj.dev/v1\nkind: Agent\nmetadata: {name: greeter}\nspec: {model: {provider: scripted, script: [{output: {text: ${text}}}]}, outputSchema: {type: object}}\n`;
const WORKFLOW = `apiVersion: orloj.dev/v1
kind: AgentSystem
metadata: {name: hello}
spec:
  nodes: [{name: greet, agent: greeter}]
  output: {value: "\${{ nodes.greet.output }}"}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: hello}
spec: {system: hello}
`;
const TOOL = `apiVersion: orloj.dev/v1
kind: Tool
metadata: {name: extra}
spec: {type: command, description: d, command: {argv: [cat]}, inputSchema: {type: object}, effect: read}
`;

/** Does something, and waits for what it says after that. */
async function after(dev: RunningProcess, act: () => void, pattern: RegExp): Promise<void> {
  const { stdout, stderr } = dev.output;
  act();
  await expect
    .poll(() => `${dev.output.stdout.slice(stdout.length)}\n${dev.output.stderr.slice(stderr.length)}`, {
      timeout: STEP_MS,
    })
    .toMatch(pattern);
}

function childrenOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return children === "" ? [] : children.split(" ").map(Number);
}

function lives(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

test("applies what changes, invokes, survives a bad manifest, prunes, and Ctrl-C ends everything", async () => {
  const folder = await temporaryFolder("d");
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  write("workflow.yaml", WORKFLOW);
  write("agent.yaml", agent("first"));
  const dev = startOrloj(["dev", ".", "--invoke", "hello"], { cwd: folder, group: true });
  await dev.waitFor(/ready: server http:\/\/127\.0\.0\.1:\d+, worker dev-worker/, START_MS);
  await dev.waitFor(/applied: 3 changed/, STEP_MS);
  await dev.waitFor(/"text": "first"/, STEP_MS);

  await after(
    dev,
    () => write("agent.yaml", agent("second")),
    /configured +Agent\/default\/greeter[\s\S]*"text": "second"/,
  );
  await after(
    dev,
    () => write("agent.yaml", "kind: Agnet\n"),
    /agent\.yaml:1:7: error\[E-VALUE\][\s\S]*waiting for the next change/,
  );
  await after(dev, () => write("agent.yaml", "{ not yaml"), /error\[E-YAML\][\s\S]*waiting for the next change/);
  await after(dev, () => write("agent.yaml", agent("third")), /"text": "third"/);
  await after(dev, () => write("tool.yaml", TOOL), /created +Tool\/default\/extra/);
  await after(dev, () => rmSync(join(folder, "tool.yaml")), /pruned +Tool\/default\/extra/);

  const home = join(folder, ".orloj-dev");
  const env = { ORLOJ_HOME: home };
  const other = await runOrloj(["invoke", "hello", "--wait", "-o", "json"], { env, cwd: folder });
  expect(JSON.parse(other.stdout)).toMatchObject({ state: "SUCCEEDED", output: { text: "third" } });
  await dev.waitFor(new RegExp(`run +${(JSON.parse(other.stdout) as { id: string }).id} +SUCCEEDED`), STEP_MS);
  expect(readFileSync(join(home, ".gitignore"), "utf8")).toBe("*\n");

  const children = childrenOf(dev.pid);
  expect(children.filter(lives).length).toBeGreaterThanOrEqual(2);
  dev.signal("SIGINT");
  // npx forwards what the terminal sent already.
  dev.signal("SIGINT");
  expect(await dev.ended).toMatchObject({ code: 0 });
  expect(dev.output.stderr).toMatch(/stopping …\n(?:.*\n)*stopped\n$/);
  expect(children.filter(lives)).toEqual([]);
});

test("starts in an empty folder and waits; a signal while it starts ends it; state stays for the next time", async () => {
  const folder = await temporaryFolder("d");
  const first = startOrloj(["dev"], { cwd: folder, group: true });
  await first.waitFor(/starting a server/, STEP_MS);
  first.signal("SIGTERM");
  expect(await first.ended).toMatchObject({ code: 0 });

  const second = startOrloj(["dev"], { cwd: folder, group: true });
  await second.waitFor(/no manifest in .* yet; waiting for one/, START_MS);
  await after(second, () => writeFileSync(join(folder, "tool.yaml"), TOOL), /created +Tool\/default\/extra/);
  second.signal("SIGTERM");
  expect(await second.ended).toMatchObject({ code: 0 });
  expect(existsSync(join(folder, ".orloj"))).toBe(false);

  const third = startOrloj(["dev"], { cwd: folder, group: true });
  await third.waitFor(/applied: nothing changed/, START_MS);
  third.signal("SIGTERM");
  expect(await third.ended).toMatchObject({ code: 0 });
});

// docs/cli.md against the command: every verb with an example, every exit code, options that exist.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test, vi } from "vitest";
import { EXIT } from "../../cli/failure.ts";
import { runOrloj, temporaryFolder } from "./run_orloj.ts";

// Each test starts processes; a loaded machine may take seconds for one.
vi.setConfig({ testTimeout: 30_000 });

const TEXT = readFileSync(resolve(import.meta.dirname, "../../docs/cli.md"), "utf8");

test("every verb that --help lists has its section with an example, and no other does", async () => {
  const { out, code } = await runOrloj(["--help"]);
  const verbs = [...out.slice(out.indexOf("Commands:")).matchAll(/^ {2}([a-z-]+)/gm)].map((match) => match[1]);
  const sections = TEXT.split(/^#{2,3} /m).flatMap(
    (section) => /^([\w-]+)\n[\s\S]*?\n\n {4}orloj \1\b/.exec(section)?.[1] ?? [],
  );
  expect(code).toBe(0);
  expect(sections).toEqual(verbs.filter((verb) => verb !== "help"));
});

test("every exit code is documented, and no other is", () => {
  const rows = [...TEXT.matchAll(/^\| (\d+) \| /gm)].map((match) => Number(match[1]));
  expect(rows).toEqual(Object.values(EXIT).sort((a, b) => a - b));
});

test("validate --offline reads manifests with no server: exit 0 when valid, 1 with positions when not", async () => {
  using folder = temporaryFolder();
  const agent = readFileSync(join(import.meta.dirname, "offline_agent.yaml"), "utf8");
  const validate = (input: string) =>
    runOrloj(["validate", "--offline", "-f", "-"], { directory: folder.path, endpoint: "http://127.0.0.1:9", input });
  const [valid, invalid] = await Promise.all([validate(agent), validate(agent.replace("prompt:", "promt:"))]);
  expect(valid).toEqual({ code: 0, out: "1 file valid\n", err: "" });
  expect(invalid.code).toBe(1);
  expect(invalid.out).toMatch(/^<stdin>:\d+:3: error\[E-UNKNOWN-KEY\] spec\.promt: .*did you mean "prompt"/);
});

test("every finding of orloj doctor is documented, and no other is", () => {
  const root = resolve(import.meta.dirname, "../..");
  const commands = readdirSync(join(root, "server/commands")).filter((name) => name.startsWith("diagnose"));
  const files = [...commands.map((name) => `server/commands/${name}`), "server/home_report.ts", "cli/doctor.ts"];
  const places =
    "client|server|home|database|clock|certificate|disk|workers|queue|runs|dead-letters|policies|secrets|audit";
  const ids = files.flatMap((file) => [
    ...readFileSync(join(root, file), "utf8").matchAll(new RegExp(`"((?:${places})\\.[a-z_-]+)"`, "g")),
  ]);
  const rows = [...readFileSync(join(root, "docs/doctor.md"), "utf8").matchAll(/^\| `([a-z_.-]+)` \|/gm)];
  expect(rows.map((match) => match[1]).sort()).toEqual([...new Set(ids.map((match) => match[1]))].sort());
});

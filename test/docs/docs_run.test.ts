// The harness of the documentation finds what is wrong with a page: pages made for it, without a server.
import { expect, test } from "vitest";
import { checkFences } from "./fences.ts";
import { runPage } from "./page_run.ts";

const fence = (info: string, text: string) => `\`\`\`${info}\n${text}\n\`\`\`\n\n`;
const run = (...blocks: readonly string[]) =>
  runPage("page.md", `<!-- docs-test: server=none -->\n\n${blocks.join("")}`);

test("blocks share variables and the current folder, in what looks like a clone", async () => {
  const result = await run(
    fence("sh", "WORD=hello\nmkdir made && cd made"),
    fence("bash", 'echo "$WORD" from "$(basename "$PWD")"') + fence("text", "hello from made"),
    fence("sh", "cd ..\ntest -d examples/pipeline\ngit log -1 --format=%H | grep -q ."),
    fence("sh", "npx orloj validate --offline -f examples/pipeline"),
  );
  expect(result).toMatchObject({ run: 4, notRun: [], failures: [] });
});

test("exit codes are held to what the lines say", async () => {
  const result = await run(fence("sh", "npx orloj get -f   # exit 2: no such option\nfalse   # exit 1"));
  expect(result.failures).toEqual([]);
  const wrong = await run(fence("sh", "true   # exit 3"));
  expect(wrong.failures).toEqual([expect.stringContaining("this was to end with 3, and ended with 0")]);
});

test("a command that fails is named with its page and line, and what follows is not tried", async () => {
  const result = await run(
    fence("sh", "true"),
    fence("sh", "echo before\nls /nowhere-at-all\ntrue"),
    fence("sh", "true"),
  );
  expect(result).toMatchObject({ run: 2, failures: [expect.stringMatching(/^page\.md:7: ended with 2, in: ls /)] });
});

test("output that is not what the page shows fails", async () => {
  const result = await run(fence("sh", "echo one") + fence("text", "two"));
  expect(result.failures).toEqual([
    expect.stringContaining('page.md:3: nothing fits the shown line "two"; printed:\none'),
  ]);
});

test("a block that takes too long is ended", async () => {
  const result = await run(fence("sh limit=1s", "sleep 50"));
  expect(result.failures).toEqual([expect.stringContaining("took longer than 1 s, in: sleep 50")]);
  expect(result.seconds).toBeLessThan(30);
});

test("what stays is started before the next block, and ended with the page", async () => {
  const program = `node -e 'console.log("ready", process.pid); require("fs").writeFileSync("pid", String(process.pid)); setInterval(() => 0, 1000)'`;
  const result = await run(fence("sh background", program), fence("sh", "kill -0 $(cat pid)"));
  expect(result.failures).toEqual([]);
  const gone = await run(fence("sh background", "echo broken; exit 3"));
  expect(gone.failures).toEqual([expect.stringMatching(/ended with 3 instead of staying:[\s\S]*broken/)]);
});

test("blocks that are not run are counted, read by a shell, and call what exists", async () => {
  const result = await run(
    fence("sh needs=docker", "docker -c orloj compose up -d"),
    fence("sh needs=docker", "if orloj gett; then npm run nothing"),
  );
  expect(result.notRun).toEqual([
    { line: 3, why: "needs docker" },
    { line: 7, why: "needs docker" },
  ]);
  expect(result.failures).toEqual([
    expect.stringContaining("page.md:7: no shell reads this"),
    "page.md:7: there is no verb orloj gett",
    "page.md:7: there is no npm run nothing",
  ]);
});

test("a word that stands for an id needs one", async () => {
  const result = await run(
    fence("sh", "mkdir .orloj && echo '{}' > .orloj/config.json"),
    fence("sh", "orloj describe run RUN"),
  );
  expect(result.failures).toHaveLength(1);
});

test("packages are not installed by a page", async () => {
  const result = await run(fence("sh", "npm ci"));
  expect(result.failures).toEqual([expect.stringContaining("npm ci is not run: tag its block with needs=network")]);
});

test("manifests are validated, YAML and JSON parsed, TypeScript compiled", async () => {
  const manifest = "apiVersion: orloj.dev/v1\nkind: WorkflowTemplate\nmetadata: {name: w}\nspec: {system: elsewhere}";
  const good = [
    ...[fence("yaml", manifest), fence("yaml", "spec: {a: 1}"), fence("json", '{"a": 1}')],
    fence(
      "ts",
      'import { createClient } from "@orloj/sdk";\nconst orloj = createClient({ endpoint: "http://127.0.0.1:7601" });\nawait orloj.workflow("w").invoke();',
    ),
  ];
  const text = good.join("");
  expect(await checkFences([{ name: "good.md", text }])).toEqual({
    checked: { yaml: 2, json: 1, ts: 1 },
    failures: [],
  });
  const bad = [
    ...[fence("yaml", manifest.replace("system", "sistem")), fence("yaml", "a: [1"), fence("json", "{a}")],
    fence("ts", "const count: number = 'many';"),
  ];
  const { failures } = await checkFences([{ name: "bad.md", text: bad.join("") }]);
  expect(failures).toEqual([
    expect.stringMatching(/^bad\.md:1: .*E-MISSING/),
    expect.stringMatching(/^bad\.md:1: .*E-UNKNOWN-KEY/),
    expect.stringMatching(/^bad\.md:8: /),
    expect.stringMatching(/^bad\.md:12: /),
    expect.stringMatching(/^bad\.md:16: line 1 of the block: error TS2322/),
  ]);
});

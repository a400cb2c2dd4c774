// The documentation, run: `npm run docs:test`. Every block of commands of the README, of docs/ and of the READMEs of examples/ runs against real
// servers and workers; YAML, JSON and TypeScript are validated, parsed and compiled. What could not be run is counted, and may not be much.
// The last lines are `docs: run=N not_run=N failed=N` or, with --json, one JSON object; the exit code is 1 for a failure or too much that is
// not run. How pages are written for it: docs/README.md.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../../scripts/command.ts";
import { checkFences, type Page } from "./fences.ts";
import { closePageFolders } from "./page_folder.ts";
import { type PageResult, runPage } from "./page_run.ts";

const HELP = `Usage: npm run docs:test -- [options] [PAGE…]

  PAGE      a page, such as docs/quickstart.md; all of them unless given
  --json    nothing but the JSON line on stdout
  --jobs N  pages at the same time, 1 to 8; default 2
`;
/** Share of the blocks that may be left out. */
const NOT_RUN_MAX = 0.2;
const say = (line: string) => void process.stderr.write(`${line}\n`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void closePageFolders().finally(() => process.exit(signal === "SIGINT" ? 130 : 143)));
}

try {
  process.exitCode = await main();
} catch (error) {
  say(`docs: ${(error as Error).message}`);
  process.exitCode = 2;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "boolean" },
      jobs: { type: "string", default: "2" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (!/^[1-8]$/.test(values.jobs)) throw new Error(`--jobs: "${values.jobs}" is not a whole number from 1 to 8`);
  const names = positionals.length > 0 ? positionals.map(nameOf) : allPages();
  const pages = names.map((name) => ({ name, text: readFileSync(join(ROOT, name), "utf8") }));
  const started = performance.now();
  const results = await runAll(pages, Number(values.jobs));
  const fences = await checkFences(pages);
  for (const failure of fences.failures) say(`✗ ${failure}`);
  return tell(results, fences, (performance.now() - started) / 1_000, values.json === true, positionals.length === 0);
}

function nameOf(path: string): string {
  if (!existsSync(path))
    throw new Error(`${path}: there is no such page. Next: name pages from the root, such as docs/cli.md`);
  return relative(ROOT, join(process.cwd(), path));
}

/** The README, everything under docs/, and the READMEs of examples/. */
function allPages(): string[] {
  const under = (folder: string, fits: (name: string) => boolean) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => fits(name) && !name.includes("node_modules"))
      .map((name) => join(folder, name))
      .sort();
  const guide = under("docs", (name) => name.endsWith(".md"));
  return ["README.md", ...guide, ...under("examples", (name) => /(^|\/)README\.md$/.test(name))];
}

async function runAll(pages: readonly Page[], jobs: number): Promise<PageResult[]> {
  const waiting = [...pages];
  const results: PageResult[] = [];
  const lane = async () => {
    for (let page = waiting.shift(); page !== undefined; page = waiting.shift()) {
      const result = await runPage(page.name, page.text);
      results.push(result);
      for (const failure of result.failures) say(`✗ ${failure}`);
      if (result.run + result.notRun.length === 0) continue;
      const counts = `${result.run} run, ${result.notRun.length} not run, ${result.seconds.toFixed(1)} s`;
      say(`${result.failures.length === 0 ? "✓" : "✗"} ${page.name}: ${counts}`);
    }
  };
  await Promise.all(Array.from({ length: jobs }, lane));
  return results;
}

function tell(
  results: readonly PageResult[],
  fences: Awaited<ReturnType<typeof checkFences>>,
  seconds: number,
  json: boolean,
  whole: boolean,
): number {
  const run = results.reduce((sum, each) => sum + each.run, 0);
  const left = results.flatMap(({ page, notRun }) => notRun.map((each) => ({ page, ...each })));
  const failed = results.reduce((sum, each) => sum + each.failures.length, fences.failures.length);
  const tooMuch = whole && left.length > NOT_RUN_MAX * (run + left.length);
  if (tooMuch) say(`✗ more than ${NOT_RUN_MAX * 100} % of the blocks are not run`);
  if (!json) {
    for (const { page, line, why } of left) process.stdout.write(`- ${page}:${line} not run: ${why}\n`);
    const kinds = Object.entries(fences.checked).map(([kind, count]) => `${kind}=${count}`);
    process.stdout.write(
      `docs: checked ${kinds.join(" ")}\ndocs: run=${run} not_run=${left.length} failed=${failed}\n`,
    );
  } else {
    const totals = { run, not_run: left.length, failed, ...fences.checked, pages: results.length };
    process.stdout.write(`${JSON.stringify({ ...totals, seconds: Math.round(seconds), left })}\n`);
  }
  return failed === 0 && !tooMuch && (run > 0 || !whole) ? 0 : 1;
}

// Runs the commands of one page, block after block, as a reader would type them: in one place, with a server and a worker.
// Called by main.ts and docs_run.test.ts. A block fails by its exit code, by its time, or by output that is not what the page shows;
// what follows it on the page is then not tried.

import { spawn } from "node:child_process";
import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type CommandBlock, commandBlocks } from "./blocks.ts";
import { withIds } from "./id_words.ts";
import { makePageFolder, type PageFolder } from "./page_folder.ts";
import { difference } from "./shown_output.ts";
import { uncheckedFaults } from "./unrun.ts";

const KILL_GRACE_MS = 2_000;
const OPTIONS = /^<!-- docs-test: (server|worker)=none -->$/gm;
const NEEDS_SERVER = /\borloj\b|127\.0\.0\.1:760[123]/;
const OWN_SERVER = /(^|[\s;&|])orloj server\b(?!.*--help)/m;

/** What became of a page. */
export interface PageResult {
  readonly page: string;
  readonly run: number;
  readonly notRun: readonly { readonly line: number; readonly why: string }[];
  /** At most one a page that fails in running; each begins with page and line. */
  readonly failures: readonly string[];
  readonly seconds: number;
}

/** Runs a page. @param page its name, as it is told; @param text its text */
export async function runPage(page: string, text: string): Promise<PageResult> {
  const started = performance.now();
  const result = (run: number, notRun: PageResult["notRun"], failures: readonly string[]): PageResult => {
    return { page, run, notRun, failures, seconds: (performance.now() - started) / 1_000 };
  };
  let blocks: readonly CommandBlock[];
  try {
    blocks = commandBlocks(text);
  } catch (error) {
    return result(0, [], [`${page}: ${(error as Error).message}`]);
  }
  const unrun = blocks.filter((block) => block.notRun !== undefined);
  const notRun = unrun.map(({ line, notRun: why = "" }) => ({ line, why }));
  const faults = await Promise.all(
    unrun.map(async (block) => ({ block, faults: await uncheckedFaults(block.script) })),
  );
  const failures = faults.flatMap(({ block, faults: found }) => found.map((each) => `${page}:${block.line}: ${each}`));
  const ran = blocks.filter((block) => block.notRun === undefined);
  if (ran.every(({ hidden }) => hidden)) return result(0, notRun, failures);
  const folder = await makePageFolder();
  let done = 0;
  try {
    const failed =
      (await prepare(folder, text, ran)) ?? (await runBlocks(folder, ran, (block) => (done += block.hidden ? 0 : 1)));
    if (failed !== undefined) failures.push(`${page}:${failed}`);
  } finally {
    await folder.close();
  }
  return result(done, notRun, failures);
}

// Server and worker, for pages that use them and do not start their own.
async function prepare(folder: PageFolder, text: string, blocks: readonly CommandBlock[]): Promise<string | undefined> {
  const options = [...text.matchAll(OPTIONS)].map((match) => match[1]);
  const uses = blocks.some(({ script }) => NEEDS_SERVER.test(script) && !OWN_SERVER.test(script));
  const own = blocks.some(({ script }) => OWN_SERVER.test(script));
  if (!uses || own || options.includes("server")) return undefined;
  const worker = options.includes("worker") ? "" : "ORLOJ_PRIVATE_NETWORKS=127.0.0.0/8 orloj worker\n";
  const { code, output } = await shell(folder, `orloj server\n${worker}`, 120);
  return code === 0 ? undefined : `1: the server or the worker of the page does not start:\n${output}`;
}

async function runBlocks(
  folder: PageFolder,
  blocks: readonly CommandBlock[],
  ran: (block: CommandBlock) => void,
): Promise<string | undefined> {
  for (const block of blocks) {
    const failed = await runBlock(folder, block).catch((error: unknown) => (error as Error).message);
    ran(block);
    if (failed !== undefined) return `${block.line}: ${failed}`;
  }
  return undefined;
}

async function runBlock(folder: PageFolder, block: CommandBlock): Promise<string | undefined> {
  const script = expectCodes(await withIds(folder.withPorts(block.script), folder));
  if (block.background) {
    await writeFile(join(folder.state, "stays.sh"), script);
    const { code, output } = await shell(folder, `docs-stay bash -e "$DOCS_STATE/stays.sh"`, block.limitSeconds);
    return code === 0 ? undefined : `ended with ${code} instead of staying:\n${output}`;
  }
  const { code, output, last } = await shell(folder, script, block.limitSeconds);
  if (code === undefined) return `took longer than ${block.limitSeconds} s, in: ${last}\n${output}`;
  if (code !== 0) return `ended with ${code}, in: ${last}\n${output}${await tailOf(folder)}`;
  return block.shown === undefined ? undefined : difference(block.shown, output);
}

/** Lines whose comment begins with "exit N" have to end with N. */
export function expectCodes(script: string): string {
  return script.replace(/^(\S.*?)\s+# exit (\d+)\b.*$/gm, (_, line: string, code: string) => {
    const told = `echo "this was to end with ${code}, and ended with $docs_code"`;
    return `docs_code=0; { ${line}\n} || docs_code=$?; [ "$docs_code" = ${code} ] || { ${told}; exit 1; }`;
  });
}

interface Ended {
  /** undefined: it took too long. */
  readonly code: number | undefined;
  readonly output: string;
  /** The command that came last. */
  readonly last: string;
}

// One shell a block; variables and the current folder go on to the next. Output goes to one file, in the order in which it is written.
async function shell(folder: PageFolder, script: string, limitSeconds: number): Promise<Ended> {
  const file = (name: string) => join(folder.state, name);
  const text = `exec 9>"$DOCS_STATE/trace"
BASH_XTRACEFD=9
set -ae
if [ -f "$DOCS_STATE/variables" ]; then . "$DOCS_STATE/variables"; cd "$OLD_FOLDER"; fi
set -x
${script}
{ set +x; OLD_FOLDER="$PWD"; export -p >"$DOCS_STATE/variables"; } 2>/dev/null
`;
  await writeFile(file("block.sh"), text);
  const output = await open(file("output"), "w");
  const child = spawn("bash", [file("block.sh")], {
    ...{ cwd: folder.clone, env: { ...folder.env }, detached: true },
    stdio: ["ignore", output.fd, output.fd],
  });
  let late = false;
  const kill = (name: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, name);
    } catch {
      // Its group has ended a moment ago.
    }
  };
  folder.endBlock = () => kill("SIGKILL");
  const soft = setTimeout(() => {
    late = true;
    kill("SIGTERM");
  }, limitSeconds * 1_000);
  const hard = setTimeout(() => kill("SIGKILL"), limitSeconds * 1_000 + KILL_GRACE_MS);
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (exit) => resolve(exit ?? 128));
  });
  folder.endBlock = undefined;
  clearTimeout(soft);
  clearTimeout(hard);
  await output.close();
  const trace = await readFile(file("trace"), "utf8").catch(() => "");
  const last =
    trace
      .trimEnd()
      .split("\n")
      .filter((line) => !line.includes("docs_code"))
      .at(-1)
      ?.replace(/^\++ /, "") ?? "";
  return { code: late ? undefined : code, output: await readFile(file("output"), "utf8"), last };
}

async function tailOf(folder: PageFolder): Promise<string> {
  const lines = (await folder.logs()).trimEnd().split("\n").slice(-20);
  return lines.join("") === "" ? "" : `--- the last lines of what stays\n${lines.join("\n")}`;
}

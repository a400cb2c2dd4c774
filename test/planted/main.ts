// `npm run sim -- --planted`: plants each bug in a copy of the tree and demands that its harness catches it, with a witness;
// and that the same harnesses find nothing in an unpatched copy. A patch that no longer applies is a bug that was not caught.

import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Cleanup } from "../../demo/fleet.ts";
import { makeDatabase, startPostgres } from "../sim/postgres_home.ts";
import type { Finding, Harness } from "./harness.ts";
import { applyBug, type PlantedBug, ROOT, readBugs } from "./patches.ts";

const COPIED = [
  "kit",
  "language",
  "tracing",
  "proto/gen",
  "server",
  "test/commands",
  "test/sim",
  "test/planted",
  "package.json",
];
/** Harnesses at the same time. */
const LANES = 2;
const HARNESS_TIMEOUT_MS = 180_000;
const WITNESS_BYTES_MAX = 64 * 1024 * 1024;

interface Trial {
  readonly bug: PlantedBug | undefined;
  readonly harness: Harness;
}

/** What became of a trial: undefined is as it should be. */
interface Judged {
  readonly name: string;
  readonly problem: string | undefined;
}

interface Bench {
  readonly folder: string;
  readonly adminUrl: string;
  readonly signal: AbortSignal;
  readonly progress: (line: string) => void;
}

/** Plants every bug. `problems`: what was not as it should be. */
export async function runPlanted(
  progress: (line: string) => void,
  cleanup: Cleanup,
): Promise<{ planted: number; caught: number; problems: string[] }> {
  const bugs = await readBugs();
  const harnesses = [...new Set(bugs.map((bug) => bug.harness))];
  const trials: Trial[] = [
    ...bugs.map((bug) => ({ bug, harness: bug.harness })),
    ...harnesses.map((harness) => ({ bug: undefined, harness })),
  ];
  const folder = await mkdtemp(join(tmpdir(), "orloj-planted-"));
  cleanup.add(() => rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }));
  const postgres = await startPostgres();
  cleanup.add(() => postgres.stop());
  const stopping = new AbortController();
  cleanup.add(async () => stopping.abort());
  const judged: Judged[] = [];
  const waiting = [...trials];
  const lane = async () => {
    for (let trial = waiting.shift(); trial !== undefined; trial = waiting.shift()) {
      judged.push(await judge(trial, { folder, adminUrl: postgres.adminUrl, signal: stopping.signal, progress }));
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const wrong = judged.filter(({ problem }) => problem !== undefined);
  const missed = wrong.filter(({ name }) => bugs.some((bug) => bug.name === name)).length;
  // An unpatched tree in which something is found says nothing about the bugs: none counts as caught.
  const caught = wrong.length > missed ? 0 : bugs.length - missed;
  return { planted: bugs.length, caught, problems: wrong.map(({ name, problem }) => `${name}: ${problem}`) };
}

async function judge({ bug, harness }: Trial, { folder, adminUrl, signal, progress }: Bench): Promise<Judged> {
  const name = bug?.name ?? `unpatched_${harness}`;
  const tree = join(folder, name);
  await copyTree(tree);
  const unapplied = bug && (await applyBug(bug, tree));
  if (unapplied !== undefined) return { name, problem: unapplied };
  const finding = await runHarness(tree, harness, adminUrl, signal);
  await rm(tree, { recursive: true, force: true });
  if (bug === undefined) {
    progress(`\n${name}: ${finding.rule ?? "nothing found, as it should be"}`);
    for (const line of finding.witness) progress(`  ${line}`);
    return { name, problem: finding.rule === null ? undefined : `found without any bug: ${finding.rule}` };
  }
  progress(`\n${name} (${harness}): ${bug.breaks}`);
  progress(finding.rule === null ? "  NOT CAUGHT" : `  caught: ${finding.rule}`);
  for (const line of finding.witness) progress(`    ${line}`);
  return { name, problem: finding.rule === null ? "was not caught" : undefined };
}

async function copyTree(tree: string): Promise<void> {
  await mkdir(tree, { recursive: true });
  for (const path of COPIED) await cp(join(ROOT, path), join(tree, path), { recursive: true });
  await symlink(join(ROOT, "node_modules"), join(tree, "node_modules"));
}

async function runHarness(tree: string, harness: Harness, adminUrl: string, signal: AbortSignal): Promise<Finding> {
  const database = harness === "memory" ? undefined : await makeDatabase(adminUrl);
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["test/planted/harness.ts", harness, database?.url ?? ""],
      { cwd: tree, timeout: HARNESS_TIMEOUT_MS, maxBuffer: WITNESS_BYTES_MAX, signal },
    );
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Finding;
  } finally {
    await database?.drop();
  }
}

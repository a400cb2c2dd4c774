// The part of `npm run test:netns` that runs in the namespace of the server: starts everything, breaks the network, judges.
// Started by main.ts: `driver.ts LAB NAT [options]`. The last line of standard output is one JSON object; exit 1 for a violation.

import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../../kit/errors.ts";
import { runCleanup } from "../harness/cleanup.ts";
import { CASES, type Figures } from "./cases.ts";
import { Lab } from "./lab.ts";
import { type NetnsOptions, readOptions } from "./options.ts";
import { World } from "./world.ts";

const [id = "", nat = "routes", ...args] = process.argv.slice(2);
const { cutMs, json } = readOptions(args) as NetnsOptions;
const startMs = performance.now();
const violations: string[] = [];
const figures: Record<string, Figures> = {};
const say = (line: string) => {
  if (!json) console.log(`${Math.round((performance.now() - startMs) / 1_000)} s: ${line}`);
};
const violation = (what: string) => {
  violations.push(what);
  console.error(`netns: ${what}`);
};

const lab = Object.assign(new Lab(id), { nat });
const folder = await mkdtemp(join(tmpdir(), "orloj-netns-"));
// Postgres may run as another user, who must be able to pass through.
await chmod(folder, 0o711);
let cleaning: Promise<void> | undefined;
const clean = () => {
  cleaning ??= runCleanup().finally(() =>
    rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }),
  );
  return cleaning;
};
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => void clean().finally(() => process.exit(1)));
}

const world = new World(lab, folder);
try {
  await mkdir(join(folder, "pg"));
  await chmod(join(folder, "pg"), 0o711);
  await world.start();
  say(`the lab ${id} stands; NAT by ${nat}`);
  for (const [name, run] of Object.entries(CASES)) {
    figures[name] = await run({ world, cutMs, violation });
    say(`${name}: ${JSON.stringify(figures[name])}`);
  }
} catch (error) {
  violation(messageOf(error));
  for (const [name, { output }] of world.workers) console.error(`--- worker ${name}\n${output.stderr.slice(-2_000)}`);
  for (const [index, server] of world.servers.entries())
    console.error(`--- server ${index}\n${server?.output.stderr.slice(-4_000)}`);
}
violations.push(...world.unexpectedExits.map((exit) => `ended by itself: ${exit}`));
await clean();
const seconds = Math.round((performance.now() - startMs) / 1_000);
console.log(JSON.stringify({ netns: figures, process_exits: world.unexpectedExits.length, violations, seconds }));
process.exitCode = violations.length === 0 ? 0 : 1;

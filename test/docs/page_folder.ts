// The place in which the commands of a page run: a folder that looks like a clone of this repository, and a path on which `orloj` is this
// tree's command. Called by page_run.ts. What belongs to one page lies in one temporary folder, and goes with it.
// Programs that stay (server, worker, sandbox, dev) go to the background and are noted, so that the page can end them.

import { existsSync } from "node:fs";
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { mustRun, ROOT } from "../../scripts/command.ts";

const READY_SECONDS = 60;
const STOP_SECONDS = 20;
/** What a page may write into is copied; the rest of the tree is linked. */
const COPIED = ["deploy", "docs", "examples"];
const LEFT_OUT = [".git", ".orloj", "dist"];

/** The ports that pages name, and what they are. */
const PORTS = { api: "7601", worker: "7602", ops: "7603", sandbox: "7609" } as const;

/** The place of one page. */
export interface PageFolder {
  /** Looks like a clone; commands begin here. */
  readonly clone: string;
  /** Files of the harness: scripts, output, logs of programs that stay. */
  readonly state: string;
  readonly env: Readonly<Record<string, string>>;
  /** The text with this page's ports in the place of the usual ones. */
  withPorts(text: string): string;
  /** What programs that stay have said. */
  logs(): Promise<string>;
  /** Ends the block that runs now; undefined between blocks. */
  endBlock: (() => void) | undefined;
  /** Ends what runs and what stays, the newest first, and removes everything. */
  close(): Promise<void>;
}

const open = new Set<PageFolder>();

/** Closes the places that are open, as when a signal ends the run. */
export async function closePageFolders(): Promise<void> {
  await Promise.all([...open].map((folder) => folder.close()));
}

/** Makes the place of a page. The clone has the history of HEAD, and the files of the tree as they are. */
export async function makePageFolder(): Promise<PageFolder> {
  const folder = await mkdtemp(join(tmpdir(), "d-"));
  // The user who runs Postgres for root must be able to pass through.
  await chmod(folder, 0o711);
  const at = (name: string) => join(folder, name);
  const [clone, state, bin] = [at("orloj"), at("state"), at("bin")];
  await Promise.all([mkdir(state), mkdir(bin), mkdir(at("home"))]);
  await mustRun("git", ["clone", "--quiet", "--shared", "--no-checkout", ROOT, clone]);
  for (const name of await readdir(ROOT)) {
    if (LEFT_OUT.includes(name)) continue;
    if (COPIED.includes(name)) await cp(join(ROOT, name), join(clone, name), { recursive: true });
    else await symlink(join(ROOT, name), join(clone, name));
  }
  await makePrograms(bin);
  const ports = await freePorts();
  const names = Object.keys(PORTS) as (keyof typeof PORTS)[];
  const made: PageFolder = {
    endBlock: undefined,
    clone,
    state,
    env: {
      ...{ PATH: [bin, join(ROOT, "node_modules/.bin"), process.env["PATH"] ?? ""].join(delimiter) },
      ...{ HOME: at("home"), TMPDIR: state, LANG: "C.UTF-8", NO_COLOR: "1", NODE_NO_WARNINGS: "1" },
      ...{ ORLOJ_API_PORT: ports.api, ORLOJ_WORKER_PORT: ports.worker, ORLOJ_OPS_PORT: ports.ops },
      ...{ DOCS_STATE: state, DOCS_SANDBOX_PORT: ports.sandbox },
    },
    withPorts: (text) =>
      names.reduce((all, name) => all.replace(new RegExp(`\\b${PORTS[name]}\\b`, "g"), ports[name]), text),
    async logs() {
      const files = (await readdir(state)).filter((name) => name.endsWith(".log")).sort();
      const texts = await Promise.all(files.map((name) => readFile(join(state, name), "utf8")));
      return texts.join("");
    },
    async close() {
      open.delete(made);
      made.endBlock?.();
      for (const pid of (await noted(state)).reverse()) await end(pid, state);
      await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    },
  };
  open.add(made);
  return made;
}

async function makePrograms(bin: string): Promise<void> {
  const orloj = `${process.execPath} --import ${join(ROOT, "test/harness/library_of_tree.ts")} ${join(ROOT, "bin/orloj.ts")}`;
  const node = `${process.execPath} --import ${join(ROOT, "test/harness/library_of_tree.ts")}`;
  const programs: Readonly<Record<string, string>> = {
    orloj: `#!/bin/bash
run=(${orloj} "$@")
if [ "$1" = sandbox ]; then run+=(--port "$DOCS_SANDBOX_PORT"); fi
case " $* " in *" --help "* | *" -h "* | *" --env "*) exec "\${run[@]}" ;; esac
case "$1" in server | worker | sandbox | dev) ;; *) exec "\${run[@]}" ;; esac
exec docs-stay "\${run[@]}"
`,
    // Starts a program in a process group of its own, and ends when it is ready: with "ready" in what it says.
    "docs-stay": `#!/bin/bash
log="$DOCS_STATE/$(date +%s%N)-$$.log"
set -m
"$@" >"$log" 2>&1 </dev/null &
pid=$!
echo "$pid" >>"$DOCS_STATE/pids"
for ((tick = 0; tick < ${READY_SECONDS * 10}; tick++)); do
  if grep -qi ready "$log"; then cat "$log"; exit 0; fi
  if ! kill -0 "$pid" 2>/dev/null; then cat "$log"; wait "$pid"; exit $?; fi
  sleep 0.1
done
cat "$log"
echo "not ready within ${READY_SECONDS} s"
exit 1
`,
    // The command of the clone, without asking a registry; and programs of the page on the library of the tree.
    npx: '#!/bin/bash\nif [ "$1" = --package ]; then shift 2; fi\nexec "$@"\n',
    node: `#!/bin/bash\nexec ${node} "$@"\n`,
    npm: `#!/bin/bash
case "$1" in ci | i | install | add | update) echo "docs: npm $1 is not run: tag its block with needs=network"; exit 1 ;; esac
PATH="\${PATH#*:}" exec npm "$@"
`,
  };
  for (const [name, text] of Object.entries(programs)) {
    await writeFile(join(bin, name), text);
    await chmod(join(bin, name), 0o755);
  }
}

/** Ports that were free a moment ago, held together so that they differ. */
async function freePorts(): Promise<Record<keyof typeof PORTS, string>> {
  const names = Object.keys(PORTS) as (keyof typeof PORTS)[];
  const held = await Promise.all(
    names.map(async (name) => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as { port: number };
      return { name, port, server };
    }),
  );
  await Promise.all(held.map(({ server }) => new Promise((resolve) => server.close(resolve))));
  return Object.fromEntries(held.map(({ name, port }) => [name, String(port)])) as Record<keyof typeof PORTS, string>;
}

async function noted(state: string): Promise<number[]> {
  const text = await readFile(join(state, "pids"), "utf8").catch(() => "");
  return text.split("\n").filter(Boolean).map(Number);
}

// Politely, so that a server ends its Postgres and a worker its tools; then whatever is left of its group.
async function end(pid: number, state: string): Promise<void> {
  if (!(await lives(pid, state))) return;
  signal(pid, "SIGTERM");
  for (let tick = 0; tick < STOP_SECONDS * 10 && (await lives(pid, state)); tick += 1) await pause(100);
  if (!signal(-pid, "SIGTERM")) return;
  await pause(500);
  signal(-pid, "SIGKILL");
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// Where there is /proc: a number that now stands for another program, or for one that has ended and that nobody collects, is not ours.
async function lives(pid: number, state: string): Promise<boolean> {
  if (!signal(pid, 0)) return false;
  const environment = await readFile(`/proc/${pid}/environ`, "utf8").catch(() => undefined);
  return environment === undefined ? !existsSync("/proc/self") : environment.includes(state);
}

function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

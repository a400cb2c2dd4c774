// Replays the steps of a Dockerfile in folders, one a stage, without a container engine: COPY and RUN in their order, .dockerignore kept.
// Called by `npm run image:check` (test/deploy/image.test.ts). A stage begins empty: of its base image only Node and npm are there, those that run this script.
// RUN may not name an absolute path: outside of a container it would be one of this machine.

import { spawn } from "node:child_process";
import { chmod, cp, lchown, mkdir, readdir, readFile, stat } from "node:fs/promises";
import { basename, delimiter, dirname, join, posix, relative } from "node:path";
import type { Stage, Step } from "./dockerfile.ts";

const RUN_MS_MAX = 300_000;

/** The last stage, replayed. */
export interface Image {
  /** Folder that stands for / of the image. */
  readonly root: string;
  readonly env: Readonly<Record<string, string>>;
  readonly workdir: string;
  readonly user: { readonly uid: number; readonly gid: number };
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly healthcheck: readonly string[];
  readonly stopSignal: string;
}

/** Replays all stages below folder. @param tell is told each step before it begins @throws Error for a step that fails */
export async function replay(
  stages: readonly Stage[],
  context: string,
  folder: string,
  tell: (line: string) => void,
): Promise<Image> {
  const ignored = ignoring(await readFile(join(context, ".dockerignore"), "utf8"));
  const roots = new Map<string, string>();
  let last: StageRun | undefined;
  for (const [index, stage] of stages.entries()) {
    last = new StageRun(join(folder, stage.name ?? `stage-${index}`), roots, { context, ignored });
    await mkdir(last.root, { recursive: true });
    await chmod(last.root, 0o755);
    for (const step of stage.steps) {
      if (step.kind === "COPY" || step.kind === "RUN") tell(`${stage.name ?? "image"}: ${told(step)}`);
      await last.take(step);
    }
    if (stage.name !== undefined) roots.set(stage.name, last.root);
  }
  if (last === undefined) throw new Error("the Dockerfile has no stage");
  return last;
}

function told(step: Step): string {
  if (step.kind === "COPY") return `COPY ${step.sources.join(" ")} ${step.target}`;
  return step.kind === "RUN" ? `RUN ${step.text}` : step.kind;
}

interface Context {
  readonly context: string;
  readonly ignored: (path: string) => boolean;
}

class StageRun implements Image {
  readonly root: string;
  readonly #roots: ReadonlyMap<string, string>;
  readonly #context: Context;
  env: Record<string, string> = {};
  workdir = "/";
  user = { uid: 0, gid: 0 };
  entrypoint: readonly string[] = [];
  command: readonly string[] = [];
  healthcheck: readonly string[] = [];
  stopSignal = "SIGTERM";

  constructor(root: string, roots: ReadonlyMap<string, string>, context: Context) {
    this.root = root;
    this.#roots = roots;
    this.#context = context;
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case "WORKDIR":
        this.workdir = posix.resolve(this.workdir, step.text);
        await makeFolder(this.root, join(this.root, this.workdir));
        return;
      case "USER": {
        const [, uid, gid] = /^(\d+):(\d+)$/.exec(step.text) ?? [];
        if (uid === undefined) throw new Error(`Dockerfile:${step.line}: USER: write UID:GID in numbers`);
        this.user = { uid: Number(uid), gid: Number(gid) };
        return;
      }
      case "RUN":
        return await this.#run(step.text, step.line);
      case "COPY":
        return await this.#copy(step);
      case "ENV":
        this.env = { ...this.env, ...step.pairs };
        return;
      case "ENTRYPOINT":
        this.entrypoint = step.words;
        return;
      case "CMD":
        this.command = step.words;
        return;
      case "HEALTHCHECK":
        this.healthcheck = step.words;
        return;
      case "STOPSIGNAL":
        this.stopSignal = step.text;
        return;
      case "LABEL":
      case "EXPOSE":
        return;
    }
  }

  async #run(text: string, line: number): Promise<void> {
    if (/(^|[\s=:"'])\/\w/.test(text)) throw new Error(`Dockerfile:${line}: RUN names an absolute path: ${text}`);
    const { code, output } = await shell(text, join(this.root, this.workdir), this.env);
    if (code !== 0) throw new Error(`Dockerfile:${line}: RUN ${text} ended with ${code}\n${output}`);
  }

  async #copy(step: Step & { kind: "COPY" }): Promise<void> {
    const { context, ignored } = this.#context;
    const base = step.from === undefined ? context : (this.#roots.get(step.from) as string);
    const target = join(this.root, posix.resolve(this.workdir, step.target));
    const intoFolder = /\/$|^\.$/.test(step.target);
    for (const source of step.sources) {
      const from = join(base, source);
      const isIgnored = (path: string) => step.from === undefined && ignored(relative(context, path));
      const found = isIgnored(from) ? undefined : await stat(from).catch(() => undefined);
      if (found === undefined) throw new Error(`Dockerfile:${step.line}: COPY: there is no ${source}`);
      const to = found.isDirectory() || !intoFolder ? target : join(target, basename(source));
      await makeFolder(this.root, found.isDirectory() ? to : dirname(to));
      const filter = (path: string) => !isIgnored(path);
      await cp(from, to, { recursive: true, verbatimSymlinks: true, filter });
      if (step.owner !== undefined && process.getuid?.() === 0) await give(to, step.owner);
    }
  }
}

// As in a container, whoever runs this script: folders that are made on the way are open to read for all.
async function makeFolder(root: string, folder: string): Promise<void> {
  const parts = relative(root, folder).split("/");
  for (let path = root; parts.length > 0; ) {
    path = join(path, parts.shift() ?? "");
    await mkdir(path, { mode: 0o755 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
}

async function give(path: string, { uid, gid }: { uid: number; gid: number }): Promise<void> {
  await lchown(path, uid, gid);
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true }))
    await lchown(join(entry.parentPath, entry.name), uid, gid);
}

// The tools of this clone are no part of a base image.
function shell(text: string, cwd: string, own: Readonly<Record<string, string>>) {
  const { PATH: _, ...env } = own;
  const inherited = Object.entries(process.env).filter(([name]) => !/^(ORLOJ_|NODE_ENV|npm_(?!config_))/.test(name));
  const outer = (process.env["PATH"] ?? "").split(delimiter).filter((each) => !each.endsWith("node_modules/.bin"));
  const path = [dirname(process.execPath), ...outer].join(delimiter);
  const child = spawn("sh", ["-e", "-c", text], {
    ...{ cwd, stdio: ["ignore", "pipe", "pipe"], timeout: RUN_MS_MAX, killSignal: "SIGKILL" },
    env: { npm_config_prefer_offline: "true", ...Object.fromEntries(inherited), ...env, PATH: path },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk;
    });
  return new Promise<{ code: number; output: string }>((resolve) => {
    child.once("error", (error) => resolve({ code: 127, output: error.message }));
    child.once("close", (code) => resolve({ code: code ?? 128, output }));
  });
}

/**
 * What a .dockerignore leaves out, by path from the context's root.
 *
 * @throws Error for a pattern of another form than a path from the root, or a name or `*.END` anywhere (after two stars and a slash)
 */
export function ignoring(text: string): (path: string) => boolean {
  const rules = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line): ((path: string) => boolean) => {
      const [, any, name = "", end] = /^(\*\*\/)?(?:([\w.@-]+(?:\/[\w.@-]+)*)|\*(\.\w+))$/.exec(line) ?? [];
      if (name === "" && (end === undefined || any === undefined))
        throw new Error(`.dockerignore: ${line} is not known here`);
      if (end !== undefined) return (path) => path.endsWith(end);
      if (any !== undefined) return (path) => path.split("/").includes(name);
      return (path) => path === name || path.startsWith(`${name}/`);
    });
  return (path) => rules.some((rule) => rule(path));
}

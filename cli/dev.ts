// The verb `orloj dev`: a server and a worker of its own, a folder that is applied whenever it changes, and every run as it goes on.
// Called by main.ts. State is in a home of its own, so that nothing else is touched; Ctrl-C ends all of it.
// What is in no file any more is pruned. A bad manifest is told and waited out; it never ends the verb.

import { readFileSync } from "node:fs";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import type { Command } from "commander";
import { sha256 } from "../kit/json.ts";
import { SECOND } from "../kit/units.ts";
import { OrlojError, type RunHandle } from "../sdk/index.ts";
import { Context } from "./context.ts";
import { DevFleet, processEnded, WORKER_NAME } from "./dev_fleet.ts";
import { DevRuns } from "./dev_runs.ts";
import { diagnosticLine, EXIT, errorLine, showError, UsageError } from "./failure.ts";
import { FolderWatch } from "./folder_watch.ts";
import { parametersOf } from "./invoke.ts";
import { readModelOption, withModel } from "./live_models.ts";
import { type ManifestFile, readManifestFiles } from "./manifest_files.ts";
import { collect } from "./options.ts";
import { safeLine } from "./sanitize.ts";

interface Options {
  readonly home?: string;
  readonly namespace?: string;
  readonly invoke?: string;
  readonly param?: string[];
  readonly model?: string;
  readonly modelUrl?: string;
}

/** The set that everything in the folder belongs to. */
const SET = "dev";
/** A signal that repeats within this time is the same one, in ms: npx forwards what the terminal sent already. */
const SAME_SIGNAL_MS = SECOND;

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  program
    .command("dev")
    .description(
      "Run a server and a worker here, apply a folder whenever it changes, and show its runs. Ctrl-C ends all.",
    )
    .argument("[folder]", "folder with manifests", ".")
    .option("--home <folder>", "where its state is kept (default: .orloj-dev in the folder)")
    .option("-n, --namespace <name>", "namespace of manifests that name none, and of --invoke")
    .option("--invoke <workflow>", "start a run of this workflow after every change that was applied")
    .option("-p, --param <key=value>", "parameter of --invoke; key:=json for JSON; repeatable", collect)
    .option("--model <provider/name>", "send this model in place of every scripted one, such as openai/gpt-5-mini")
    .option("--model-url <url>", "endpoint of --model openai-compatible/NAME")
    .action((folder: string, options: Options) => dev(context, folder, options));
}

async function dev(outer: Context, name: string, options: Options): Promise<void> {
  if (options.invoke === undefined && options.param !== undefined) {
    throw new UsageError("-p is a parameter of --invoke, and no workflow is named", "--invoke WORKFLOW -p key=value");
  }
  if (options.model === undefined && options.modelUrl !== undefined) {
    throw new UsageError("--model-url belongs to --model", "--model openai-compatible/NAME --model-url URL");
  }
  if (options.model !== undefined) readModelOption(options.model, options.modelUrl);
  const folder = resolve(outer.host.directory, name);
  // Says at once if there is no such folder; that it holds nothing yet is no error here.
  await readFolder(folder, outer);
  const home = resolve(outer.host.directory, options.home ?? join(folder, ".orloj-dev"));
  const inFolder = relative(folder, home).split(sep);
  if (inFolder[0] !== ".." && !inFolder.some((part) => part.startsWith(".")) && !isAbsolute(inFolder.join(sep))) {
    throw new UsageError(
      `--home ${options.home} lies in the folder that is watched`,
      "begin its name with a dot, or put it elsewhere",
    );
  }
  const { clock, env } = outer.host;
  const fleet = new DevFleet({ home, folder, env, clock });
  const stop = stopping(outer, fleet);
  try {
    outer.note("starting a server and a worker …");
    const { endpoint, broken } = await fleet.start();
    const context = contextOf(outer, endpoint, home);
    outer.note(
      safeLine(`ready: server ${endpoint}, worker ${WORKER_NAME}, state and logs in ${home}`),
      safeLine(`in another terminal: export ORLOJ_HOME=${home}`),
    );
    const session = new Session(context, folder, options);
    try {
      const why = await Promise.race([session.run(stop.signal), broken]);
      if (why !== undefined && !stop.signal.aborted) throw processEnded(`${why}; its log is in ${home}`);
    } finally {
      await session.end();
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    await fleet.stop();
    stop.end();
  }
  outer.note("stopped");
  outer.exitCode = EXIT.ok;
}

// Speaks to this server alone, whatever else flags and environment name.
function contextOf({ host, colour }: Context, endpoint: string, home: string): Context {
  const { token } = JSON.parse(readFileSync(join(home, "config.json"), "utf8")) as { readonly token: string };
  const kept = Object.entries(host.env).filter(([name]) => !name.startsWith("ORLOJ_"));
  const env = { ...Object.fromEntries(kept), ORLOJ_HOME: home };
  return new Context({ ...host, env }, () => ({ server: endpoint, token, color: colour }));
}

/** The first interrupt ends the session; later ones change nothing, since everything is being ended already. */
function stopping(context: Context, fleet: DevFleet): { readonly signal: AbortSignal; end(): void } {
  const { clock, onInterrupt } = context.host;
  const controller = new AbortController();
  let sinceMs: number | undefined;
  let stopListening = () => {};
  const listen = () => {
    stopListening = onInterrupt(() => {
      listen();
      const nowMs = clock.monotonic();
      if (sinceMs !== undefined && nowMs - sinceMs < SAME_SIGNAL_MS) return;
      context.note(sinceMs === undefined ? "stopping …" : "still stopping: the server finishes what it writes");
      sinceMs = nowMs;
      controller.abort();
      // Also while they start; that stops are waited for is the business of dev().
      fleet.stop().catch(() => undefined);
    });
  };
  listen();
  return { signal: controller.signal, end: () => stopListening() };
}

/** Its files, named from where the person is. */
async function readFolder(folder: string, { host }: Context): Promise<ManifestFile[]> {
  try {
    const files = await readManifestFiles([folder], host.readInput);
    return files.map(({ name, content }) => ({ name: relative(host.directory, name), content }));
  } catch (error) {
    if (error instanceof UsageError && error.message.startsWith("no *.yaml")) return [];
    throw error;
  }
}

/** One folder that is applied and watched. */
class Session {
  readonly #context: Context;
  readonly #folder: string;
  readonly #options: Options;
  readonly #runs: DevRuns;
  readonly #watch: FolderWatch;
  #wake = () => {};
  #last = "";
  #run: RunHandle | undefined;

  constructor(context: Context, folder: string, options: Options) {
    this.#context = context;
    this.#folder = folder;
    this.#options = options;
    this.#runs = new DevRuns(context);
    this.#watch = new FolderWatch(context.host.clock, () => this.#wake());
  }

  /** Applies now and after every change, until the signal. */
  async run(signal: AbortSignal): Promise<undefined> {
    let changed = true;
    let resume = () => {};
    this.#wake = () => {
      changed = true;
      resume();
    };
    signal.addEventListener("abort", () => resume(), { once: true });
    this.#runs.start();
    this.#watch.start(this.#folder);
    while (!signal.aborted) {
      changed = false;
      await this.#cycle(signal);
      if (!changed && !signal.aborted) {
        await new Promise<void>((go) => {
          resume = go;
        });
      }
    }
    return undefined;
  }

  async end(): Promise<void> {
    this.#watch.stop();
    await this.#runs.stop();
  }

  // Whatever goes wrong is told, and the next change is waited for.
  async #cycle(signal: AbortSignal): Promise<void> {
    try {
      const files = await this.#changedFiles();
      if (files === undefined) return;
      if (files.length === 0) {
        this.#context.note(safeLine(`no manifest in ${this.#folder} yet; waiting for one`));
        return;
      }
      await this.#apply(files);
      await this.#invoke();
    } catch (error) {
      if (!signal.aborted) this.#tell(error);
    }
  }

  /** The files, unless they are as they were; a folder that cannot be read is told once. */
  async #changedFiles(): Promise<ManifestFile[] | undefined> {
    let state: string;
    let files: ManifestFile[] | undefined;
    try {
      files = await readFolder(this.#folder, this.#context);
      state = sha256(JSON.stringify(files));
    } catch (error) {
      state = String(error);
      if (state !== this.#last) this.#tell(error);
    }
    const same = state === this.#last;
    this.#last = state;
    return same ? undefined : files;
  }

  async #apply(files: readonly ManifestFile[]): Promise<void> {
    const { model, modelUrl, namespace } = this.#options;
    const sent = model === undefined ? [...files] : withModel(files, readModelOption(model, modelUrl)).files;
    const { results, diagnostics } = await this.#context.client.manifests.apply({
      ...{ files: sent, defaultNamespace: namespace ?? "" },
      ...{ set: SET, prune: true, adopt: true },
    });
    this.#context.note(...diagnostics.map(diagnosticLine));
    const changed = results.filter(({ action }) => action !== "unchanged");
    const { paint } = this.#context;
    this.#context.print(
      ...changed.map(
        ({ kind, namespace: space, name, action }) =>
          `${paint(action === "pruned" ? "warn" : "good", safeLine(action.padEnd(10)))}  ${safeLine(`${kind}/${space}/${name}`)}`,
      ),
    );
    this.#context.print(changed.length === 0 ? "applied: nothing changed" : `applied: ${changed.length} changed`);
  }

  // The run of the last change would go on with what is being changed: the new one takes its place.
  async #invoke(): Promise<void> {
    const { invoke, namespace = "", param } = this.#options;
    if (invoke === undefined) return;
    await this.#run?.cancel("a newer change was applied").catch(() => undefined);
    const parameters = await parametersOf(this.#context, invoke, { namespace, ...(param && { param }) });
    this.#run = await this.#context.client.workflow(invoke, { namespace }).invoke(parameters, {});
  }

  #tell(error: unknown): void {
    const shown = showError(error, this.#context.endpoint);
    this.#context.note(...shown.diagnostics.map(diagnosticLine), errorLine(shown));
    const lost = error instanceof OrlojError && error.reason === "CONNECTION_LOST";
    if (!lost) this.#context.note("waiting for the next change");
  }
}

// The client verbs of `orloj`: one command line in, output and an exit code out.
// Called by bin/orloj.ts. Loads the file of the chosen verb only.
// The only file of the CLI that touches the process: its streams, its clock, its signals.

import { Command, CommanderError, Option } from "commander";
import { systemClock } from "../kit/clock.ts";
import { COMPLETE } from "./completion.ts";
import { type CliHost, Context, type GlobalOptions } from "./context.ts";
import { addExamples } from "./examples.ts";
import { diagnosticLine, EXIT, errorLine, HELP, showError } from "./failure.ts";
import { LIST_FORMATS } from "./listing.ts";

interface Verb {
  readonly summary: string;
  /** Loads the verb and adds its command; absent for server, worker, migrate and sandbox, which bin/orloj.ts starts itself. */
  readonly load?: () => Promise<{ register(program: Command, context: Context): void }>;
  /** What `-o` may say; the first one is meant unless it says something. */
  readonly formats?: readonly [string, ...string[]];
}

const FORMATS = ["table", "json"] as const;

const VERBS: Readonly<Record<string, Verb>> = {
  server: { summary: "run the control plane (orloj server --help)" },
  worker: { summary: "run a worker (orloj worker --help)" },
  sandbox: { summary: "run a service for the examples to work on (orloj sandbox --help)" },
  migrate: { summary: "bring a database to this release (orloj migrate --help)" },
  backup: { summary: "write a backup of the embedded database", load: () => import("./backup.ts") },
  restore: { summary: "put a backup in its place", load: () => import("./restore.ts") },
  upgrade: { summary: "bring the embedded database to this release", load: () => import("./upgrade.ts") },
  init: { summary: "make a folder of manifests from a blueprint", load: () => import("./init.ts") },
  apply: { summary: "validate manifests and store them, all or none", load: () => import("./apply.ts") },
  validate: { summary: "validate manifests and store nothing", load: () => import("./validate.ts") },
  diff: { summary: "show what apply would change", load: () => import("./diff.ts") },
  get: {
    summary: "list resources, or show one",
    load: () => import("./get.ts"),
    formats: [...LIST_FORMATS, "yaml"],
  },
  describe: { summary: "everything about a resource, run, task or worker", load: () => import("./describe.ts") },
  graph: {
    summary: "draw a system or a run",
    load: () => import("./graph.ts"),
    formats: ["terminal", "mermaid", "dot", "svg", "json"],
  },
  edit: { summary: "change a stored manifest in your editor", load: () => import("./edit.ts") },
  delete: { summary: "delete a resource", load: () => import("./delete.ts") },
  explain: { summary: "say what a kind or a field of a manifest means", load: () => import("./explain.ts") },
  schema: { summary: "write JSON Schemas of manifests for editors", load: () => import("./schema.ts") },
  dev: {
    summary: "run everything here, and apply a folder whenever it changes",
    load: () => import("./dev.ts"),
    formats: ["text"],
  },
  invoke: { summary: "start a run of a workflow", load: () => import("./invoke.ts") },
  runs: { summary: "list runs, newest first", load: () => import("./runs.ts"), formats: LIST_FORMATS },
  wait: { summary: "wait until something is as it is wanted", load: () => import("./wait.ts") },
  tasks: { summary: "list the tasks of a run", load: () => import("./tasks.ts"), formats: LIST_FORMATS },
  logs: { summary: "what was logged about the tasks of a run", load: () => import("./logs.ts") },
  cancel: { summary: "ask a run to stop", load: () => import("./cancel.ts") },
  "dead-letters": {
    summary: "look at parked tasks, replay or discard them",
    load: () => import("./dead_letters.ts"),
    formats: LIST_FORMATS,
  },
  workers: { summary: "list connected workers", load: () => import("./workers.ts"), formats: LIST_FORMATS },
  leases: { summary: "list live leases", load: () => import("./leases.ts"), formats: LIST_FORMATS },
  top: { summary: "show the fleet as it is now", load: () => import("./top.ts") },
  doctor: { summary: "look for what is wrong, and say what to do", load: () => import("./doctor.ts") },
  drain: { summary: "let a worker finish and take nothing more", load: () => import("./drain.ts") },
  revoke: { summary: "take the lease of a task away", load: () => import("./revoke.ts") },
  codegen: { summary: "write TypeScript types of workflows", load: () => import("./codegen.ts") },
  policy: { summary: "explain decisions, try them, and test policies", load: () => import("./policy.ts") },
  audit: {
    summary: "read the audit trail, export and verify it",
    load: () => import("./audit.ts"),
    formats: LIST_FORMATS,
  },
  token: { summary: "make, list and revoke bearer tokens", load: () => import("./token.ts"), formats: LIST_FORMATS },
  certs: { summary: "make, renew and revoke certificates", load: () => import("./certs.ts") },
  config: { summary: "name servers, and choose one", load: () => import("./config.ts") },
  completion: { summary: "print the script by which a shell completes orloj", load: () => import("./completion.ts") },
  version: { summary: "print the version", load: () => import("./version.ts") },
};

/** Runs one command line in this process. */
export async function main(argv: readonly string[]): Promise<number> {
  return runCli(argv, processHost());
}

/** Runs one command line; never throws. */
export async function runCli(argv: readonly string[], host: CliHost): Promise<number> {
  if (argv[0] === COMPLETE) return await complete(argv.slice(argv[1] === "--" ? 2 : 1), host);
  let program = new Command("orloj");
  const context = new Context(host, () => program.opts<GlobalOptions>());
  const chosen = chosenVerb(argv);
  program = await programFor(chosen, context);
  try {
    if (argv.length === 0) program.outputHelp();
    else await program.parseAsync([...argv], { from: "user" });
    return context.exitCode;
  } catch (error) {
    return report(error, context, chosen);
  }
}

/** Every verb that this command runs itself with all of its commands and options. */
export async function allVerbs(host: CliHost): Promise<ReadonlyMap<string, WholeVerb>> {
  const verbs = new Map<string, WholeVerb>();
  for (const [name, { summary, load, formats = FORMATS }] of Object.entries(VERBS)) {
    const program = new Command("orloj");
    (await load?.())?.register(program, new Context(host, () => ({})));
    verbs.set(name, { summary, formats, command: program.commands[0] });
  }
  return verbs;
}

/** A verb as the reference shows it. */
export interface WholeVerb {
  readonly summary: string;
  readonly formats: readonly string[];
  /** Absent: bin/orloj.ts starts a program that reads its own options. */
  readonly command: Command | undefined;
}

// All verbs by name, and the chosen one with its options.
async function programFor(chosen: string | undefined, context: Context): Promise<Command> {
  const { host } = context;
  const formats = VERBS[chosen ?? ""]?.formats ?? FORMATS;
  const program = new Command("orloj")
    .description("Orchestration plane for multi-agent systems.")
    .option("--context <name>", "a server by its name (ORLOJ_CONTEXT; then orloj config use-context)")
    .option("--server <url>", "API endpoint (ORLOJ_SERVER; then the context's)")
    .option("--token <token>", "bearer token (ORLOJ_TOKEN; then the context's)")
    .option("--ca <file>", "CA certificates that the server's is checked by (ORLOJ_CA)")
    .option("--cert <file>", "client certificate (ORLOJ_CERT)")
    .option("--key <file>", "its key (ORLOJ_KEY)")
    .addOption(new Option("-o, --output <format>", `output format, ${formats[0]} unless given`).choices(formats))
    .option("--no-color", "no colours, as with NO_COLOR and where there is no terminal")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: host.out, writeErr: host.err, outputError: (text) => tellUsage(text, context) })
    .showSuggestionAfterError()
    .exitOverride();
  for (const [name, verb] of Object.entries(VERBS)) {
    if (name === chosen && verb.load !== undefined) (await verb.load()).register(program, context);
    else program.command(name).description(verb.summary).allowUnknownOption();
  }
  for (const command of program.commands) command.exitOverride();
  addExamples(program);
  return program;
}

async function complete(words: readonly string[], host: CliHost): Promise<number> {
  const { completionLines } = await import("./complete.ts");
  const context = new Context(host, () => ({}));
  const lines = await completionLines(words, host, (verb) => programFor(verb, context)).catch(() => []);
  context.print(...lines);
  return EXIT.ok;
}

// Flags may stand before the verb; each of these takes a value.
const VALUED = ["--context", "--server", "--token", "--ca", "--cert", "--key", "--output", "-o"];

function chosenVerb(argv: readonly string[]): string | undefined {
  for (let index = 0; index < argv.length; index += 1) {
    const word = argv[index] as string;
    if (VALUED.includes(word)) index += 1;
    else if (!word.startsWith("-") && word !== "help") return word;
  }
  return undefined;
}

function report(error: unknown, context: Context, verb: string | undefined): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  const shown = showError(error, endpointOf(context), verb === undefined ? HELP : `orloj ${verb} --help`);
  if (context.json) {
    const { code, message, next } = shown;
    const diagnostics = shown.diagnostics.map(({ $typeName: _, ...finding }) => finding);
    context.note(JSON.stringify({ error: { code, message, next, diagnostics } }));
  } else {
    context.note(...shown.diagnostics.map(diagnosticLine), errorLine(shown));
  }
  return shown.exitCode;
}

// The parser's own words, in the form of every other error.
function tellUsage(text: string, context: Context): void {
  const message = text
    .trim()
    .replace(/^error: /, "")
    .replaceAll("\n", " ");
  const next = HELP;
  if (context.json) context.note(JSON.stringify({ error: { code: "E-USAGE", message, next, diagnostics: [] } }));
  else context.note(errorLine({ code: "E-USAGE", message, next, exitCode: EXIT.usage, diagnostics: [] }));
}

function endpointOf(context: Context): string {
  try {
    return context.endpoint;
  } catch {
    return "";
  }
}

function processHost(): CliHost {
  const { stdout, stderr, stdin } = process;
  // A reader that has enough (`orloj runs | head`) is no failure.
  stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(EXIT.ok);
    throw error;
  });
  return {
    env: process.env,
    directory: process.cwd(),
    clock: systemClock(),
    out: (text) => void stdout.write(text),
    written: () => (stdout.writableNeedDrain ? new Promise((done) => stdout.once("drain", done)) : Promise.resolve()),
    err: (text) => void stderr.write(text),
    async readInput() {
      const chunks: Buffer[] = [];
      for await (const chunk of stdin) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString("utf8");
    },
    terminal: () => (stdout.isTTY ? { columns: stdout.columns || 80, rows: stdout.rows || 24 } : undefined),
    onInterrupt(callback) {
      const signals = ["SIGINT", "SIGTERM"] as const;
      const stop = () => {
        for (const signal of signals) process.off(signal, called);
      };
      const called = () => {
        stop();
        callback();
      };
      for (const signal of signals) process.on(signal, called);
      return stop;
    },
  };
}

// The verb `orloj config`: names servers, and chooses which of them is meant.
// Called by main.ts. Asks no server. Tokens are never printed.
// JSON: get-contexts {"items": […]}, current-context {"name": …}, view {"path", "current", "contexts"}.

import { resolve } from "node:path";
import type { Command } from "commander";
import { chosenContext, findHome, parseEndpoint } from "./connection.ts";
import type { Context } from "./context.ts";
import {
  type Contexts,
  checkContextName,
  contextNamed,
  contextsPath,
  LOCAL,
  type NamedContext,
  readContexts,
  TOKEN_KEYS,
  writeContexts,
} from "./contexts.ts";
import { UsageError } from "./failure.ts";
import { table } from "./format.ts";

interface SetOptions {
  readonly tokenFile?: string;
  readonly tokenEnv?: string;
  readonly tokenCommand?: string;
  readonly use?: boolean;
}

/** Adds the verb to the program. */
export function register(program: Command, context: Context): void {
  const config = program.command("config").description("Name servers, and choose which of them is meant.");
  config
    .command("get-contexts")
    .description("List the contexts; * marks the one that is meant.")
    .action(() => list(context));
  config
    .command("current-context")
    .description("Print the name of the context that is meant.")
    .action(() => {
      const name = chosenContext(context.connectionFlags, context.host.env);
      if (context.json) context.printJson({ name });
      else context.print(name);
    });
  config
    .command("use-context")
    .description("Mean this context from now on; local is the server of this machine.")
    .argument("<name>", "a context")
    .action((name: string) => {
      const contexts = readContexts(context.host.env);
      if (name !== LOCAL) contextNamed(contexts, name);
      writeContexts(context.host.env, { named: contexts.named, ...(name === LOCAL ? {} : { current: name }) });
      context.note(`The context is ${name}.`);
      if (context.host.env["ORLOJ_HOME"] || context.host.env["ORLOJ_CONTEXT"]) {
        context.note("ORLOJ_CONTEXT or ORLOJ_HOME is set, and wins over it in this shell.");
      }
    });
  config
    .command("set-context")
    .description(
      "Make or change a context, from --server, --token, --ca, --cert, --key; an empty value takes one away.",
    )
    .argument("<name>", "a name of your choice")
    .option("--token-file <file>", "read the token from this file at each command")
    .option("--token-env <name>", "read the token from this variable")
    .option("--token-command <command>", "run this in a shell for the token")
    .option("--use", "and mean it from now on")
    .action((name: string, options: SetOptions) => set(context, name, options));
  config
    .command("delete-context")
    .description("Forget a context.")
    .argument("<name>", "a context")
    .action((name: string) => {
      checkContextName(name);
      const { current, named } = readContexts(context.host.env);
      contextNamed({ named }, name);
      const { [name]: _gone, ...left } = named;
      writeContexts(context.host.env, { named: left, ...(current && current !== name ? { current } : {}) });
      context.note(`Context ${name} is forgotten.${current === name ? " The context is local now." : ""}`);
    });
  config
    .command("view")
    .description("Show the file of contexts, without tokens.")
    .action(() => view(context));
  for (const command of config.commands) command.exitOverride();
}

function list(context: Context): void {
  const { env, directory } = context.host;
  const contexts = readContexts(env);
  const chosen = chosenContext(context.connectionFlags, env);
  const local: NamedContext = {};
  const all = [[LOCAL, local] as const, ...Object.entries(contexts.named).sort(([a], [b]) => (a < b ? -1 : 1))];
  const serverOf = (name: string, one: NamedContext) =>
    one.server ?? (name === LOCAL ? `config.json in ${findHome(env, directory)}` : "-");
  if (context.json) {
    const items = all.map(([name, one]) => ({ name, current: name === chosen, ...hidden(one) }));
    context.printJson({ items });
    return;
  }
  const rows = all.map(([name, one]) => [
    ...[name === chosen ? "*" : "", name, serverOf(name, one)],
    ...[name === LOCAL ? "kept there" : tokenWords(one), one.cert ?? "-"],
  ]);
  context.print(...table(["", "NAME", "SERVER", "TOKEN", "CERTIFICATE"], rows, context.paint));
}

function tokenWords(one: NamedContext): string {
  if (one.token !== undefined) return "kept";
  if (one.tokenFile !== undefined) return `file ${one.tokenFile}`;
  if (one.tokenEnv !== undefined) return `variable ${one.tokenEnv}`;
  return one.tokenCommand === undefined ? "-" : "command";
}

function hidden(one: NamedContext): Record<string, string> {
  return { ...one, ...(one.token === undefined ? {} : { token: "[hidden]" }) };
}

function set(context: Context, name: string, options: SetOptions): void {
  checkContextName(name);
  const { env, directory } = context.host;
  const contexts = readContexts(env);
  const before: NamedContext = Object.hasOwn(contexts.named, name) ? (contexts.named[name] as NamedContext) : {};
  const { server, token, ca, cert, key } = context.connectionFlags;
  const file = (path: string | undefined) => (path === undefined || path === "" ? path : resolve(directory, path));
  const { tokenFile, tokenEnv, tokenCommand } = options;
  const tokens = { token, tokenFile: file(tokenFile), tokenEnv, tokenCommand };
  const given = TOKEN_KEYS.filter((one) => tokens[one] !== undefined);
  if (given.length > 1) throw new UsageError("a context has one source of its token", "name one of the --token flags");
  // One source takes the place of another.
  const kept = given.length === 0 ? before : without(before, TOKEN_KEYS);
  const changes = { server, ...tokens, ca: file(ca), cert: file(cert), key: file(key) };
  const made: NamedContext = Object.fromEntries(
    Object.entries({ ...kept, ...defined(changes) }).filter(([, value]) => value !== ""),
  );
  if (made.server === undefined) throw new UsageError(`context ${name} has no server`, "name it with --server URL");
  parseEndpoint(made.server);
  if ((made.cert === undefined) !== (made.key === undefined)) {
    throw new UsageError("--cert and --key belong together", "name both, or neither");
  }
  const next: Contexts = {
    ...contexts,
    named: { ...contexts.named, [name]: made },
    ...(options.use && { current: name }),
  };
  const path = writeContexts(env, next);
  context.note(`Context ${name} is kept in ${path}.`);
  if (next.current !== name) context.next(`orloj config use-context ${name}, or orloj --context ${name} VERB`);
}

function without(one: NamedContext, keys: readonly string[]): NamedContext {
  return Object.fromEntries(Object.entries(one).filter(([key]) => !keys.includes(key)));
}

function defined(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function view(context: Context): void {
  const { env } = context.host;
  const { current = LOCAL, named } = readContexts(env);
  const contexts = Object.fromEntries(Object.entries(named).map(([name, one]) => [name, hidden(one)]));
  context.printJson({ path: contextsPath(env) ?? "", current, contexts });
}

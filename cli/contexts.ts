// The named servers of a person: contexts.json in the folder of their settings, kept by `orloj config`, readable by its owner only (0600).
// Called by connection.ts and config.ts. Written whole or not at all.
// The context `local` is not in it: that is the config.json that a server of this machine wrote into ORLOJ_HOME.
// A file that others may write is refused: it can name commands that are run.

import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { isJsonObject } from "../kit/json.ts";
import { SECOND } from "../kit/units.ts";
import { fileErrorWords, UsageError } from "./failure.ts";

/** Name of the context that a server of this machine makes. */
export const LOCAL = "local";

/** Members of a context; all are text. */
export const CONTEXT_KEYS = ["server", "token", "tokenFile", "tokenEnv", "tokenCommand", "ca", "cert", "key"] as const;
/** Where a token comes from: at most one of them. */
export const TOKEN_KEYS = ["token", "tokenFile", "tokenEnv", "tokenCommand"] as const;

/** How one server is reached; files are absolute. */
export type NamedContext = Partial<Readonly<Record<(typeof CONTEXT_KEYS)[number], string>>>;

/** The file. */
export interface Contexts {
  /** Absent: local. */
  readonly current?: string;
  readonly named: Readonly<Record<string, NamedContext>>;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const COMMAND_MS = 10 * SECOND;
const OTHERS_WRITE = 0o022;

/** Path of the file; undefined when the environment names no folder for it. */
export function contextsPath(env: NodeJS.ProcessEnv): string | undefined {
  const base = env["XDG_CONFIG_HOME"] || (env["HOME"] ? join(env["HOME"], ".config") : undefined);
  return base === undefined ? undefined : join(resolve(base), "orloj", "contexts.json");
}

/** The contexts; none without a file. @throws UsageError for a file that cannot be used */
export function readContexts(env: NodeJS.ProcessEnv): Contexts {
  const path = contextsPath(env);
  if (path === undefined) return { named: {} };
  let text: string;
  try {
    text = readFileSync(path, "utf8");
    if ((statSync(path).mode & OTHERS_WRITE) !== 0) {
      throw new UsageError(`${path} can be written by others, and it may name commands`, `chmod 600 ${path}`);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { named: {} };
    throw new UsageError(`${path} cannot be read: ${fileErrorWords(error)}`, "check its owner and mode");
  }
  return parse(text, path);
}

function parse(text: string, path: string): Contexts {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UsageError(`${path} is not JSON`, "correct it, or remove it and make the contexts anew");
  }
  const { current, contexts } = isJsonObject(value) ? value : {};
  if (!isJsonObject(contexts) || (current !== undefined && typeof current !== "string")) {
    throw new UsageError(`${path} does not hold contexts`, "correct it, or remove it and make the contexts anew");
  }
  const named: Record<string, NamedContext> = {};
  for (const [name, members] of Object.entries(contexts)) {
    if (!isJsonObject(members)) throw new UsageError(`${path}: context ${name} is no object`, "correct the file");
    const known = CONTEXT_KEYS.filter((key) => typeof members[key] === "string");
    named[name] = Object.fromEntries(known.map((key) => [key, members[key] as string]));
  }
  return { named, ...(current === undefined ? {} : { current }) };
}

/** Writes the file. @throws UsageError when it cannot be written */
export function writeContexts(env: NodeJS.ProcessEnv, contexts: Contexts): string {
  const path = contextsPath(env);
  if (path === undefined) {
    throw new UsageError("there is no place for contexts: HOME is not set", "set HOME or XDG_CONFIG_HOME");
  }
  const content = { ...(contexts.current && { current: contexts.current }), contexts: contexts.named };
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const temporary = `${path}.${process.pid}`;
    writeFileSync(temporary, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
    chmodSync(temporary, 0o600);
    renameSync(temporary, path);
  } catch (error) {
    throw new UsageError(`${path} cannot be written: ${fileErrorWords(error)}`, "check its folder");
  }
  return path;
}

/** A name for a context. @throws UsageError */
export function checkContextName(name: string): void {
  if (name === LOCAL) {
    throw new UsageError("local is the server that runs on this machine", "choose another name");
  }
  if (!NAME.test(name)) {
    throw new UsageError(`"${name}" is no name for a context`, "use letters, digits, dots, dashes, at most 63");
  }
}

/** One context by name. @throws UsageError that lists the names */
export function contextNamed({ named }: Contexts, name: string): NamedContext {
  const found = Object.hasOwn(named, name) ? named[name] : undefined;
  if (found !== undefined) return found;
  const known = [LOCAL, ...Object.keys(named).sort()].join(", ");
  throw new UsageError(`there is no context ${name}`, `use one of ${known}, or orloj config set-context ${name}`);
}

/** The token of a context: a command is run when the token is needed. @throws UsageError */
export function tokenOf(
  name: string,
  context: NamedContext,
  env: NodeJS.ProcessEnv,
): string | (() => string) | undefined {
  const { token, tokenFile, tokenEnv, tokenCommand } = context;
  const next = `orloj config set-context ${name} names another source`;
  if (token !== undefined) return token;
  if (tokenFile !== undefined) {
    try {
      return required(readFileSync(tokenFile, "utf8"), `${tokenFile} is empty`, next);
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new UsageError(`the token of context ${name}: ${tokenFile}: ${fileErrorWords(error)}`, next);
    }
  }
  if (tokenEnv !== undefined) return required(env[tokenEnv] ?? "", `context ${name}: ${tokenEnv} is not set`, next);
  if (tokenCommand === undefined) return undefined;
  let known: string | undefined;
  return () => {
    known ??= tokenFromCommand(name, tokenCommand, env);
    return known;
  };
}

function tokenFromCommand(name: string, command: string, env: NodeJS.ProcessEnv): string {
  const next = "run it by hand; it has to print the token within 10 s";
  try {
    const options = {
      env,
      encoding: "utf8" as const,
      timeout: COMMAND_MS,
      stdio: ["ignore", "pipe", "inherit"] as ("ignore" | "pipe" | "inherit")[],
    };
    const printed = execFileSync("/bin/sh", ["-c", command], options);
    return required(printed, `the token command of context ${name} printed nothing`, next);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { status, signal } = error as { status?: number | null; signal?: string | null };
    throw new UsageError(`the token command of context ${name} failed (${signal ?? `exit ${status}`})`, next);
  }
}

function required(text: string, message: string, next: string): string {
  const token = text.trim();
  if (token === "") throw new UsageError(message, next);
  return token;
}

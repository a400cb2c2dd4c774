// Where the server is and with which token: flags, then environment, then the context (contexts.ts), which is config.json under
// ORLOJ_HOME unless another one is chosen.
// Called by context.ts. Reads files only.
// The token of config.json goes to the endpoint of config.json and to this machine, never to another host; what another context
// holds goes to its own server alone.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { TlsOptions } from "../sdk/index.ts";
import { contextNamed, LOCAL, type NamedContext, readContexts, tokenOf } from "./contexts.ts";
import { UsageError } from "./failure.ts";

/** Endpoint when nothing names one. */
export const DEFAULT_ENDPOINT = "http://127.0.0.1:7601";

/** How to reach the server. */
export interface Connection {
  readonly endpoint: string;
  /** A function runs the command of a context. */
  readonly token: string | (() => string) | undefined;
  /** Contents of the files that were named; undefined when none was. */
  readonly tls: TlsOptions | undefined;
  /** Directory that state is kept in; may not exist. */
  readonly home: string;
}

/** Flags that name a server. */
export interface ConnectionFlags {
  readonly context?: string;
  readonly server?: string;
  readonly token?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** ORLOJ_HOME, or the nearest .orloj upwards from the directory, or .orloj in it. */
export function findHome(env: NodeJS.ProcessEnv, directory: string): string {
  if (env["ORLOJ_HOME"]) return resolve(directory, env["ORLOJ_HOME"]);
  for (let parent = resolve(directory); ; parent = dirname(parent)) {
    if (existsSync(join(parent, ".orloj"))) return join(parent, ".orloj");
    if (dirname(parent) === parent) return join(resolve(directory), ".orloj");
  }
}

/** Name of the context that flags, environment, or the person's choice mean. ORLOJ_HOME alone names a server of this machine. */
export function chosenContext(flags: ConnectionFlags, env: NodeJS.ProcessEnv): string {
  const said = flags.context || env["ORLOJ_CONTEXT"];
  if (said) return said;
  return env["ORLOJ_HOME"] ? LOCAL : (readContexts(env).current ?? LOCAL);
}

/** The server alone, for messages. @throws UsageError */
export function resolveEndpoint(flags: ConnectionFlags, env: NodeJS.ProcessEnv, directory: string): string {
  return textOf(serverOf(flags, env, directory).url);
}

/** @throws UsageError for an endpoint that is no http(s) URL, a context that there is not, or files that cannot be read. */
export function resolveConnection(flags: ConnectionFlags, env: NodeJS.ProcessEnv, directory: string): Connection {
  const { url, home, name, kept } = serverOf(flags, env, directory);
  const own = kept.server !== undefined && sameOrigin(url, kept.server);
  const tls = readTls(flags, env, url, own ? kept : {});
  // The token of this machine's server is good for whatever listens on this machine; that of another one for itself alone.
  const mayUse = own || (name === LOCAL && isLoopback(url));
  // Who names a certificate means it: the token that is kept is not sent beside it.
  const named = (flags.cert || env["ORLOJ_CERT"]) !== undefined;
  const said = flags.token || env["ORLOJ_TOKEN"];
  const token = said || (mayUse && !named ? tokenOf(name, kept, env) : undefined) || undefined;
  return { endpoint: textOf(url), token, tls, home };
}

function textOf(url: URL): string {
  return url.href.replace(/\/$/, "");
}

function serverOf(flags: ConnectionFlags, env: NodeJS.ProcessEnv, directory: string) {
  const home = findHome(env, directory);
  const name = chosenContext(flags, env);
  const kept: NamedContext =
    name === LOCAL ? readConfig(join(home, "config.json")) : contextNamed(readContexts(env), name);
  // A context that a flag names is meant before a server that the environment names.
  const said = flags.server || (flags.context ? undefined : env["ORLOJ_SERVER"]);
  return { url: parseEndpoint(said || kept.server || DEFAULT_ENDPOINT), home, name, kept };
}

function readTls(flags: ConnectionFlags, env: NodeJS.ProcessEnv, url: URL, kept: NamedContext): TlsOptions | undefined {
  const files = {
    ca: flags.ca || env["ORLOJ_CA"] || kept.ca,
    cert: flags.cert || env["ORLOJ_CERT"] || kept.cert,
    key: flags.key || env["ORLOJ_KEY"] || kept.key,
  };
  const named = Object.entries(files).filter((entry): entry is [string, string] => entry[1] !== undefined);
  if (named.length === 0) return undefined;
  if (url.protocol !== "https:") {
    throw new UsageError(`--${named[0]?.[0]} needs TLS, and ${url.origin} has none`, "use an https:// server");
  }
  if ((files.cert === undefined) !== (files.key === undefined)) {
    throw new UsageError("--cert and --key belong together", "name both, or neither");
  }
  return Object.fromEntries(named.map(([name, file]) => [name, readPem(name, file)]));
}

function readPem(name: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--${name} ${file} cannot be read: ${(error as Error).message}`, "name a PEM file");
  }
}

function readConfig(path: string): NamedContext {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new UsageError(`${path} cannot be read: ${(error as Error).message}`, "check its owner and mode");
  }
  try {
    const { endpoint, token } = JSON.parse(text) as Record<string, unknown>;
    return {
      ...(typeof endpoint === "string" && endpoint !== "" ? { server: endpoint } : {}),
      ...(typeof token === "string" && token !== "" ? { token } : {}),
    };
  } catch {
    throw new UsageError(`${path} is not JSON`, "restart the server, which writes it anew");
  }
}

/** An endpoint as a URL. @throws UsageError */
export function parseEndpoint(endpoint: string): URL {
  const url = URL.parse(endpoint.includes("://") ? endpoint : `http://${endpoint}`);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new UsageError(`"${endpoint}" is no http or https URL`, `use one such as ${DEFAULT_ENDPOINT}`);
  }
  return url;
}

function isLoopback(url: URL): boolean {
  return url.hostname === "localhost" || url.hostname === "[::1]" || /^127(\.\d+){3}$/.test(url.hostname);
}

function sameOrigin(url: URL, endpoint: string): boolean {
  return URL.parse(endpoint)?.origin === url.origin;
}

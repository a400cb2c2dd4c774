// Where the server is and with which token: flags, then environment, then config.json under ORLOJ_HOME.
// Called by context.ts. Reads files only.
// The token of config.json goes to the endpoint of config.json and to this machine, never to another host.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { TlsOptions } from "../sdk/index.ts";
import { UsageError } from "./failure.ts";

/** Endpoint when nothing names one. */
export const DEFAULT_ENDPOINT = "http://127.0.0.1:7601";

/** How to reach the server. */
export interface Connection {
  readonly endpoint: string;
  readonly token: string | undefined;
  /** Contents of the files that were named; undefined when none was. */
  readonly tls: TlsOptions | undefined;
  /** Directory that state is kept in; may not exist. */
  readonly home: string;
}

/** Flags that name a server. */
export interface ConnectionFlags {
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

/** @throws UsageError for an endpoint that is no http(s) URL or a config.json that cannot be read. */
export function resolveConnection(flags: ConnectionFlags, env: NodeJS.ProcessEnv, directory: string): Connection {
  const home = findHome(env, directory);
  const config = readConfig(join(home, "config.json"));
  const endpoint = flags.server || env["ORLOJ_SERVER"] || config.endpoint || DEFAULT_ENDPOINT;
  const url = parseEndpoint(endpoint);
  const mayUseConfigToken = isLoopback(url) || (config.endpoint !== undefined && sameOrigin(url, config.endpoint));
  const tls = readTls(flags, env, url);
  // Who names a certificate means it: the token of this machine's server is not sent beside it.
  const kept = mayUseConfigToken && tls?.cert === undefined ? config.token : undefined;
  const token = flags.token || env["ORLOJ_TOKEN"] || kept || undefined;
  return { endpoint: url.href.replace(/\/$/, ""), token, tls, home };
}

function readTls(flags: ConnectionFlags, env: NodeJS.ProcessEnv, url: URL): TlsOptions | undefined {
  const files = {
    ca: flags.ca || env["ORLOJ_CA"],
    cert: flags.cert || env["ORLOJ_CERT"],
    key: flags.key || env["ORLOJ_KEY"],
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

function readConfig(path: string): { endpoint?: string; token?: string } {
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
      ...(typeof endpoint === "string" ? { endpoint } : {}),
      ...(typeof token === "string" ? { token } : {}),
    };
  } catch {
    throw new UsageError(`${path} is not JSON`, "restart the server, which writes it anew");
  }
}

function parseEndpoint(endpoint: string): URL {
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

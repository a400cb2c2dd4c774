// Which HTTP proxy, if any, a worker reaches an endpoint through: reads addresses of proxies, and lists of hosts that need none.
// Called by config.ts, so that a bad address is an error at the start, and by dial.ts for each connection.
// Never shows user or password of a proxy.

import { BlockList, isIP, isIPv6 } from "node:net";
import { DomainError } from "../../kit/errors.ts";

/** An HTTP proxy that lets CONNECT through. */
export interface HttpProxy {
  /** Name or address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** host:port, for messages. */
  readonly name: string;
  /** User and password as the header Proxy-Authorization takes them. */
  readonly authorization?: string;
}

/** Proxy of a worker, as its options say. */
export interface ProxyOptions {
  /** http://[user:password@]host[:port]; absent: none. */
  readonly proxy?: string;
  /** Hosts that are reached without it: names (with what is below them), addresses, ranges, `*`; each may end in `:port`. */
  readonly proxyExcept?: readonly string[];
}

/** Port of an http address that names none. */
const DEFAULT_PORT = 80;
/** What tools in general take their proxy from, best first. */
const STANDARD_PROXY = ["grpc_proxy", "https_proxy", "HTTPS_PROXY"] as const;
const STANDARD_EXCEPT = ["no_grpc_proxy", "no_proxy", "NO_PROXY"] as const;

/**
 * The address of a proxy.
 *
 * @param where says in the message what holds the address, such as the name of a variable.
 * @throws DomainError CONFIG_INVALID without the address in it: it may carry a password.
 */
export function parseProxy(text: string, where: string): HttpProxy {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  if (url === null || url.hostname === "") {
    throw invalid(`${where} is not the address of a proxy; write it as http://[user:password@]host:port`);
  }
  if (url.protocol !== "http:") {
    throw invalid(
      `${where} names a proxy by ${url.protocol}//, and workers speak to HTTP proxies only; write http://host:port, or ORLOJ_WORKER_PROXY=none to connect without one`,
    );
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port === "" ? DEFAULT_PORT : Number(url.port);
  const name = `${url.hostname}:${port}`;
  if (url.username === "" && url.password === "") return { host, port, name };
  let credentials: string;
  try {
    credentials = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  } catch {
    throw invalid(`${where} has a user or password with a stray %; write % as %25`);
  }
  return { host, port, name, authorization: `Basic ${Buffer.from(credentials).toString("base64")}` };
}

/**
 * The proxy that an environment names. ORLOJ_WORKER_PROXY is for every endpoint (`none`: no proxy); else the standard variables hold,
 * with their exceptions, if one of the endpoints is to be reached through it.
 *
 * @throws DomainError CONFIG_INVALID that names the variable.
 */
export function proxyOf(env: Readonly<Record<string, string | undefined>>, endpoints: readonly string[]): ProxyOptions {
  const own = env["ORLOJ_WORKER_PROXY"] ?? "";
  if (own === "none") return {};
  if (own !== "") {
    parseProxy(own, "ORLOJ_WORKER_PROXY");
    return { proxy: own };
  }
  const name = STANDARD_PROXY.find((variable) => (env[variable] ?? "") !== "");
  if (name === undefined) return {};
  const except = STANDARD_EXCEPT.map((variable) => env[variable] ?? "").find((text) => text !== "") ?? "";
  const proxyExcept = except.split(/[\s,]+/).filter((entry) => entry !== "");
  const direct = (endpoint: string) => {
    const { host, port } = splitEndpoint(endpoint);
    return isDirect(host, port, proxyExcept);
  };
  // Such a variable may be meant for other programs, and hold what only they understand.
  if (endpoints.every(direct)) return {};
  const proxy = env[name] as string;
  parseProxy(proxy, name);
  return { proxy, proxyExcept };
}

/** True if the endpoint is reached without the proxy: it is on this machine, or an entry names it. An entry of no known form names nothing. */
export function isDirect(host: string, port: number, except: readonly string[]): boolean {
  const plain = host.replace(/^\[|\]$/g, "").toLowerCase();
  if (isLoopback(plain)) return true;
  return except.some((entry) => names(entry.toLowerCase(), plain, port));
}

/** The host and port of an endpoint; an IPv6 address loses its brackets. */
export function splitEndpoint(endpoint: string): { readonly host: string; readonly port: number } {
  const colon = endpoint.lastIndexOf(":");
  return { host: endpoint.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(endpoint.slice(colon + 1)) };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

function names(entry: string, host: string, port: number): boolean {
  if (entry === "*") return true;
  const [, bracketed = "", bracketedPort = ""] = /^\[(.+)\](?::(\d+))?$/.exec(entry) ?? [];
  if (bracketed !== "") return matches(bracketed, host) && isPort(bracketedPort, port);
  const colon = isIPv6(entry.replace(/\/.*$/, "")) ? -1 : entry.lastIndexOf(":");
  if (colon < 0) return matches(entry, host);
  return matches(entry.slice(0, colon), host) && isPort(entry.slice(colon + 1), port);
}

function isPort(text: string, port: number): boolean {
  return text === "" || Number(text) === port;
}

function matches(pattern: string, host: string): boolean {
  const [, address = "", bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(pattern) ?? [];
  const family = isIP(address);
  if (family === 0) {
    const domain = pattern.replace(/^\*?\./, "");
    return domain !== "" && isIP(host) === 0 && (host === domain || host.endsWith(`.${domain}`));
  }
  if (isIP(host) !== family) return false;
  const length = bits === undefined ? (family === 4 ? 32 : 128) : Number(bits);
  if (length > (family === 4 ? 32 : 128)) return false;
  const range = new BlockList();
  range.addSubnet(address, length, family === 4 ? "ipv4" : "ipv6");
  return range.check(host, family === 4 ? "ipv4" : "ipv6");
}

function invalid(message: string): DomainError {
  return new DomainError("CONFIG_INVALID", message);
}

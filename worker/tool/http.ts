// Executes http tools: one granted request, its redirects, a bounded answer.
// The address is checked when the connection is made, in the same resolution that the socket uses, so that a name cannot
// resolve to something else in between; every redirect is checked again. Proxies in the environment are never used.
// Never quotes the URL or a header in a message: both may hold secrets.

import { lookup as systemLookup } from "node:dns";
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import type { Clock } from "../../kit/clock.ts";
import { parseJson } from "../../kit/json.ts";
import type { AddressGuard } from "./addresses.ts";
import { failedRun, type HttpMeans, type ToolExecution, type ToolExecutor, type ToolRun } from "./executor.ts";
import { retryAfterMs } from "./retry_after.ts";

/** Redirects that are followed. */
export const REDIRECTS_MAX = 5;

/** One resolved address. */
export interface ResolvedAddress {
  readonly address: string;
  readonly family: number;
}

/** Resolves a name to all its addresses. */
export type ResolveName = (name: string) => Promise<readonly ResolvedAddress[]>;

/** What the executor needs. */
export interface HttpToolOptions {
  readonly guard: AddressGuard;
  readonly clock: Clock;
  /** The system's resolver by default. */
  readonly resolve?: ResolveName;
}

interface Target {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
}

interface Progress {
  /** Some request may have reached an endpoint. */
  sent: boolean;
}

class Refused extends Error {}
class TooLarge extends Error {}

/** See the file header. */
export function createHttpExecutor(options: HttpToolOptions): ToolExecutor<HttpMeans> {
  return { run: (execution) => runHttp(execution, options) };
}

async function runHttp(execution: ToolExecution<HttpMeans>, options: HttpToolOptions): Promise<ToolRun> {
  const controller = new AbortController();
  let timedOut = false;
  const cancelTimer = options.clock.after(execution.timeoutMs, () => {
    timedOut = true;
    controller.abort();
  });
  const signal = AbortSignal.any([controller.signal, execution.signal]);
  const progress: Progress = { sent: false };
  try {
    return await follow(execution, options, signal, progress);
  } catch (error) {
    if (execution.signal.aborted) return failedRun("Cancelled", "the call was stopped", progress.sent);
    if (timedOut) {
      return failedRun("Timeout", `the endpoint did not answer within ${execution.timeoutMs} ms`, progress.sent);
    }
    return classify(error, progress, execution.resultBytesMax);
  } finally {
    cancelTimer();
  }
}

async function follow(
  execution: ToolExecution<HttpMeans>,
  options: HttpToolOptions,
  signal: AbortSignal,
  progress: Progress,
): Promise<ToolRun> {
  const { means } = execution;
  const url = URL.canParse(means.url) ? new URL(means.url) : undefined;
  if (url === undefined) return failedRun("RequestInvalid", "the tool's url is not a URL", false);
  let target: Target = { method: means.method, url, headers: means.headers, body: means.body };
  for (let redirects = 0; ; redirects += 1) {
    const response = await exchange(target, means.allowPrivateNetwork, options, signal, progress);
    const status = response.statusCode ?? 0;
    const location = response.headers.location;
    if (status < 300 || status > 399 || location === undefined) {
      return answer(response, await readBody(response, execution.resultBytesMax, signal), options.clock);
    }
    response.destroy();
    if (redirects === REDIRECTS_MAX) {
      return failedRun("ResponseInvalid", `the endpoint redirected more than ${REDIRECTS_MAX} times`, true);
    }
    const next = redirectTarget(target, status, location);
    if (typeof next === "string") return failedRun("ResponseInvalid", next, true);
    target = next;
  }
}

// RFC 9110 section 15.4, as browsers do it. Headers of the grant may hold credentials: another origin gets none of them.
function redirectTarget(target: Target, status: number, location: string): Target | string {
  if (!URL.canParse(location, target.url.href)) return "the endpoint redirected to something that is no URL";
  const url = new URL(location, target.url);
  if (target.url.protocol === "https:" && url.protocol === "http:") {
    return "the endpoint redirected from https to http, which is not followed";
  }
  const becomesGet = status === 303 ? target.method !== "HEAD" : status < 303 && target.method === "POST";
  const sameOrigin = url.origin === target.url.origin;
  const body = becomesGet ? undefined : target.body;
  if (!sameOrigin && body !== undefined) {
    return "the endpoint redirected a request with a body to another origin, which is not followed";
  }
  const kept = Object.entries(target.headers).filter(([name]) => {
    const lower = name.toLowerCase();
    if (becomesGet && lower.startsWith("content-")) return false;
    return sameOrigin || lower === "accept";
  });
  return { method: becomesGet ? "GET" : target.method, url, headers: Object.fromEntries(kept), body };
}

function exchange(
  target: Target,
  allowPrivate: boolean,
  options: HttpToolOptions,
  signal: AbortSignal,
  progress: Progress,
): Promise<IncomingMessage> {
  const { url } = target;
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new Refused("only http and https URLs can be called");
  }
  if (url.username !== "" || url.password !== "") throw new Refused("a URL with a user name or password is not called");
  const host = url.hostname.replace(/^\[|\]$/g, "");
  // A literal address is never given to the lookup function, so it is checked here.
  if (isIP(host) !== 0) {
    const refusal = options.guard.refusal(host, allowPrivate);
    if (refusal !== undefined) throw new Refused(`the address of the endpoint is refused: ${refusal}`);
  }
  const secure = url.protocol === "https:";
  // An agent of its own: the global one may be configured from proxy variables, and a pooled socket was checked for another call.
  const agent = secure ? new HttpsAgent({ keepAlive: false }) : new HttpAgent({ keepAlive: false });
  return new Promise((resolve, reject) => {
    let request: ClientRequest;
    try {
      request = (secure ? httpsRequest : httpRequest)({
        agent,
        method: target.method,
        hostname: host,
        port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
        path: `${url.pathname}${url.search}`,
        headers: { ...target.headers, ...(target.body === undefined ? {} : { "content-length": target.body.length }) },
        lookup: guardedLookup(options, allowPrivate),
        signal,
      });
    } catch {
      reject(new Refused("the request has a method or header that HTTP does not allow"));
      return;
    }
    request.on("socket", (socket) => {
      socket.once(secure ? "secureConnect" : "connect", () => {
        progress.sent = true;
      });
    });
    request.on("error", reject);
    request.on("response", resolve);
    request.end(target.body);
  });
}

// Refuses the name when any of its addresses is forbidden: an answer that mixes both is an attack or a mistake.
function guardedLookup(options: HttpToolOptions, allowPrivate: boolean): LookupFunction {
  const resolve = options.resolve ?? resolveWithSystem;
  return (name, lookupOptions, callback) => {
    resolve(name).then(
      (addresses) => {
        const first = addresses[0];
        if (first === undefined) {
          callback(Object.assign(new Error("no address"), { code: "ENOTFOUND" }), "");
          return;
        }
        for (const { address } of addresses) {
          const refusal = options.guard.refusal(address, allowPrivate);
          if (refusal === undefined) continue;
          callback(new Refused(`the address of the endpoint is refused: ${refusal}`), "");
          return;
        }
        if (lookupOptions.all === true) callback(null, [...addresses]);
        else callback(null, first.address, first.family);
      },
      (error: Error) => callback(Object.assign(new Error(error.message), { code: "ENOTFOUND" }), ""),
    );
  };
}

function resolveWithSystem(name: string): Promise<readonly ResolvedAddress[]> {
  return new Promise((resolve, reject) => {
    systemLookup(name, { all: true }, (error, addresses) => (error === null ? resolve(addresses) : reject(error)));
  });
}

async function readBody(response: IncomingMessage, bytesMax: number, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const stop = () => response.destroy(new Error("stopped"));
  signal.addEventListener("abort", stop, { once: true });
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw new TooLarge();
      chunks.push(chunk);
    }
  } finally {
    signal.removeEventListener("abort", stop);
    response.destroy();
  }
  return Buffer.concat(chunks);
}

function answer(response: IncomingMessage, body: Buffer, clock: Clock): ToolRun {
  const status = response.statusCode ?? 0;
  const wait = retryAfterMs(response.headers["retry-after"], clock.now());
  if (status === 429) return failedRun("RateLimited", "the endpoint answered 429 Too Many Requests", false, wait);
  if (status === 503 && wait !== undefined) {
    return failedRun("Http503", "the endpoint answered 503 and named a time to come back", false, wait);
  }
  if (status >= 500) return failedRun("Http5xx", `the endpoint answered ${status}`, true, wait);
  if (status >= 400) return failedRun("Http4xx", `the endpoint answered ${status}`, false);
  if (status < 200 || status >= 300) return failedRun("ResponseInvalid", `the endpoint answered ${status}`, true);
  const encoding = response.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") {
    return failedRun("ResponseInvalid", "the endpoint compressed its answer though it was not asked to", true);
  }
  const text = body.toString("utf8");
  const type = (response.headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (text === "" || !(type === "application/json" || type.endsWith("+json"))) {
    return { ok: true, result: { status, text } };
  }
  try {
    return { ok: true, result: parseJson(text) };
  } catch {
    return failedRun("ResponseInvalid", "the endpoint said that its answer is JSON, but it does not parse", true);
  }
}

function classify(error: unknown, progress: Progress, bytesMax: number): ToolRun {
  if (error instanceof Refused) return failedRun("AddressForbidden", error.message, progress.sent);
  if (error instanceof TooLarge) {
    return failedRun("ResponseTooLarge", `the endpoint's answer is larger than ${bytesMax} bytes`, true);
  }
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (code.startsWith("HPE_")) return failedRun("ResponseInvalid", "the endpoint's answer is not HTTP", true);
  if (["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA"].includes(code)) {
    return failedRun("DnsError", "the name of the endpoint does not resolve", progress.sent);
  }
  if (["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"].includes(code)) {
    return failedRun("ConnectionRefused", `the endpoint cannot be reached (${code})`, progress.sent);
  }
  return failedRun("ConnectionReset", `the connection to the endpoint broke (${code || "no code"})`, progress.sent);
}

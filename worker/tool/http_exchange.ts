// One HTTP exchange of a granted call: request out, bounded answer in, and the class of everything that can go wrong.
// Called by http.ts, webhook.ts and guarded_fetch.ts. The address is checked when the connection is made (network.ts).
// Never quotes the URL or a header in a message: both may hold secrets.

import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Clock } from "../../kit/clock.ts";
import { failedRun, type ToolExecution, type ToolRun } from "./executor.ts";
import { checkLiteral, guardedLookup, type Network, Refused } from "./network.ts";
import { retryAfterMs } from "./retry_after.ts";

/** One request. */
export interface Target {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
}

/** How far a call has come. */
export interface Progress {
  /** Some request may have reached an endpoint. */
  sent: boolean;
}

/** An answer that is larger than it may be. */
export class TooLarge extends Error {}

/**
 * Runs exchanges within the bounds of one attempt: its time, its signal, and the classes of what can go wrong.
 * `progress` says whether something may have had its effect.
 */
export async function withinBounds(
  execution: ToolExecution,
  clock: Clock,
  run: (signal: AbortSignal, progress: Progress) => Promise<ToolRun>,
): Promise<ToolRun> {
  const controller = new AbortController();
  let timedOut = false;
  const cancelTimer = clock.after(execution.timeoutMs, () => {
    timedOut = true;
    controller.abort();
  });
  const signal = AbortSignal.any([controller.signal, execution.signal]);
  const progress: Progress = { sent: false };
  try {
    return await run(signal, progress);
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

/** Sends one request and resolves with its answer, whose body is still to be read. @throws Refused, or the error of the socket */
export function exchange(
  target: Target,
  allowPrivateNetwork: boolean,
  network: Network,
  signal: AbortSignal,
  progress: Progress,
): Promise<IncomingMessage> {
  const { url } = target;
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new Refused("only http and https URLs can be called");
  }
  if (url.username !== "" || url.password !== "") throw new Refused("a URL with a user name or password is not called");
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const secure = url.protocol === "https:";
  const destination = { port: url.port === "" ? (secure ? 443 : 80) : Number(url.port), allowPrivateNetwork };
  checkLiteral(network, host, destination);
  // An agent of its own: the global one may be configured from proxy variables, and a pooled socket was checked for another call.
  const agent = secure ? new HttpsAgent({ keepAlive: false }) : new HttpAgent({ keepAlive: false });
  return new Promise((resolve, reject) => {
    let request: ClientRequest;
    try {
      request = (secure ? httpsRequest : httpRequest)({
        agent,
        method: target.method,
        hostname: host,
        port: destination.port,
        path: `${url.pathname}${url.search}`,
        headers: { ...target.headers, ...(target.body === undefined ? {} : { "content-length": target.body.length }) },
        lookup: guardedLookup(network, destination),
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

/** Reads an answer. @throws TooLarge */
export async function readBody(response: IncomingMessage, bytesMax: number, signal: AbortSignal): Promise<Buffer> {
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

/** The failure that a status is; undefined for 2xx and 3xx. */
export function statusFailure(response: IncomingMessage, clock: Clock): ToolRun | undefined {
  const status = response.statusCode ?? 0;
  const wait = retryAfterMs(response.headers["retry-after"], clock.now());
  if (status === 429) return failedRun("RateLimited", "the endpoint answered 429 Too Many Requests", false, wait);
  if (status === 503 && wait !== undefined) {
    return failedRun("Http503", "the endpoint answered 503 and named a time to come back", false, wait);
  }
  if (status >= 500) return failedRun("Http5xx", `the endpoint answered ${status}`, true, wait);
  if (status >= 400) return failedRun("Http4xx", `the endpoint answered ${status}`, false);
  return undefined;
}

/** The failure that an error of the exchange is. */
export function classify(error: unknown, progress: Progress, bytesMax: number): ToolRun {
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

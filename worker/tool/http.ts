// Executes http tools: one granted request, its redirects, a bounded answer.
// Every redirect goes through the same check of its address as the first request. Called through the executor registry.
// Never quotes the URL or a header in a message: both may hold secrets.

import type { IncomingMessage } from "node:http";
import type { Clock } from "../../kit/clock.ts";
import { parseJson } from "../../kit/json.ts";
import { failedRun, type HttpMeans, type ToolExecution, type ToolExecutor, type ToolRun } from "./executor.ts";
import { exchange, type Progress, readBody, statusFailure, type Target, withinBounds } from "./http_exchange.ts";
import type { Network } from "./network.ts";

/** Redirects that are followed. */
export const REDIRECTS_MAX = 5;

/** See the file header. */
export function createHttpExecutor(network: Network): ToolExecutor<HttpMeans> {
  return {
    run: (execution) =>
      withinBounds(execution, network.clock, (signal, progress) => follow(execution, network, signal, progress)),
  };
}

async function follow(
  execution: ToolExecution<HttpMeans>,
  network: Network,
  signal: AbortSignal,
  progress: Progress,
): Promise<ToolRun> {
  const { means } = execution;
  const url = URL.canParse(means.url) ? new URL(means.url) : undefined;
  if (url === undefined) return failedRun("RequestInvalid", "the tool's url is not a URL", false);
  let target: Target = { method: means.method, url, headers: means.headers, body: means.body };
  for (let redirects = 0; ; redirects += 1) {
    const response = await exchange(target, means.allowPrivateNetwork, network, signal, progress);
    const status = response.statusCode ?? 0;
    const location = response.headers.location;
    if (status < 300 || status > 399 || location === undefined) {
      return answer(response, await readBody(response, execution.resultBytesMax, signal), network.clock);
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

function answer(response: IncomingMessage, body: Buffer, clock: Clock): ToolRun {
  const status = response.statusCode ?? 0;
  const failure = statusFailure(response, clock);
  if (failure !== undefined) return failure;
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

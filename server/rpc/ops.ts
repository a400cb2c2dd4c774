// The ops listener's paths: /healthz (the process answers), /readyz (it should get work), and /metrics (what Prometheus scrapes).
// Wired by listeners.ts. Needs no credentials, and is beyond loopback only where an operator says so (--ops-host).
// The probes reveal no more than yes or no; metrics reveal numbers, and names of namespaces, tools and routes.

import { EXPOSITION_TYPE } from "../../kit/metrics.ts";
import type { Calls } from "./calls.ts";
import type { NodeHandler, NodeResponse } from "./node_call.ts";
import type { Readiness } from "./readiness.ts";

const PLAIN_TYPE = "text/plain; charset=utf-8";

/** The handler; every other path is 404. @param scrape the text of /metrics; never rejects */
export function createOpsHandler(readiness: Readiness, calls: Calls, scrape: () => Promise<string>): NodeHandler {
  return (request, response) => {
    if (!calls.enter(request, response)) return;
    const path = request.url?.split("?", 1)[0];
    if (request.method !== "GET" && request.method !== "HEAD") return send(response, 405, "use GET");
    if (path === "/healthz") return send(response, 200, "ok");
    if (path === "/metrics") return void scrape().then((text) => write(response, 200, EXPOSITION_TYPE, text));
    if (path !== "/readyz") return send(response, 404, "not found: ask for /healthz, /readyz, or /metrics");
    void readiness.ready().then((ready) => (ready ? send(response, 200, "ready") : send(response, 503, "not ready")));
  };
}

function send(response: NodeResponse, status: number, text: string): void {
  write(response, status, PLAIN_TYPE, `${text}\n`);
}

function write(response: NodeResponse, status: number, type: string, text: string): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(text);
}

// The ops listener's paths: /healthz (the process answers) and /readyz (it should get work).
// Wired by listeners.ts. Needs no credentials.
// Never reveals more than yes or no.

import type { Readiness } from "./readiness.ts";
import type { NodeHandler, NodeResponse } from "./rpc_handler.ts";

/** The handler; every other path is 404. */
export function createOpsHandler(readiness: Readiness): NodeHandler {
  return (request, response) => {
    const path = request.url?.split("?", 1)[0];
    if (request.method !== "GET" && request.method !== "HEAD") return send(response, 405, "use GET");
    if (path === "/healthz") return send(response, 200, "ok");
    if (path !== "/readyz") return send(response, 404, "not found: ask for /healthz or /readyz");
    void readiness.ready().then((ready) => (ready ? send(response, 200, "ready") : send(response, 503, "not ready")));
  };
}

function send(response: NodeResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" });
  response.end(`${text}\n`);
}

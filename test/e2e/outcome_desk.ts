// Where the tasks of the graph cases ask how they are to end: an HTTP service that holds each request until a test answers it.
// A request is known by the task that its idempotency key names, so the order in which tasks end is the test's own.
// What it cannot place fails the test that waits for it.

import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { atEndOfFile } from "../harness/cleanup.ts";

const WAIT_MS = 25_000;

/** What a task is told. */
export interface Answer {
  /** 200 if absent; "reset" breaks the connection off. */
  readonly status?: number | "reset";
  readonly body: unknown;
}

/** See the file header. */
export interface OutcomeDesk {
  readonly url: string;
  /** Answers the request of a task, once it is there. */
  answer(taskId: string, answer: Answer): Promise<void>;
}

/** Starts one; it is closed at the end of the test file. */
export async function startOutcomeDesk(): Promise<OutcomeDesk> {
  const requests = new Map<string, PromiseWithResolvers<ServerResponse>>();
  const placeOf = (taskId: string) => {
    const place = requests.get(taskId) ?? Promise.withResolvers<ServerResponse>();
    requests.set(taskId, place);
    return place;
  };
  const server = createServer((request, response) => {
    const [, taskId = ""] = /^auto:(task_\w+)\//.exec(String(request.headers["idempotency-key"])) ?? [];
    placeOf(taskId).resolve(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEndOfFile(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async answer(taskId, { status = 200, body }) {
      const late = Promise.withResolvers<never>();
      const timer = setTimeout(() => late.reject(new Error(`task ${taskId} did not ask for its outcome`)), WAIT_MS);
      try {
        const response = await Promise.race([placeOf(taskId).promise, late.promise]);
        if (status === "reset") response.destroy();
        else response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

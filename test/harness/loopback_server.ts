// An HTTP server of one test, on a free port of 127.0.0.1: closed, with its connections, when that test is over.
// For servers that play a provider or a receiver; what has effects to count is counting_server.ts.

import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** Starts it. @returns its address, such as http://127.0.0.1:4711 */
export async function startLoopbackServer(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

// The endpoint of the tool of the suite `tools`: answers at once, and counts how often it was called.
// Started by fleet.ts in the driver's process. That each run had its one effect is checked by the count.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Cleanup } from "../demo/fleet.ts";
import { MINUTE } from "../kit/units.ts";

/** A running endpoint. */
export interface CountedTool {
  readonly url: string;
  readonly calls: () => number;
}

/** Starts it on a free port of 127.0.0.1. */
export async function startCountedTool(cleanup: Cleanup): Promise<CountedTool> {
  let calls = 0;
  const server = createServer((request, response) => {
    calls += 1;
    const answer = JSON.stringify({ calls });
    request.resume().once("end", () => response.setHeader("content-type", "application/json").end(answer));
  });
  server.keepAliveTimeout = MINUTE;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  cleanup.add(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/count`, calls: () => calls };
}

// The real programs: a server and a worker that become ready on free ports, and a client verb.

import { expect, test } from "vitest";
import { runOrloj, startServer, startWorker } from "../harness/processes.ts";

test("a server and a worker start on free ports, answer a client verb, and stop when told to", async () => {
  const server = await startServer();
  const worker = await startWorker(server);
  const { code, stdout } = await runOrloj(["workers", "-o", "json"], { server });
  expect(code).toBe(0);
  expect(stdout).not.toBe("");
  expect(await worker.stop()).toMatchObject({ signal: null });
  expect(await server.stop()).toEqual({ code: 0, signal: null });
});

// The real programs: a server and a worker that become ready on free ports, and a client verb.

import { readdirSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../harness/folders.ts";
import { runOrloj, startOrloj, startServer, startWorker } from "../harness/processes.ts";

test("a server and a worker start on free ports, answer a client verb, and stop when told to", async () => {
  const server = await startServer();
  const worker = await startWorker(server);
  const { code, stdout } = await runOrloj(["workers", "-o", "json"], { server });
  expect(code).toBe(0);
  expect(stdout).not.toBe("");
  expect(await worker.stop()).toMatchObject({ signal: null });
  expect(await server.stop()).toEqual({ code: 0, signal: null });
});

test("a server that is told to stop while its Postgres starts never becomes ready, and leaves none running", async () => {
  const home = await temporaryFolder("h");
  const ports = { ORLOJ_API_PORT: "0", ORLOJ_WORKER_PORT: "0", ORLOJ_OPS_PORT: "0" };
  const server = startOrloj(["server"], { env: { ...ports, ORLOJ_HOME: home } });
  await vi.waitFor(() => expect(readdirSync(home).join()).toMatch(/postgres/), 15_000);
  expect(await server.stop()).toEqual({ code: 0, signal: null });
  expect(server.output.stdout).not.toMatch(/ready/);
  expect(readdirSync(home, { recursive: true }).join()).not.toMatch(/postmaster\.pid/);
});

// `orloj sandbox` as a process: what it prints, that it serves what it says, flags that are wrong, a port that is taken.

import { expect, test, vi } from "vitest";
import { startOrloj } from "../harness/processes.ts";

// Each test starts processes; a loaded machine may take seconds for one.
vi.setConfig({ testTimeout: 30_000 });

test("it serves with the token that --env prints for a server, ends at a signal, and a taken port is told", async () => {
  const sandbox = startOrloj(["sandbox", "--port", "0", "--token", "it's"]);
  const [, url = ""] = await sandbox.waitFor(/^sandbox ready (http:\S+)/m);
  const port = new URL(url).port;
  const env = startOrloj(["sandbox", "--env", "--port", port, "--token", "it's"]);
  const taken = startOrloj(["sandbox", "--port", port]);
  expect((await env.ended).code).toBe(0);
  expect(env.output.stdout).toContain(`export ORLOJ_SECRET_PAY_URL='${url}'\n`);
  expect(env.output.stdout).toContain("export ORLOJ_SECRET_PAY_TOKEN='it'\\''s'\n");
  expect((await taken.ended).code).toBe(1);
  expect(taken.output.stderr).toMatch(/^error\[E-SANDBOX-FAILED\] .*EADDRINUSE.*Next: --port 0/);
  const answer = await fetch(`${url}/services/search`, { headers: { authorization: "Bearer it's" } });
  expect(await answer.json()).toMatchObject({ name: "search", state: "healthy" });
  sandbox.signal("SIGTERM");
  expect(await sandbox.ended).toEqual({ code: 0, signal: null });
});

test.each([
  [["--port", "70000"], "--port 70000: use a number from 0 to 65535"],
  [["--token", ""], "--token: use visible characters"],
  [["--signing-secret", "whsec_short"], "--signing-secret: use whsec_ and the base64 of 24 to 64 bytes"],
  [["--env", "--port", "0"], "--env: name the port"],
  [["--prot", "1"], "'--prot'"],
])("%j is a usage error", async (words, message) => {
  const running = startOrloj(["sandbox", ...words]);
  expect((await running.ended).code).toBe(2);
  expect(running.output.stderr).toContain(message);
  expect(running.output.stderr).toMatch(/^error\[E-USAGE\] .*Next: orloj sandbox --help\n$/s);
});

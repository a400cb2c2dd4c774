// The server is stopped or killed in the middle of a run, its embedded Postgres with it: the run goes on, nothing is repeated.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { atEndOfFile } from "../harness/cleanup.ts";
import { startCountingServer } from "../harness/counting_server.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { startServer, startWorker } from "../harness/processes.ts";
import { agent, askingAgent, completion, httpTool, single, system, template } from "./documents.ts";
import { stageOf } from "./stage.ts";

// Of a test that failed: a server that is killed leaves its Postgres for the next one.
function stopPostgres(home: string) {
  const file = join(home, "postgres/postmaster.pid");
  if (existsSync(file)) process.kill(Number(readFileSync(file, "utf8").split("\n")[0]), "SIGINT");
}

test("a run outlives SIGTERM and kill -9 of the server: the worker reconnects, turns and effects are not repeated", async () => {
  const sink = await startCountingServer();
  const home = await temporaryFolder("h");
  atEndOfFile(() => stopPostgres(home));
  const options = {
    home,
    args: ["--lease-ttl", "4s"],
    databaseUrl: "embedded",
    env: { ORLOJ_SECRET_SINK_URL: sink.url },
  };
  const first = await startServer(options);
  const ports = Object.fromEntries(
    (["api", "worker", "ops"] as const).map((name) => [
      `ORLOJ_${name.toUpperCase()}_PORT`,
      first[name].split(":").at(-1) ?? "",
    ]),
  );
  const again = { ...options, env: { ...options.env, ...ports } };
  const worker = await startWorker(first, { args: ["--name", "w1"], env: { ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8" } });
  const before = stageOf(first, sink);
  const asked: number[] = [];
  sink.respond("/v1/chat/completions", ({ body }) => {
    const { messages } = JSON.parse(body) as { messages: { role: string }[] };
    const turn = messages.filter(({ role }) => role === "assistant").length + 1;
    asked.push(turn);
    const name = ["one", "two", "three"][turn - 1];
    return name === undefined
      ? completion({ content: '{"done": true}' })
      : completion({ toolCalls: [{ name, arguments: {} }] });
  });
  sink.hold("/two");
  sink.hold("/three");
  await before.apply(
    ...["one", "two", "three"].map((name) => httpTool(name, `/${name}`, { effect: "write" })),
    askingAgent("steady", `${sink.url}/v1`, { tools: ["one", "two", "three"] }),
    agent("last", [{ output: { last: true } }]),
    system("steady", {
      nodes: [
        { name: "steady", agent: "steady" },
        { name: "last", agent: "last" },
      ],
      edges: [{ from: "steady", to: "last" }],
      output: { schema: {}, value: "${{ nodes.last.output }}" },
    }),
    template("steady"),
  );
  const run = await before.client.workflow("steady").invoke();

  await sink.waitForCount("/two", 1);
  expect(await first.stop()).toMatchObject({ code: 0 });
  // Its result comes while there is no server: it is kept until there is one again.
  sink.release("/two");
  const second = await startServer(again);
  await sink.waitForCount("/three", 1);
  second.signal("SIGKILL");
  await second.ended;
  const third = await startServer(again);
  sink.release("/three");

  const after = stageOf(third, sink);
  const handle = after.client.run(run.id);
  expect(await handle.result()).toEqual({ last: true });
  expect(["/one", "/two", "/three"].map((path) => sink.count(path))).toEqual([1, 1, 1]);
  expect(asked).toEqual([1, 2, 3, 4]);
  const trail = await after.trail(handle);
  const count = (kind: string) => trail.filter((entry) => entry.kind === kind).length;
  expect(["turn.recorded", "tool.granted", "tool.result", "task.succeeded"].map(count)).toEqual([5, 3, 3, 2]);
  // The one worker kept its lease all the time.
  expect([count("task.leased"), count("lease.expired")]).toEqual([2, 0]);
  expect(await worker.stop()).toMatchObject({ code: 0 });
  expect(await third.stop()).toMatchObject({ code: 0 });
});

test("a run outlives kill -9 of the embedded Postgres: the server starts it again, nothing is repeated", async () => {
  const sink = await startCountingServer();
  const home = await temporaryFolder("h");
  atEndOfFile(() => stopPostgres(home));
  const server = await startServer({
    home,
    args: ["--lease-ttl", "4s"],
    databaseUrl: "embedded",
    env: { ORLOJ_SECRET_SINK_URL: sink.url },
  });
  const worker = await startWorker(server, { args: ["--name", "w1"], env: { ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8" } });
  const stage = stageOf(server, sink);
  sink.hold("/kept");
  await stage.apply(
    httpTool("kept", "/kept", { effect: "write" }),
    agent("keeper", [{ when: "turn == 1", toolCalls: [{ name: "kept", arguments: {} }] }, { output: { kept: true } }], {
      tools: ["kept"],
    }),
    ...single("keeper"),
  );
  const run = await stage.client.workflow("keeper").invoke();
  await sink.waitForCount("/kept", 1);
  const postmaster = Number(readFileSync(join(home, "postgres/postmaster.pid"), "utf8").split("\n")[0]);
  process.kill(postmaster, "SIGKILL");
  // The result of the call comes while the database is away: it is told again when it is back.
  sink.release("/kept");
  await server.waitFor(/the embedded Postgres runs again/, 60_000);

  const handle = stageOf(server, sink).client.run(run.id);
  expect(await handle.result()).toEqual({ kept: true });
  expect(sink.count("/kept")).toBe(1);
  expect(await worker.stop()).toMatchObject({ code: 0 });
  expect(await server.stop()).toMatchObject({ code: 0 });
  expect(existsSync(join(home, "postgres/postmaster.pid"))).toBe(false);
});

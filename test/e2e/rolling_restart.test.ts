// Everything is restarted, one process after the other, while runs go on: nothing is lost, nothing on record is repeated, and no call
// of the SDK fails. Real replicas on one database behind a plain TCP balancer, real workers, a counting model and a counting tool.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { createClient } from "../../sdk/index.ts";
import { startBalancer } from "../harness/balancer.ts";
import { startCountingServer } from "../harness/counting_server.ts";
import { testDatabase } from "../harness/database.ts";
import { type RunningProcess, type ServerProcess, startServer, startWorker } from "../harness/processes.ts";
import { askingAgent, completion, httpTool, single } from "./documents.ts";

const RUNS_AT_ONCE = 8;

test("a rolling restart of all replicas and workers under load: 0 lost, 0 turns and 0 calls repeated, 0 failed calls", {
  timeout: 120_000,
}, async () => {
  const sink = await startCountingServer();
  const { url } = await testDatabase();
  const asked = new Map<string, number>();
  sink.respond("/v1/chat/completions", ({ body }) => {
    const { messages } = JSON.parse(body) as { messages: { role: string; content: string }[] };
    const op = (JSON.parse(messages.find(({ role }) => role === "user")?.content ?? "{}") as { op: string }).op;
    const turn = messages.filter(({ role }) => role === "assistant").length + 1;
    asked.set(`${op}/${turn}`, (asked.get(`${op}/${turn}`) ?? 0) + 1);
    return turn < 3
      ? completion({ toolCalls: [{ name: "charge", arguments: { op, turn } }] })
      : completion({ content: '{"done": true}' });
  });

  const start = (home?: string) =>
    startServer({
      databaseUrl: url,
      env: { ORLOJ_SECRET_SINK_URL: sink.url },
      ...(home === undefined ? {} : { home }),
    });
  const replicas: ServerProcess[] = [await start()];
  replicas.push(await start(), await start());
  const portOf = (address: string) => Number(address.split(":").at(-1));
  const api = await startBalancer(replicas.map((replica) => portOf(replica.api)));
  const workerPorts = await startBalancer(replicas.map((replica) => portOf(replica.worker)));
  const { token, joinToken } = JSON.parse(readFileSync(join(replicas[0]!.home, "config.json"), "utf8")) as Record<
    string,
    string
  >;
  let workerCount = 0;
  const work = () => {
    workerCount += 1;
    return startWorker(
      { home: replicas[0]!.home, worker: `127.0.0.1:${workerPorts.port}` },
      {
        args: ["--name", `w${workerCount}`],
        env: {
          ...{ ORLOJ_JOIN_TOKEN: joinToken as string, ORLOJ_PRIVATE_NETWORKS: "127.0.0.0/8" },
          ORLOJ_COMMAND_PATH: dirname(process.execPath),
        },
      },
    );
  };
  const workers: RunningProcess[] = [await work(), await work()];
  const client = createClient({ endpoint: `http://127.0.0.1:${api.port}`, token: token as string });
  const manifests = [
    httpTool("charge", "/charge", { effect: "write" }),
    askingAgent("biller", `${sink.url}/v1`, { tools: ["charge"] }),
    ...single("biller", { parameters: { type: "object", properties: { op: { type: "string" } } } }),
  ];
  await client.manifests.apply({
    files: [{ name: "a.yaml", content: manifests.map((one) => JSON.stringify(one)).join("\n---\n") }],
  });

  // Runs keep going until everything was restarted.
  let stop = false;
  let count = 0;
  const failures: unknown[] = [];
  const drive = async () => {
    while (!stop) {
      count += 1;
      const op = `op${count}`;
      try {
        const run = await client.workflow("biller").invoke({ op });
        expect(await run.result()).toEqual({ done: true });
        expect((await run.get()).outputJson).toBe('{"done":true}');
      } catch (error) {
        failures.push(error);
      }
    }
  };
  const drivers = Array.from({ length: RUNS_AT_ONCE }, drive);
  for (const [index, replica] of replicas.entries()) {
    await sink.waitForCount("/charge", sink.count("/charge") + 30, 60_000);
    expect(await replica.stop()).toMatchObject({ code: 0 });
    replicas[index] = await start(replica.home);
    api.targets = replicas.map((one) => portOf(one.api));
    workerPorts.targets = replicas.map((one) => portOf(one.worker));
  }
  for (const [index, worker] of workers.entries()) {
    await sink.waitForCount("/charge", sink.count("/charge") + 30, 60_000);
    const next = work();
    expect(await worker.stop()).toMatchObject({ code: 0 });
    workers[index] = await next;
  }
  await sink.waitForCount("/charge", sink.count("/charge") + 30, 60_000);
  stop = true;
  await Promise.all(drivers);

  expect(failures).toEqual([]);
  expect([...asked].filter(([, times]) => times > 1)).toEqual([]);
  const calls = new Map<string, number>();
  for (const { body } of sink.calls("/charge")) calls.set(body, (calls.get(body) ?? 0) + 1);
  expect([...calls].filter(([, times]) => times > 1)).toEqual([]);
  expect(calls.size).toBe(count * 2);
  const { runs } = await client.workflows.listRuns({ pageSize: 500 });
  expect(new Set(runs.map(({ state }) => state)).size).toBe(1);
  expect(await client.audit.listAuditRecords({ filter: { kinds: ["lease.expired"] } })).toMatchObject({ records: [] });
});

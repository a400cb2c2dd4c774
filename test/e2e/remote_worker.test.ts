// From `orloj certs init` to a task that a worker with a certificate runs, and what follows: every certificate and the CA renewed while a task
// runs, without a restart and without a lost lease; a worker whose certificate is revoked, whose task another one takes over.

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { createClient, type OrlojClient } from "../../sdk/index.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { type RunningProcess, runOrloj, type ServerProcess, startOrloj, startServer } from "../harness/processes.ts";
import { agent, single } from "./documents.ts";

const SETUP_MS = 60_000;
const TEST_MS = 120_000;
/** Files are looked at every 10 s, by the server and by workers. */
const MOVED_MS = 40_000;
const DOMAIN = "orloj.test";

let folder: string;
let server: ServerProcess;
let client: OrlojClient;

beforeAll(async () => {
  folder = await temporaryFolder("remote");
  await certs("init", "--trust-domain", DOMAIN);
  await certs("issue", "server", "--host", "localhost", "--host", "127.0.0.1");
  for (const name of ["w1", "w2"]) await certs("issue", "worker", "--name", name);
  server = await startServer({
    args: ["--lease-ttl", "3s", "--worker-trust-domain", DOMAIN],
    env: {
      ORLOJ_WORKER_TLS_CERT: file("server.crt"),
      ORLOJ_WORKER_TLS_KEY: file("server.key"),
      ORLOJ_WORKER_TLS_CLIENT_CA: file("ca.crt"),
      ORLOJ_WORKER_TLS_CRL: file("ca.crl"),
    },
  });
  const { token } = JSON.parse(readFileSync(join(server.home, "config.json"), "utf8")) as { token: string };
  client = createClient({ endpoint: server.api, token });
  const slow = (name: string, delayMs: number) => agent(name, [{ delayMs, output: { done: name } }]);
  const documents = [agent("quick", [{ output: { done: "quick" } }]), slow("slow", 30_000), slow("long", 60_000)];
  const all = [...documents, ...["quick", "slow", "long"].flatMap((name) => single(name))];
  const content = all.map((one) => JSON.stringify(one)).join("\n---\n");
  await client.manifests.apply({ files: [{ name: "a.yaml", content }] });
}, SETUP_MS);

function file(name: string): string {
  return join(folder, "certs", name);
}

async function certs(...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runOrloj(["certs", ...words, "--dir", join(folder, "certs")]);
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

function startWorkerNamed(name: string, args: readonly string[] = []): RunningProcess {
  const port = new URL(`tcp://${server.worker}`).port;
  const tls = ["--ca", file("ca.crt"), "--cert", file(`worker-${name}.crt`), "--key", file(`worker-${name}.key`)];
  return startOrloj(["worker", "--server", `localhost:${port}`, ...tls, ...args], {
    env: { ORLOJ_HOME: join(folder, "nowhere"), ORLOJ_LOG_LEVEL: "debug" },
  });
}

async function recordsOf(runId: string, kind: string): Promise<Record<string, unknown>[]> {
  const { records } = await client.audit.listAuditRecords({ filter: { runId, kinds: [kind] }, pageSize: 100 });
  return records.map(({ recordJson }) => JSON.parse(recordJson).detail as Record<string, unknown>);
}

test(
  "a worker with a certificate runs a task; keys are their owner's alone, and no join token is made",
  async () => {
    const worker = startWorkerNamed("w1");
    await worker.waitFor(/worker w1 ready/);
    expect(await (await client.workflow("quick").invoke()).result()).toEqual({ done: "quick" });
    const { workers } = await client.fleet.listWorkers({});
    expect(workers).toMatchObject([{ name: "w1", identity: `spiffe://${DOMAIN}/worker/w1` }]);
    for (const name of ["ca.key", "server.key", "worker-w1.key"]) expect(statSync(file(name)).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, "certs")).mode & 0o777).toBe(0o700);
    expect(JSON.parse(readFileSync(join(server.home, "config.json"), "utf8"))).toMatchObject({ joinToken: "" });
    await worker.stop();
  },
  TEST_MS,
);

test("a worker says what is wrong with its files, and ends", async () => {
  const named = async (args: readonly string[]) => {
    const running = startWorkerNamed("w1", args);
    expect(await running.ended).toMatchObject({ code: 2 });
    return running.output.stderr;
  };
  const [gone, other, name] = await Promise.all([
    named(["--cert", file("none.crt")]),
    named(["--key", file("worker-w2.key")]),
    named(["--name", "w9"]),
  ]);
  expect(gone).toMatch(/error\[E-CONFIG-INVALID\]: cert: .*none\.crt cannot be read: ENOENT/);
  expect(other).toMatch(/key: .*worker-w2\.key is not the key of .*worker-w1\.crt/);
  expect(name).toMatch(/the name "w9" is not the one in the certificate, "w1"/);
});

test(
  "server, worker and CA are renewed while a task runs: no restart, no lost lease, and the old CA counts no more",
  async () => {
    const worker = startWorkerNamed("w1");
    await worker.waitFor(/worker w1 ready/);
    const run = await client.workflow("slow").invoke();
    await expect.poll(async () => (await recordsOf(run.id, "task.leased")).length, { timeout: MOVED_MS }).toBe(1);
    await certs("rotate", "ca");
    await certs("rotate", "--all");
    // The worker moves by itself once its files have changed; the server takes the new CA meanwhile.
    await worker.waitFor(/certificate files changed/, MOVED_MS);
    await worker.waitFor(/info\s+connected session=/, MOVED_MS);
    await certs("rotate", "ca", "--finish");
    await server.waitFor(/tls\.replaced[\s\S]*tls\.replaced/, MOVED_MS);
    expect(await run.result()).toEqual({ done: "slow" });
    expect(await recordsOf(run.id, "task.leased")).toHaveLength(1);
    expect(await recordsOf(run.id, "lease.")).toEqual([]);
    const fresh = startWorkerNamed("w2");
    await fresh.waitFor(/worker w2 ready/);
    await fresh.stop();
    await worker.stop();
  },
  TEST_MS,
);

test(
  "a revoked worker loses its session, and its task goes to another one",
  async () => {
    const first = startWorkerNamed("w1");
    await first.waitFor(/worker w1 ready/);
    const run = await client.workflow("long").invoke();
    await expect.poll(async () => (await recordsOf(run.id, "task.leased")).length, { timeout: MOVED_MS }).toBe(1);
    const second = startWorkerNamed("w2");
    await second.waitFor(/worker w2 ready/);
    await certs("revoke", "worker-w1");
    await first.waitFor(/UNAUTHENTICATED: the credentials of this stream are not valid any more/, MOVED_MS);
    await expect.poll(async () => (await recordsOf(run.id, "task.leased")).length, { timeout: MOVED_MS }).toBe(2);
    const [, taken] = await recordsOf(run.id, "task.leased");
    expect(taken).toMatchObject({ worker: "w2" });
    const { records } = await client.audit.listAuditRecords({ filter: { kinds: ["security.refused"] }, pageSize: 100 });
    const ended = records
      .map(({ recordJson }) => JSON.parse(recordJson).detail)
      .filter(({ principal }) => principal === `spiffe://${DOMAIN}/worker/w1`);
    expect(ended).toMatchObject([{ listener: "worker", reason: "CREDENTIALS_INVALID: CERTIFICATE_REVOKED", count: 1 }]);
    await run.cancel();
    first.signal("SIGKILL");
    second.signal("SIGKILL");
  },
  TEST_MS,
);

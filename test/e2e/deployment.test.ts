// What deploy/compose puts together, put together on this machine as it stands there: its secrets, roles, certificates and configuration;
// a migration as the owner; two servers that own nothing; a balancer that passes TCP through; two workers over mutual TLS; the administrator.
// haproxy balances and psql makes the roles where they are there.

import { cpSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import pg from "pg";
import { beforeAll, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { command } from "../../scripts/command.ts";
import { startEmbedded } from "../../server/storage/embedded/start.ts";
import { startBalancer } from "../harness/balancer.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { overTcp } from "../harness/postgres_bridge.ts";
import { type RunningProcess, startOrloj, startProcess } from "../harness/processes.ts";
import { HELLO } from "./documents.ts";

const ROOT = join(import.meta.dirname, "../..");
const COMPOSE = join(ROOT, "deploy/compose");
/** Two servers, a balancer and two workers start on one machine, which may be busy. */
const READY_MS_MAX = 60_000;
let folder: string;
let databases: Record<"owner" | "server" | "maintenance", string>;
const tls = (name: string, file = "") => join(folder, "out", name, file);
const env = { PATH: "" };

beforeAll(async () => {
  folder = await temporaryFolder("deployment");
  cpSync(COMPOSE, folder, { recursive: true, filter: (path) => !path.endsWith("/secrets") });
  mkdirSync(join(folder, "bin"));
  const wrapper = `#!/bin/sh\nexec "${process.execPath}" "${join(ROOT, "bin/orloj.ts")}" "$@"\n`;
  writeFileSync(join(folder, "bin/orloj"), wrapper, { mode: 0o755 });
  symlinkSync(process.execPath, join(folder, "bin/node"));
  env.PATH = [join(folder, "bin"), process.env["PATH"]].join(delimiter);
  await finished("prepare.sh", []);
  await finished("certs.sh", [join(folder, "ca"), join(folder, "out")]);
  databases = await madeDatabases();
});

async function finished(script: string, args: readonly string[], more: Record<string, string> = {}): Promise<void> {
  const running = startProcess("sh", [join(folder, script), ...args], { env: { ...env, ...more } });
  const { code } = await running.ended;
  expect(code, `${script}\n${running.output.stdout}${running.output.stderr}`).toBe(0);
}

// The database of compose.yaml: its owner, and the two roles that roles.sh makes beside it.
async function madeDatabases() {
  const postgres = await startEmbedded({ home: join(folder, "pg"), clock: systemClock(), log: () => undefined });
  atEndOfFile(() => postgres.stop());
  const url = new URL(await overTcp(postgres.url));
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  const password = (role: string) => readFileSync(join(folder, `secrets/${role}_password`), "utf8");
  await client.query(`CREATE ROLE orloj_owner LOGIN CREATEROLE PASSWORD '${password("owner")}'`);
  await client.query("CREATE DATABASE deployed OWNER orloj_owner");
  const owner = new URL(`postgres://orloj_owner:${password("owner")}@${url.host}/deployed`);
  if ((await command("psql", ["--version"])).code === 0) {
    const script = readFileSync(join(folder, "roles.sh"), "utf8").replaceAll("/run/secrets", join(folder, "secrets"));
    writeFileSync(join(folder, "roles.sh"), script);
    await finished("roles.sh", [], {
      ...{ POSTGRES_USER: "orloj_owner", POSTGRES_DB: "deployed", PGPASSWORD: password("owner") },
      ...{ PGHOST: url.hostname, PGPORT: url.port },
    });
  } else {
    console.log("roles.sh: not run, there is no psql");
    for (const role of ["server", "maintenance"])
      await client.query(`CREATE ROLE orloj_${role} LOGIN PASSWORD '${password(role)}'`);
  }
  await client.end();
  const of = (role: string) => {
    const file = join(folder, `url-${role}`);
    const text = readFileSync(join(folder, `secrets/${role}_url`), "utf8");
    writeFileSync(file, text.replace("postgres:5432/orloj", `${owner.host}/deployed`));
    return file;
  };
  return { owner: of("owner"), server: of("server"), maintenance: of("maintenance") };
}

function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    }),
  );
}

interface Server extends RunningProcess {
  readonly api: number;
  readonly worker: number;
  readonly ops: number;
}

async function startServer(name: string): Promise<Server> {
  const config = join(folder, "orloj.yaml");
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, readFileSync(config, "utf8").replaceAll("/tls/", `${tls("server")}/`));
  const [api, worker, ops] = [await freePort(), await freePort(), await freePort()];
  const running = startOrloj(["server", "--migrate=check"], {
    env: {
      ...{ ORLOJ_HOME: join(folder, name), ORLOJ_CONFIG: file, ORLOJ_AUDIT_HEADS: "stdout" },
      ...{ ORLOJ_HOST: "0.0.0.0", ORLOJ_WORKER_HOST: "0.0.0.0", ORLOJ_OPS_HOST: "0.0.0.0" },
      ...{ ORLOJ_DATABASE_URL_FILE: databases.server, ORLOJ_MAINTENANCE_DATABASE_URL_FILE: databases.maintenance },
      ...{ ORLOJ_AUDIT_KEY: tls("server", "audit-key.pem"), ORLOJ_SECRETS_DIR: join(folder, "secrets/tools") },
      ...{ ORLOJ_API_PORT: `${api}`, ORLOJ_WORKER_PORT: `${worker}`, ORLOJ_OPS_PORT: `${ops}` },
    },
  });
  await running.waitFor(/orloj server ready/, READY_MS_MAX);
  return Object.assign(running, { api, worker, ops });
}

async function startWorker(name: string, port: number): Promise<RunningProcess> {
  const running = startOrloj(["worker", "--slots=4", "--drain-window=60s"], {
    env: {
      ...{ ORLOJ_HOME: join(folder, name), ORLOJ_WORK_DIR: folder, ORLOJ_WORKER_ENDPOINTS: `localhost:${port}` },
      ...{
        ORLOJ_WORKER_CA: tls(name, "ca.crt"),
        ORLOJ_WORKER_CERT: tls(name, "tls.crt"),
        ORLOJ_WORKER_KEY: tls(name, "tls.key"),
      },
      ...{ ORLOJ_TOOL_MEMORY_MIB: "256", ORLOJ_LOG_FORMAT: "json" },
    },
  });
  await running.waitFor(/\bready\b/, READY_MS_MAX);
  return running;
}

// The file as it stands, but for names and ports that are those of this machine.
async function startHaproxy(servers: readonly Server[]): Promise<{ api: number; workers: number } | undefined> {
  if ((await command("haproxy", ["-v"])).code !== 0) {
    console.log("haproxy: not run");
    return undefined;
  }
  const ports = { api: await freePort(), workers: await freePort(), health: await freePort() };
  let text = readFileSync(join(folder, "haproxy.cfg"), "utf8")
    .replace("bind :7601", `bind 127.0.0.1:${ports.api}`)
    .replace("bind :7602", `bind 127.0.0.1:${ports.workers}`)
    .replace(":8404", `:${ports.health}`)
    .replace(" port 7603", "");
  for (const [index, { api, worker, ops }] of servers.entries()) {
    const name = `server-${index + 1}`;
    text = text
      .replace(`${name} ${name}:7601`, `${name} 127.0.0.1:${api} port ${ops}`)
      .replace(`${name} ${name}:7602`, `${name} 127.0.0.1:${worker} port ${ops}`);
  }
  const file = join(folder, "local.cfg");
  writeFileSync(file, text);
  const running = startProcess("haproxy", ["-W", "-db", "-f", file]);
  await expect
    .poll(async () => (await fetch(`http://127.0.0.1:${ports.health}/healthz`).catch(() => undefined))?.status, {
      timeout: 20_000,
    })
    .toBe(200);
  expect(running.output.stderr).not.toMatch(/ALERT/);
  return ports;
}

test("each gets what it may see, and a second run of certs.sh changes nothing", async () => {
  const files = [
    "server/tls.key",
    "worker-1/tls.key",
    "worker-2/tls.crt",
    "admin/tls.crt",
    "server/ca.crl",
    "server/audit-key.pem",
  ];
  const before = files.map((name) => readFileSync(tls(name), "utf8"));
  expect(new Set(before).size).toBe(files.length);
  expect(statSync(tls("server/tls.key")).mode & 0o777).toBe(0o400);
  await finished("certs.sh", [join(folder, "ca"), join(folder, "out")]);
  expect(files.map((name) => readFileSync(tls(name), "utf8"))).toEqual(before);
});

test("a workflow runs on it, is not disturbed when a server leaves, and everything stops politely", async () => {
  const migrated = startOrloj(["migrate", "--server-role=orloj_server", "--maintenance-role=orloj_maintenance"], {
    env: { ORLOJ_DATABASE_URL_FILE: databases.owner },
  });
  expect((await migrated.ended).code, migrated.output.stderr).toBe(0);
  const servers = [await startServer("one"), await startServer("two")];
  const ports = (await startHaproxy(servers)) ?? {
    api: (await startBalancer(servers.map(({ api }) => api))).port,
    workers: (await startBalancer(servers.map(({ worker }) => worker))).port,
  };
  const workers = [await startWorker("worker-1", ports.workers), await startWorker("worker-2", ports.workers)];
  const orloj = async (...words: string[]) => {
    const running = startOrloj(words, {
      env: {
        ...{ ORLOJ_HOME: join(folder, "cli"), ORLOJ_SERVER: `https://localhost:${ports.api}` },
        ...{
          ORLOJ_CA: tls("admin", "ca.crt"),
          ORLOJ_CERT: tls("admin", "tls.crt"),
          ORLOJ_KEY: tls("admin", "tls.key"),
        },
      },
    });
    const { code } = await running.ended;
    expect(code, `${words.join(" ")}\n${running.output.stdout}${running.output.stderr}`).toBe(0);
    return running.output.stdout;
  };
  const listed = await orloj("workers");
  for (const name of ["w1", "w2"]) expect(listed).toMatch(new RegExp(`\\b${name}\\b`));
  const file = join(folder, "hello.yaml");
  writeFileSync(file, HELLO);
  await orloj("apply", "-f", file);
  expect(await orloj("invoke", "hello", "--watch")).toContain("SUCCEEDED");

  expect(await servers[0]?.stop()).toEqual({ code: 0, signal: null });
  expect(await orloj("invoke", "hello", "--watch")).toContain("SUCCEEDED");
  for (const worker of workers) expect(await worker.stop()).toEqual({ code: 0, signal: null });
  expect(await servers[1]?.stop()).toEqual({ code: 0, signal: null });
  // Heads of the trail left it, signed with the key that both share.
  expect(servers[1]?.output.stdout).toMatch(/"type":"head"/);
}, 300_000);

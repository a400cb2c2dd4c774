// How a worker connects: proxies, names with several addresses, servers that say nothing, links that lose what they carry.
// Real sockets and real gRPC; the server is played. Endpoints on names stand for machines elsewhere: a table leads to loopback.

import { writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { seededRandom } from "../../kit/random.ts";
import type { DialerOptions } from "../../worker/session/dial.ts";
import type { WorkerOptions } from "../../worker/worker.ts";
import { TcpProxy } from "../chaos/tcp_proxy.ts";
import { createCa } from "../harness/certificates.ts";
import { ConnectProxy, type ConnectProxyOptions } from "../harness/connect_proxy.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { inOrder, PlayedServer, playedWorker } from "./played_server.ts";
import { assign, closeAtEnd, closers, hangs, played, serveView } from "./session_stage.ts";

const ENDPOINT = "cp.example:7602";
const QUICK = { connectMs: 2_000, welcomeMs: 1_000, pingMs: 300, pingAnswerMs: 700, unreadMs: 1_000, closeMs: 50 };

async function proxied(options: ConnectProxyOptions = {}) {
  const server = await played();
  const proxy = await ConnectProxy.start({ table: { [ENDPOINT]: server.endpoint }, ...options });
  closers.push(() => proxy.close());
  return { server, proxy };
}

/** A worker, and the reasons that it logs for not being connected. */
function logged(
  endpoints: readonly string[],
  changes: Partial<WorkerOptions> = {},
  connections: Partial<Pick<DialerOptions, "times" | "lookUp">> = {},
) {
  const lines: string[] = [];
  let tell = () => {};
  const log: WorkerOptions["log"] = (_level, message, fields = {}) => {
    lines.push(`${message} ${JSON.stringify(fields)}`);
    tell();
  };
  const worker = playedWorker(endpoints, { log, ...changes }, undefined, inOrder, { times: QUICK, ...connections });
  closeAtEnd(worker);
  const started = worker.start();
  started.catch(() => {});
  const reason = async (pattern: RegExp) => {
    for (;;) {
      const found = lines.find((line) => pattern.test(line));
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        tell = resolve;
      });
    }
  };
  return { started, reason, lines };
}

/** The stream by which the worker was taken in. A late Welcome finds it gone: whoever comes next is welcome too. */
async function reaches({ server }: { server: PlayedServer }, worker: { started: Promise<void> }) {
  const isTakenIn = worker.started.then(() => true);
  for (;;) {
    const stream = await server.stream();
    stream.welcome();
    if (await Promise.race([isTakenIn, server.waits().then(() => false)])) return stream;
  }
}

test("an endpoint elsewhere is reached through the proxy, by its name, with user and password", async () => {
  const both = await proxied({ credentials: "ann:p@ss:word" });
  const url = `http://ann:p%40ss%3Aword@127.0.0.1:${both.proxy.port}`;
  const stream = await reaches(both, logged([ENDPOINT], { proxy: url }));
  expect(both.proxy.asked).toEqual([ENDPOINT]);
  expect(stream.authorization).toBe("Bearer join-me");
});

test("with certificates, both ends prove themselves to each other through the proxy, by the endpoint's name", async () => {
  const ca = await createCa("lab");
  const folder = await temporaryFolder("conn");
  const own = await ca.issue({ uris: ["spiffe://lab/worker/w1"] });
  const tls = { ca: join(folder, "ca"), cert: join(folder, "cert"), key: join(folder, "key") };
  for (const [file, text] of [[tls.ca, ca.cert] as const, [tls.cert, own.cert] as const, [tls.key, own.key] as const])
    writeFileSync(file, text);
  const secure = async (dnsName: string) => {
    const proof = await ca.issue({ usages: ["server"], dnsNames: [dnsName] });
    return await played({ ...proof, ca: ca.cert, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" });
  };
  const [right, wrong] = [await secure("cp.example"), await secure("other.example")];
  const proxy = await ConnectProxy.start({ table: { [ENDPOINT]: right.endpoint, "cp.example:1": wrong.endpoint } });
  closers.push(() => proxy.close());
  const through = { tls, proxy: `http://127.0.0.1:${proxy.port}` };
  const stream = await reaches({ server: right }, logged([ENDPOINT], through));
  const socket = stream.connection.socket as TLSSocket;
  expect(socket.authorized).toBe(true);
  expect(socket.getPeerCertificate().subjectaltname).toBe("URI:spiffe://lab/worker/w1");
  expect(stream.authorization).toBe("");
  // What the proxy leads to is not what was asked for.
  await logged(["cp.example:1"], through).reason(/does not match certificate's altnames/);
});

test("what is on this machine, and what is excepted, is reached without the proxy", async () => {
  const both = await proxied();
  const proxy = `http://127.0.0.1:${both.proxy.port}`;
  await reaches(both, logged([both.server.endpoint], { proxy }));
  const { port } = new URL(`http://${both.server.endpoint}`);
  const lookUp = async () => ["127.0.0.1"];
  await reaches(both, logged([`cp.example:${port}`], { proxy, proxyExcept: [".example"] }, { lookUp }));
  expect(both.proxy.asked).toEqual([]);
});

test.each<[string, Partial<ConnectProxyOptions>, ConnectProxy["instead"], RegExp]>([
  [
    "asks for a password",
    { credentials: "ann:sesame" },
    undefined,
    /asks for user and password \(407 So it is\); write/,
  ],
  ["forbids it", {}, 403, /refuses to connect to cp\.example:7602 \(403 So it is\); allow CONNECT/],
  ["cannot reach it", { table: { [ENDPOINT]: "127.0.0.1:1" } }, undefined, /cannot reach cp\.example:7602 \(502/],
  ["is no proxy", {}, "garbage", /is no HTTP proxy; check/],
])("a proxy that %s: the worker says so, and what to change, and goes on trying", async (_, options, instead, says) => {
  const both = await proxied(options);
  both.proxy.instead = instead;
  const worker = logged([ENDPOINT], { proxy: `http://127.0.0.1:${both.proxy.port}` });
  expect(await worker.reason(says)).toContain(`127.0.0.1:${both.proxy.port}`);
  await expect.poll(() => both.proxy.asked.length).toBeGreaterThan(2);
});

test("a proxy that refuses the password: the message has neither it nor its encoding", async () => {
  const both = await proxied({ credentials: "ann:sesame" });
  const worker = logged([ENDPOINT], { proxy: `http://ann:wrongsesame@127.0.0.1:${both.proxy.port}` });
  await worker.reason(/does not accept this user and password \(407/);
  expect(worker.lines.join("\n")).not.toMatch(/wrongsesame|YW5uOndyb25n/);
});

test("a proxy that is not there is named", async () => {
  const worker = logged([ENDPOINT], { proxy: "http://127.0.0.1:1" });
  await worker.reason(/ECONNREFUSED 127\.0\.0\.1:1/);
});

test("a proxy that says nothing is left after the time for a Welcome, which says what was missing, and no connection stays", async () => {
  const both = await proxied();
  both.proxy.instead = "silence";
  const worker = logged([ENDPOINT], { proxy: `http://127.0.0.1:${both.proxy.port}` });
  const line = await worker.reason(/no Welcome within 1 s/);
  expect(line).toContain(`still waiting for the answer of the proxy 127.0.0.1:${both.proxy.port} for ${ENDPOINT}`);
  both.proxy.instead = undefined;
  await reaches(both, worker);
  // The one in use: its two halves.
  await expect.poll(() => both.proxy.size, { timeout: 5_000 }).toBe(2);
});

test("a connection that the proxy cuts is made again, with what was held", async () => {
  const both = await proxied();
  const worker = logged([ENDPOINT], { proxy: `http://127.0.0.1:${both.proxy.port}` });
  const stream = await reaches(both, worker);
  assign(stream, 1);
  await serveView(stream, hangs);
  await stream.next("accept");
  both.proxy.cut();
  const again = await both.server.stream();
  expect(again.hello).toMatchObject({ resumeSessionId: "ses_1", held: [{ taskId: "task_1", token: "token_1" }] });
});

test("a name with several addresses: a dead one is passed over, and workers spread over the others", async () => {
  const servers: PlayedServer[] = [];
  const first = await played();
  const port = Number(first.endpoint.split(":")[1]);
  for (const host of ["127.0.0.2", "127.0.0.3"]) {
    const server = new PlayedServer();
    await server.listen(port, host);
    closers.push(() => server.close());
    servers.push(server);
  }
  // 127.0.0.4 refuses.
  const lookUp = async () => ["127.0.0.4", "127.0.0.2", "127.0.0.3"];
  const counts = [0, 0];
  for (let seed = 1; seed <= 12; seed += 1) {
    const worker = playedWorker([`cp.example:${port}`], {}, undefined, seededRandom(seed), { times: QUICK, lookUp });
    const started = worker.start();
    await expect.poll(() => servers.some(({ streams }) => streams > 0)).toBe(true);
    const index = servers.findIndex(({ streams }) => streams > 0);
    await reaches({ server: servers[index] as PlayedServer }, { started });
    counts[index] = (counts[index] ?? 0) + 1;
    worker.abort();
    await worker.ended;
  }
  expect(Math.min(...counts)).toBeGreaterThan(1);
});

test("a name that cannot be looked up is named; one that could before is dialled where it was", async () => {
  const server = await played();
  const { port } = new URL(`http://${server.endpoint}`);
  let known = false;
  let stuck = false;
  const lookUp = async () => {
    if (stuck) await new Promise(() => {});
    if (!known) throw new Error("ENOTFOUND");
    return ["127.0.0.1"];
  };
  // Half of the time to connect is the resolver's: well within the time for a Welcome.
  const worker = logged([`cp.example:${port}`], {}, { lookUp, times: { ...QUICK, connectMs: 500 } });
  await worker.reason(/the name cp\.example cannot be looked up: ENOTFOUND/);
  known = true;
  const stream = await reaches({ server }, worker);
  known = false;
  stream.lose();
  const again = await server.stream();
  expect(again.hello.resumeSessionId).toBe("ses_1");
  // Nor does a resolver that hangs keep it away.
  stuck = true;
  again.welcome();
  again.lose();
  expect((await server.stream()).hello.resumeSessionId).toBe("ses_1");
});

test("a lookup that hangs is not begun again and again, and bounds no try", async () => {
  let lookups = 0;
  const lookUp = () => {
    lookups += 1;
    return new Promise<never>(() => {});
  };
  const worker = logged(["cp.example:1"], {}, { lookUp, times: { ...QUICK, connectMs: 200 } });
  await worker.reason(/no connection to cp\.example:1 within 0\.2 s/);
  await expect.poll(() => worker.lines.length).toBeGreaterThan(3);
  expect(lookups).toBe(1);
});

test("a server that accepts and says nothing is left in time, and no connection stays", async () => {
  const sockets = new Set<Socket>();
  const mute = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    socket.resume();
  });
  await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
  closers.push(() => new Promise((resolve) => mute.close(() => resolve())));
  const { port } = mute.address() as { port: number };
  const server = await played();
  const worker = logged([`127.0.0.1:${port}`, server.endpoint]);
  const line = await worker.reason(/no Welcome within 1 s/);
  expect(line).toContain(`still waiting for the answer of 127.0.0.1:${port}`);
  await reaches({ server }, worker);
  await expect.poll(() => sockets.size, { timeout: 5_000 }).toBe(0);
});

test.each([
  ["to the server", { holdUp: true }],
  ["to the worker", { holdDown: true }],
  ["both ways", { holdUp: true, holdDown: true }],
])(
  "a link that loses everything %s: the worker leaves it, and goes on at another endpoint with what it holds",
  async (_, toxics) => {
    const [first, second] = [await played(), await played()];
    const { port } = new URL(`http://${first.endpoint}`);
    const link = new TcpProxy(() => [{ host: "127.0.0.1", port: Number(port) }], Math.random);
    const near = await link.listen();
    closers.push(() => link.close());
    const worker = logged([`127.0.0.1:${near}`, second.endpoint]);
    const stream = await reaches({ server: first }, worker);
    assign(stream, 1);
    await serveView(stream, hangs);
    await stream.next("accept");
    const before = performance.now();
    link.toxics = toxics;
    const again = await second.stream();
    expect(performance.now() - before).toBeLessThan(5_000);
    expect(again.hello).toMatchObject({ resumeSessionId: "ses_1", held: [{ token: "token_1" }] });
    again.welcome({ held: [{ taskId: "task_1", token: "token_1", keep: true }] });
    expect((await again.next("accept")).tokens).toEqual(["token_1"]);
  },
);

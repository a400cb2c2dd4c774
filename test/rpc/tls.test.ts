// The API listener with TLS and client certificates: real handshakes, and every certificate that must be refused.
// The control plane behind it is the fake one, with the real mapping of certificates in front.

import { createServer } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../kit/clock.ts";
import { readRevocationLists } from "../../kit/revocation_list.ts";
import { createClient, OrlojError } from "../../sdk/index.ts";
import { authenticate } from "../../server/commands/authenticate.ts";
import { Identities, noRevocations } from "../../server/identity/identify.ts";
import { createListeners, type Listeners } from "../../server/rpc/listeners.ts";
import { createLogger } from "../../server/telemetry/log.ts";
import { type Ca, createCa, type Issued, type Wanted } from "../harness/certificates.ts";
import { FakeControlPlane } from "./fake_control_plane.ts";

const NAME = "spiffe://acme.example/ci";
const HOUR_MS = 3_600_000;
const clock = systemClock();
const plane = new FakeControlPlane();
const [servers, clients, stranger, twin] = (await Promise.all(
  ["servers", "clients", "stranger", "clients"].map(createCa),
)) as [Ca, Ca, Ca, Ca];
const revocations = noRevocations();
const own = await servers.issue({ usages: ["server"], dnsNames: ["localhost"], ips: ["127.0.0.1"] });
let listeners: Listeners;
let port = 0;

beforeAll(async () => {
  const identities = new Identities(
    {
      trustDomain: "acme.example",
      clients: [
        { uri: NAME, kind: "service", groups: ["engineering"] },
        { uri: "spiffe://acme.example/team/*", kind: "user", groups: ["team"] },
      ],
      issuers: [],
      roles: [{ grant: { right: "invoker" }, principals: [], groups: ["engineering", "team"], namespaces: [] }],
    },
    clock,
    () => undefined,
    revocations,
  );
  const tokens = { authenticate: (token: string) => plane.principals.get(token) };
  plane.authenticate = (credentials) => authenticate(identities, tokens as never, credentials);
  plane.principals.set("tok", { id: "ann", kind: "user", groups: [], claims: {}, method: "token", roles: ["invoker"] });
  const local = { host: "127.0.0.1", port: 0 };
  listeners = createListeners({
    ...{ controlPlane: plane, clock, log: createLogger({ clock, level: "error" }), worker: local, ops: local },
    api: { host: "0.0.0.0", port: 0 },
    tls: { ...own, clientCa: clients.cert },
    limits: { drainMs: 100, closeMs: 100 },
  });
  ({ api: port } = await listeners.start());
});
afterAll(() => listeners.stop());

/** Id of the caller that a run was asked for by, or the reason of the refusal. */
async function whoIs(
  client: Issued | undefined,
  more: { token?: string; httpVersion?: "1.1" | "2" } = {},
): Promise<string> {
  const sdk = createClient({
    ...{ endpoint: `https://127.0.0.1:${port}`, tls: { ca: servers.cert, ...client }, ...more },
  });
  try {
    await sdk.workflow("hello").invoke();
    const asked = plane.calls.findLast(({ method }) => method === "invoke");
    return (asked?.args[0] as { id: string } | undefined)?.id ?? "nobody";
  } catch (error) {
    return OrlojError.from(error).reason;
  }
}

const issue = (wanted: Wanted, ca = clients) => ca.issue({ uris: [NAME], ...wanted });

test("a certificate with one SPIFFE name of the trust domain is that client, over HTTP/1.1 and HTTP/2", async () => {
  const good = await issue({});
  expect(await whoIs(good)).toBe(NAME);
  expect(await whoIs(good, { httpVersion: "2" })).toBe(NAME);
  expect(await whoIs(await issue({ usages: ["client", "server"] }))).toBe(NAME);
  expect(await whoIs(await issue({ usages: [] }))).toBe(NAME);
  expect(await whoIs(await issue({ uris: ["spiffe://acme.example/team/a/b"] }))).toBe("spiffe://acme.example/team/a/b");
  expect(await whoIs(await issue({ dnsNames: ["ci.acme.example"], ips: ["10.0.0.1"] }))).toBe(NAME);
});

const past = new Date(Date.now() - HOUR_MS);

test.each<[string, () => Promise<Issued>]>([
  ["of an unknown CA", () => issue({}, stranger)],
  ["of a CA of the same name with another key", () => issue({}, twin)],
  ["that expired", () => issue({ notBefore: new Date(Date.now() - 2 * HOUR_MS), notAfter: past })],
  [
    "that is not valid yet",
    () => issue({ notBefore: new Date(Date.now() + HOUR_MS), notAfter: new Date(Date.now() + 2 * HOUR_MS) }),
  ],
  ["for servers alone", () => issue({ usages: ["server"] })],
  ["without a URI", () => issue({ uris: [], dnsNames: ["ci.acme.example"] })],
  ["with two URIs", () => issue({ uris: [NAME, "spiffe://acme.example/team/x"] })],
  ["with two URIs of which one is no SPIFFE name", () => issue({ uris: ["https://acme.example", NAME] })],
  ["of another trust domain", () => issue({ uris: ["spiffe://evil.example/ci"] })],
  ["of a trust domain that only begins alike", () => issue({ uris: ["spiffe://acme.example.evil.example/ci"] })],
  ["without a path", () => issue({ uris: ["spiffe://acme.example"] })],
  ["with a path that leads up", () => issue({ uris: ["spiffe://acme.example/team/../ci"] })],
  ["with a query", () => issue({ uris: [`${NAME}?x=1`] })],
  ["with a port", () => issue({ uris: ["spiffe://acme.example:1/ci"] })],
  ["in upper case", () => issue({ uris: ["spiffe://ACME.example/ci"] })],
  ["whose name hides in a DNS name", () => issue({ uris: [], dnsNames: [`x, URI:${NAME}`] })],
  ["whose name hides behind a comma", () => issue({ uris: [`https://x, URI:${NAME}`] })],
  ["of a CA itself", () => issue({ isCa: true })],
  ["that nothing is said about", () => issue({ uris: ["spiffe://acme.example/nobody"] })],
])("a certificate %s is refused and recorded, and nothing is done", async (_why, make) => {
  const [calls, refusals] = [plane.calls.length, plane.refusals.length];
  const bad = await make();
  for (const httpVersion of ["1.1", "2"] as const) {
    expect(await whoIs(bad, { httpVersion })).toMatch(/^(CREDENTIALS_INVALID|CONNECTION_LOST|CANCELED)$/);
  }
  expect(plane.calls).toHaveLength(calls);
  expect(plane.refusals.slice(refusals).map(({ listener }) => listener)).toContain("api");
});

test("a certificate with a key of 1,024 bits is refused, whatever the peer would settle for", async () => {
  const algorithm = { name: "RSASSA-PKCS1-v1_5", publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 1_024 };
  const weak = await issue({ algorithm: { ...algorithm, hash: "SHA-256" } });
  const before = plane.refusals.length;
  const socket = connectTls({ host: "127.0.0.1", port, ca: servers.cert, ciphers: "DEFAULT:@SECLEVEL=0", ...weak });
  const answer = await new Promise<string>((resolve) => {
    socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
    socket.on("data", (data) => resolve(data.toString()));
    socket.write(
      "POST /orloj.v1.WorkflowService/ListRuns HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n",
    );
  });
  socket.destroy();
  expect(answer).toMatch(/^(HTTP\/1.1 401|ERR_SSL_|ECONNRESET)/);
  expect(plane.refusals.length).toBeGreaterThan(before);
});

test("a bad certificate is not made good by a token; one that is only unknown leaves it to the token", async () => {
  expect(await whoIs(await issue({}, stranger), { token: "tok" })).toBe("CREDENTIALS_INVALID");
  expect(await whoIs(await issue({ uris: ["spiffe://acme.example/nobody"] }), { token: "tok" })).toBe("ann");
  expect(await whoIs(undefined, { token: "tok" })).toBe("ann");
  expect(await whoIs(await issue({}), { token: "wrong" })).toBe(NAME);
});

test("a revoked certificate is refused, on a connection that was there before too, and no token makes it good", async () => {
  const [gone, stays] = await Promise.all([issue({}), issue({})]);
  const sdk = createClient({ endpoint: `https://127.0.0.1:${port}`, tls: { ca: servers.cert, ...gone }, token: "tok" });
  const reason = () =>
    sdk
      .workflow("hello")
      .invoke()
      .then(() => "OK")
      .catch((error) => OrlojError.from(error).reason);
  expect(await reason()).toBe("OK");
  revocations.api.replace(clients.cert, readRevocationLists(Buffer.from(await clients.revocationList([gone]))));
  expect(await reason()).toBe("CREDENTIALS_INVALID");
  expect(await whoIs(gone, { token: "tok" })).toBe("CREDENTIALS_INVALID");
  expect(await whoIs(stays)).toBe(NAME);
  revocations.api.replace(clients.cert, undefined);
  expect(await reason()).toBe("OK");
});

test("a worker's certificate is nobody here, whatever the configuration maps", async () => {
  expect(await whoIs(await issue({ uris: ["spiffe://acme.example/worker/w1"] }))).toBe("CREDENTIALS_INVALID");
});

test("without certificate and token nobody is let in", async () => {
  expect(await whoIs(undefined)).toBe("CREDENTIALS_MISSING");
  expect(await whoIs(undefined, { token: "wrong" })).toBe("CREDENTIALS_INVALID");
});

test("TLS below 1.3 and plain text are refused", async () => {
  const failure = await new Promise<string>((resolve) => {
    const socket = connectTls({ host: "127.0.0.1", port, ca: servers.cert, maxVersion: "TLSv1.2" });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
    socket.once("secureConnect", () => resolve("connected"));
  });
  expect(failure).toMatch(/PROTOCOL_VERSION|ECONNRESET/);
  const plain = createClient({ endpoint: `http://127.0.0.1:${port}`, token: "tok" });
  await expect(plain.workflow("hello").invoke()).rejects.toMatchObject({ reason: "CONNECTION_LOST" });
  expect(plane.refusals.filter(({ reason }) => reason.startsWith("TLS_HANDSHAKE: ")).length).toBeGreaterThanOrEqual(2);
});

test("a session is never resumed: every connection proves itself", async () => {
  const good = await issue({});
  const options = { host: "127.0.0.1", port, ca: servers.cert, ...good };
  const first = connectTls(options);
  const session = await new Promise<Buffer | undefined>((resolve) => {
    first.once("session", resolve);
    first.once("secureConnect", () => void clock.sleep(100).then(() => resolve(undefined)));
  });
  first.destroy();
  const again = connectTls({ ...options, ...(session && { session }) });
  await new Promise((resolve) => again.once("secureConnect", resolve));
  expect(again.isSessionReused()).toBe(false);
  again.destroy();
});

test("new certificates are taken by new connections", async () => {
  const other = await servers.issue({ usages: ["server"], dnsNames: ["localhost"], ips: ["127.0.0.1"] });
  listeners.replaceTls("api", { ...other, clientCa: stranger.cert });
  expect(await whoIs(await issue({}, stranger))).toBe(NAME);
  expect(await whoIs(await issue({}))).toBe("CREDENTIALS_INVALID");
  listeners.replaceTls("api", { ...own, clientCa: clients.cert });
  expect(await whoIs(await issue({}))).toBe(NAME);
});

test("without TLS no listener for calls is made beyond loopback, and none for workers even with it", async () => {
  const local = { host: "127.0.0.1", port: 0 };
  const far = { host: "0.0.0.0", port: 0 };
  const options = {
    controlPlane: plane,
    clock,
    log: createLogger({ clock, level: "error" }),
    api: local,
    worker: local,
    ops: local,
  };
  expect(() => createListeners({ ...options, api: far })).toThrow(/without TLS/);
  expect(() => createListeners({ ...options, tls: own, worker: far })).toThrow(/worker listener/);
  expect(() => createListeners({ ...options, ops: far })).not.toThrow();
});

test("a port that is taken is a clear error", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const local = { host: "127.0.0.1", port: 0 };
  const used = { host: "127.0.0.1", port: (taken.address() as { port: number }).port };
  const options = {
    controlPlane: plane,
    clock,
    log: createLogger({ clock, level: "error" }),
    worker: local,
    ops: local,
  };
  const second = createListeners({ ...options, api: used, tls: own, limits: { drainMs: 10, closeMs: 10 } });
  await expect(second.start()).rejects.toThrow(/it is in use/);
  await second.stop();
  await new Promise((resolve) => taken.close(resolve));
});

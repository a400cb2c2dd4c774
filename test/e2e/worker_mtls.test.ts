// Mutual TLS on the worker listener of a real server, spoken by hand over real sockets: every certificate that must be refused, with nothing
// changed in the database and one record each; other workers' leases; certificates that expire or are revoked while a stream lasts.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { createClient, type OrlojClient } from "../../sdk/index.ts";
import { type Ca, createCa, type Issued, type Wanted } from "../harness/certificates.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { type TestDatabase, testDatabase } from "../harness/database.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { type ServerProcess, startServer } from "../harness/processes.ts";
import { agent, single } from "./documents.ts";
import { type Dialling, SecuredStream } from "./secured_stream.ts";

const SETUP_MS = 60_000;
const LIVE_MS = 60_000;
const RECORD_MS = 5_000;
const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
const DOMAIN = "acme.example";
const NAME = `spiffe://${DOMAIN}/worker/w1`;

let folder: string;
let database: TestDatabase;
let server: ServerProcess;
let client: OrlojClient;
let servers: Ca;
let workers: Ca;
let stranger: Ca;
let twin: Ca;
let good: Issued;
let revoked: Issued;
let lastAddress = 9;
const streams: SecuredStream[] = [];

beforeAll(async () => {
  folder = await temporaryFolder("mtls");
  database = await testDatabase();
  [servers, workers, stranger, twin] = (await Promise.all(
    ["servers", "workers", "stranger", "workers"].map(createCa),
  )) as [Ca, Ca, Ca, Ca];
  [good, revoked] = (await Promise.all([workerCertificate({}), workerCertificate({})])) as [Issued, Issued];
  const own = await servers.issue({ usages: ["server"], dnsNames: ["localhost"], ips: ["127.0.0.1"] });
  write("server.crt", own.cert);
  write("server.key", own.key);
  write("workers.crt", workers.cert);
  await revoke(revoked);
  // Workers and clients of one CA: which listener it is decides.
  write(
    "config.yaml",
    `tls: {cert: server.crt, key: server.key, clientCa: workers.crt}
identity: {trustDomain: ${DOMAIN}, clients: [{uri: "spiffe://${DOMAIN}/ci"}, {uri: "spiffe://${DOMAIN}/*", kind: user}], roles: [{role: admin, principals: ["${NAME}", "spiffe://${DOMAIN}/ci"]}]}
workers: {tls: {cert: server.crt, key: server.key, clientCa: workers.crt, crl: workers.crl}}
`,
  );
  server = await startServer({ databaseUrl: database.url, args: ["--config", join(folder, "config.yaml")] });
  const { token, joinToken } = JSON.parse(readFileSync(join(server.home, "config.json"), "utf8"));
  expect(joinToken).toBe("");
  client = createClient({ endpoint: server.api, token, tls: { ca: servers.cert } });
  const content = [agent("solo", [{ output: { ok: true } }]), ...single("solo")]
    .map((one) => JSON.stringify(one))
    .join("\n---\n");
  await client.manifests.apply({ files: [{ name: "a.yaml", content }] });
  atEndOfFile(() => {
    for (const stream of streams) stream.close();
  });
}, SETUP_MS);

function write(name: string, text: string): void {
  writeFileSync(join(folder, name), text);
}

async function revoke(...certificates: readonly Issued[]): Promise<void> {
  write("workers.crl", await workers.revocationList(certificates));
}

function workerCertificate(wanted: Wanted, ca = workers): Promise<Issued> {
  return ca.issue({ uris: [NAME], ...wanted });
}

function dial(how: Partial<Dialling> & { readonly listener?: "worker" | "api" }): SecuredStream {
  const { listener = "worker", ...dialling } = how;
  const port = Number(new URL(server[listener].includes("://") ? server[listener] : `tcp://${server[listener]}`).port);
  const stream = new SecuredStream({ port, from: "127.0.0.1", ca: servers.cert, ...dialling });
  streams.push(stream);
  return stream;
}

/** Every row of every table but the trail's, and the one row that replicas mark. */
async function rows(): Promise<Record<string, unknown>> {
  const found = await database.pool.query<{ name: string }>(
    "select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by 1",
  );
  const names = found.rows.map(({ name }) => name).filter((name) => !/^(audit_|sweep$)/.test(name));
  const told = await Promise.all(
    names.map(async (name) => {
      const sum = `select count(*)::int as count, md5(string_agg(t::text, '|' order by t::text)) as sum from "${name}" t`;
      return [name, (await database.pool.query(sum)).rows[0]] as const;
    }),
  );
  expect(names.length).toBeGreaterThan(15);
  return Object.fromEntries(told);
}

/** Details of the refusals that came from an address. */
async function refusals(from: string) {
  const { records } = await client.audit.listAuditRecords({ filter: { kinds: ["security.refused"] }, pageSize: 1_000 });
  const details = records.map(({ recordJson }) => JSON.parse(recordJson).detail as Record<string, unknown>);
  return details.filter(({ peer }) => String(peer).split(":")[0] === from);
}

const weak = {
  name: "RSASSA-PKCS1-v1_5",
  publicExponent: new Uint8Array([1, 0, 1]),
  modulusLength: 1_024,
  hash: "SHA-256",
};
const at = (ms: number) => new Date(Date.now() + ms);
const HANDSHAKE = "closed";
/** grpc-status of Unauthenticated. */
const GATE = "16";

type Row = readonly [
  what: string,
  how: () => Promise<Partial<Dialling> & { listener?: "api" }> | (Partial<Dialling> & { listener?: "api" }),
  ends: string,
  reason: RegExp,
];

const TABLE: readonly Row[] = [
  ["no certificate", () => ({}), HANDSHAKE, /^TLS_HANDSHAKE: NO_CERTIFICATE$/],
  ["an unknown CA", () => workerCertificate({}, stranger), HANDSHAKE, /^TLS_HANDSHAKE: /],
  ["a CA of the same name with another key", () => workerCertificate({}, twin), HANDSHAKE, /^TLS_HANDSHAKE: /],
  [
    "expired",
    () => workerCertificate({ notBefore: at(-2 * HOUR_MS), notAfter: at(-HOUR_MS) }),
    HANDSHAKE,
    /: CERT_HAS_EXPIRED$/,
  ],
  [
    "not yet valid",
    () => workerCertificate({ notBefore: at(HOUR_MS), notAfter: at(2 * HOUR_MS) }),
    HANDSHAKE,
    /: CERT_NOT_YET_VALID$/,
  ],
  ["revoked", () => revoked, GATE, /^CREDENTIALS_INVALID: CERTIFICATE_REVOKED$/],
  ["for servers alone", () => workerCertificate({ usages: ["server"] }), HANDSHAKE, /: INVALID_PURPOSE$/],
  ["for nothing that it says", () => workerCertificate({ usages: [] }), GATE, /: CERTIFICATE_PURPOSE$/],
  ["without a URI", () => workerCertificate({ uris: [], dnsNames: ["w1.acme.example"] }), GATE, /: CERTIFICATE_NAME$/],
  [
    "with two URIs",
    () => workerCertificate({ uris: [NAME, `spiffe://${DOMAIN}/worker/w2`] }),
    GATE,
    /: CERTIFICATE_NAME$/,
  ],
  [
    "of another trust domain",
    () => workerCertificate({ uris: ["spiffe://evil.example/worker/w1"] }),
    GATE,
    /: CERTIFICATE_NAME$/,
  ],
  ["without a path", () => workerCertificate({ uris: [`spiffe://${DOMAIN}`] }), GATE, /: CERTIFICATE_NAME$/],
  [
    "without a name below worker",
    () => workerCertificate({ uris: [`spiffe://${DOMAIN}/worker/`] }),
    GATE,
    /: CERTIFICATE_NAME$/,
  ],
  ["of a client", () => workerCertificate({ uris: [`spiffe://${DOMAIN}/ci`] }), GATE, /: CERTIFICATE_NAME$/],
  ["of a CA itself", () => workerCertificate({ isCa: true }), GATE, /: CERTIFICATE_OF_CA$/],
  ["signed with SHA-1", () => workerCertificate({ signedWith: "SHA-1" }), HANDSHAKE, /^TLS_HANDSHAKE: /],
  ["with a key of 1,024 bits", () => workerCertificate({ algorithm: weak }), HANDSHAKE, /^TLS_HANDSHAKE: /],
  ["good, over TLS 1.2", () => ({ ...good, maxVersion: "TLSv1.2" }), HANDSHAKE, /^TLS_HANDSHAKE: ERR_SSL_/],
  ["none, in plain text", () => ({ plaintext: true }), HANDSHAKE, /^TLS_HANDSHAKE: ERR_SSL_/],
  [
    "good, on the port of clients",
    () => ({ ...good, listener: "api", path: "/orloj.v1.TokenService/ListTokens" }),
    GATE,
    /^CREDENTIALS_INVALID: CERTIFICATE_NAME$/,
  ],
  [
    "good, under another worker's name",
    () => ({ ...good, name: "w2" }),
    "9",
    /^PROTOCOL_VIOLATION: .*not the one in the worker's certificate/,
  ],
];

test.each(TABLE)(
  "a certificate %s is refused: nothing changes, and one record says so",
  async (_what, how, ends, reason) => {
    lastAddress += 1;
    const from = `127.0.0.${lastAddress}`;
    const before = await rows();
    const dialling = { ...(await how()), from };
    expect(await dial(dialling).outcome()).toBe(ends);
    await expect.poll(() => refusals(from).then((found) => found.length), { timeout: RECORD_MS }).toBe(1);
    expect(await dial(dialling).outcome()).toBe(ends);
    expect(await rows()).toEqual(before);
    const told = await refusals(from);
    const violation = ends === "9";
    // A stranger's second try within a minute is counted, not recorded; a known worker's violations are each.
    if (!violation) expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({
      listener: dialling.listener ?? "worker",
      reason: expect.stringMatching(reason),
      count: 1,
    });
  },
);

test("a good certificate is that worker; without TLS's certificate no bearer helps, and health asks for one too", async () => {
  const stream = dial(good);
  const welcome = await stream.take("welcome");
  const { workers: connected } = await client.fleet.listWorkers({});
  expect(connected).toContainEqual(
    expect.objectContaining({ sessionId: welcome?.sessionId, name: "w1", identity: NAME }),
  );
  stream.close();
  expect(await dial({ path: "/grpc.health.v1.Health/Check" }).outcome()).toBe("closed");
});

test("another worker's lease: reported, renewed and taken over in vain, and each is on record", async () => {
  const thief = await workerCertificate({ uris: [`spiffe://${DOMAIN}/worker/w2`] });
  const [own, other] = [dial(good), dial({ ...thief, name: "w2" })];
  const welcome = await own.take("welcome");
  await other.take("welcome");
  own.send({ case: "credit", value: { freeSlots: 1, lastAssignSequence: 0n } });
  const run = await client.workflow("solo").invoke();
  const assigned = await own.take("assign");
  const { taskId = "", token = "" } = assigned?.assignments[0] ?? {};
  own.send({ case: "accept", value: { tokens: [token] } });
  const kept = async () => {
    const all = await rows();
    return [all["task"], all["run"], all["lease"], all["journal"], all["node_state"]];
  };
  await expect
    .poll(async () => (await client.fleet.listLeases({ runId: run.id })).leases.length, { timeout: RECORD_MS })
    .toBe(1);
  const before = await kept();
  other.send({ case: "renew", value: { tokens: [token], sequence: 1n, lastAssignSequence: 0n } });
  const renewed = await other.take("renewAck");
  expect(renewed?.lostTokens).toEqual([token]);
  const outcome = { taskId, token, outcome: { case: "outputJson" as const, value: '{"ok":"stolen"}' } };
  other.send({ case: "outcomes", value: { outcomes: [outcome] } });
  const answered = await other.take("outcomeAcks");
  expect(answered?.acks).toHaveLength(1);
  // The session itself is another identity's, too.
  const again = dial({ ...thief, name: "w2" });
  await again.take("welcome");
  expect(
    (await client.fleet.listWorkers({})).workers.find((one) => one.sessionId === welcome?.sessionId)?.identity,
  ).toBe(NAME);
  expect((await kept()).slice(0, 2)).toEqual(before.slice(0, 2));
  const { records } = await client.audit.listAuditRecords({ filter: { kinds: ["fact.refused"] }, pageSize: 100 });
  const facts = records
    .map(({ recordJson }) => JSON.parse(recordJson).detail)
    .filter(({ worker }) => /(^|:)w2$/.test(worker));
  expect(facts.map(({ fact }) => fact)).toEqual(expect.arrayContaining(["renewal", "outcome"]));
  own.send({
    case: "outcomes",
    value: { outcomes: [{ ...outcome, outcome: { case: "outputJson", value: '{"ok":true}' } }] },
  });
  await own.take("outcomeAcks");
  expect((await run.result()) as unknown).toEqual({ ok: true });
  for (const stream of [own, other, again]) stream.close();
});

test(
  "while a stream lasts: it ends when its certificate expires or is revoked, told why, with one record; no ticket outlives that",
  async () => {
    const [brief, doomed] = await Promise.all([
      workerCertificate({ uris: [`spiffe://${DOMAIN}/worker/brief`], notAfter: at(8 * SECOND_MS) }),
      workerCertificate({ uris: [`spiffe://${DOMAIN}/worker/doomed`] }),
    ]);
    const [expiring, losing] = [
      dial({ ...brief, name: "brief", from: "127.0.0.201" }),
      dial({ ...doomed, name: "doomed", from: "127.0.0.202" }),
    ];
    const staying = dial({ ...good, from: "127.0.0.203" });
    for (const stream of [expiring, losing, staying]) expect(await stream.outcome()).toBe("welcome");
    const startMs = Date.now();
    await revoke(revoked, doomed);
    expect(await Promise.all([expiring.ended(), losing.ended()])).toEqual([GATE, GATE]);
    expect(Date.now() - startMs).toBeLessThan(LIVE_MS);
    expect(losing.message).toMatch(/credentials of this stream are not valid any more/);
    expect(staying.end).toBeUndefined();
    staying.close();
    const one = async (from: string) => {
      const told = await refusals(from);
      expect(told).toHaveLength(1);
      return told[0];
    };
    expect(await one("127.0.0.201")).toMatchObject({
      reason: "CREDENTIALS_INVALID: CERTIFICATE_EXPIRED",
      principal: `spiffe://${DOMAIN}/worker/brief`,
    });
    expect(await one("127.0.0.202")).toMatchObject({
      reason: "CREDENTIALS_INVALID: CERTIFICATE_REVOKED",
      principal: `spiffe://${DOMAIN}/worker/doomed`,
    });
    const again = dial({
      ...doomed,
      name: "doomed",
      from: "127.0.0.204",
      ...(losing.ticket && { session: losing.ticket }),
    });
    expect(await again.outcome()).toBe(GATE);
    expect(again.isResumed).toBe(false);
  },
  2 * LIVE_MS,
);

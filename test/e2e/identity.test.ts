// Who may call, on real processes: a server on loopback and a replica that others can reach, with TLS, client certificates, JWTs of a key
// server on loopback, and tokens that the CLI makes. Nothing that is secret may be in what they print, keep or record.

import { readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { beforeAll, expect, test } from "vitest";
import { createClient, type OrlojClient, OrlojError } from "../../sdk/index.ts";
import { type Ca, createCa, type Issued } from "../harness/certificates.ts";
import { atEndOfFile } from "../harness/cleanup.ts";
import { testDatabase } from "../harness/database.ts";
import { temporaryFolder } from "../harness/folders.ts";
import { runOrloj, type ServerProcess, startOrloj, startServer } from "../harness/processes.ts";

const ISSUER = "https://login.acme.example";
const SETUP_MS = 60_000;
const MANIFESTS = `
apiVersion: orloj.dev/v1
kind: Agent
metadata: {name: solo}
spec: {model: {provider: scripted, script: [{text: hello}]}}
---
apiVersion: orloj.dev/v1
kind: AgentSystem
metadata: {name: flow}
spec: {nodes: [{name: only, agent: solo}], output: {value: "\${{ has(nodes.only.output) ? nodes.only.output : {} }}"}}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: flow}
spec: {system: flow, tags: {team: {from: claim, claim: team}}}
---
apiVersion: orloj.dev/v1
kind: WorkflowTemplate
metadata: {name: closed}
spec: {system: flow}
---
apiVersion: orloj.dev/v1
kind: Policy
metadata: {name: support-only}
spec:
  attachTo: [{kind: WorkflowTemplate, name: closed}]
  allow: {match: {requester.groups: ["acme:support"]}}
  message: Only support may run this.
`;

const secrets: string[] = [];
let folder: string;
let databaseUrl: string;
let local: ServerProcess;
let open: ServerProcess;
let servers: Ca;
let clients: Ca;
let portal: Issued;
let sign: (claims: object, seconds?: number) => Promise<string>;
let made: { token: string; accessToken: { id: string } };

beforeAll(async () => {
  folder = await temporaryFolder("id");
  databaseUrl = (await testDatabase()).url;
  [servers, clients] = await Promise.all([createCa("servers"), createCa("clients")]);
  portal = await clients.issue({ uris: ["spiffe://acme.example/portal"] });
  const own = await servers.issue({ usages: ["server"], dnsNames: ["localhost"], ips: ["127.0.0.1"] });
  const keys = await serveKeys();
  const files = { "api.crt": own.cert, "api.key": own.key, "clients.crt": clients.cert, "servers.crt": servers.cert };
  const more = {
    "portal.crt": portal.cert,
    "portal.key": portal.key,
    "config.yaml": configText(keys),
    "tls.yaml": TLS_ALONE,
  };
  for (const [name, text] of Object.entries({ ...files, ...more })) writeFileSync(join(folder, name), text);
  secrets.push(...own.key.split("\n").slice(1, 3), ...portal.key.split("\n").slice(1, 3));
  local = await startServer({ databaseUrl });
  await clientOf(local).manifests.apply({ files: [{ name: "a.yaml", content: MANIFESTS }] });
}, SETUP_MS);

const TLS_ALONE = "tls: {cert: api.crt, key: api.key}\n";

function configText(keys: string): string {
  return `identity:
  trustDomain: acme.example
  clients: [{uri: spiffe://acme.example/portal, groups: [services]}]
  oidc:
    - {issuer: "${ISSUER}", audience: orloj, jwksUri: "${keys}", prefix: "acme:", claims: {id: email, groups: groups, team: team}}
  roles:
    - {role: invoker, groups: ["acme:support", "acme:sales", services]}
    - {right: invoke-as, principals: [spiffe://acme.example/portal], persons: {groups: ["acme:support"], claims: [team]}}
tls: {cert: api.crt, key: api.key, clientCa: clients.crt}
`;
}

async function serveKeys(): Promise<string> {
  const pair = await generateKeyPair("ES256", { extractable: true });
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: "k1", alg: "ES256" };
  const server = createServer((_request, response) => void response.end(JSON.stringify({ keys: [jwk] })));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEndOfFile(() => new Promise((resolve) => server.close(resolve)));
  sign = async (claims, seconds = 600) => {
    const token = await new SignJWT({ ...claims })
      .setProtectedHeader({ alg: "ES256", kid: "k1" })
      .setIssuer(ISSUER)
      .setAudience("orloj")
      .setIssuedAt()
      .setExpirationTime(Math.floor(Date.now() / 1_000) + seconds)
      .sign(pair.privateKey);
    secrets.push(token, token.split(".")[2] as string);
    return token;
  };
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
}

function clientOf({ home, api }: ServerProcess): OrlojClient {
  const { token } = JSON.parse(readFileSync(join(home, "config.json"), "utf8")) as { token: string };
  secrets.push(token);
  return createClient({ endpoint: api, token });
}

/** A client of the replica that others can reach. */
function reach(options: { token?: string; client?: Issued } = {}): OrlojClient {
  const { token, client } = options;
  const endpoint = open.api.replace("0.0.0.0", "127.0.0.1");
  return createClient({ endpoint, tls: { ca: servers.cert, ...client }, ...(token === undefined ? {} : { token }) });
}

const reasonOf = (call: Promise<unknown>) => call.then(() => "OK").catch((error) => OrlojError.from(error).reason);

test("nothing that others can reach starts while nobody could prove who they are", async () => {
  const start = (args: readonly string[]) =>
    startOrloj(["server", "--host", "0.0.0.0", "--api-port", "0", "--worker-port", "0", "--ops-port", "0", ...args], {
      env: { ORLOJ_HOME: join(folder, "never"), ORLOJ_DATABASE_URL: databaseUrl },
    });
  const [bare, nobody] = [start([]), start(["--config", join(folder, "tls.yaml")])];
  expect(await bare.ended).toMatchObject({ code: 2 });
  expect(bare.output.stderr).toMatch(/error\[E-CONFIG-INVALID\] --host: 0\.0\.0\.0 .*there is no TLS/);
  expect(await nobody.ended).toMatchObject({ code: 2 });
  expect(nobody.output.stderr).toMatch(/nobody could call: name identity\.clients .*orloj token create/);
});

test(
  "the CLI makes a token, prints it alone and once; with it, TLS is enough to be reached",
  async () => {
    const words = ["token", "create", "--name", "ci", "--role", "invoker", "--claim", "team=blue", "--expires", "90d"];
    const plain = await runOrloj(words, { server: local });
    expect(plain.code).toBe(0);
    expect(plain.stdout).toMatch(/^orloj_[A-Za-z0-9_-]{32}\n$/);
    expect(plain.stderr).toMatch(/not shown again/);
    secrets.push(plain.stdout.trim());
    made = JSON.parse((await runOrloj([...words, "-o", "json"], { server: local })).stdout);
    secrets.push(made.token);
    const listed = await runOrloj(["token", "list"], { server: local });
    expect(listed.stdout).toContain(made.accessToken.id);
    expect(listed.stdout).not.toContain(made.token);
    const twice = await runOrloj(["token", "revoke", "ci"], { server: local });
    expect(twice).toMatchObject({ code: 2, stderr: expect.stringMatching(/2 tokens have the name ci/) });
    const replica = await startServer({
      databaseUrl,
      args: ["--host", "0.0.0.0", "--config", join(folder, "tls.yaml")],
    });
    await replica.stop();
    open = await startServer({ databaseUrl, args: ["--host", "0.0.0.0", "--config", join(folder, "config.yaml")] });
    expect(open.api).toMatch(/^https:\/\/0\.0\.0\.0:\d+$/);
    const kept = join(open.home, "config.json");
    expect(statSync(kept).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(kept, "utf8"))).toMatchObject({ token: "" });
    expect(open.output.stdout).not.toContain("development token");
  },
  SETUP_MS,
);

test("a token counts on every replica; the development token does not leave its machine", async () => {
  const run = await reach({ token: made.token }).workflow("flow").invoke();
  expect(run.invoked?.requester).toMatchObject({
    id: "ci",
    kind: "service",
    method: "token",
    claims: { team: "blue" },
  });
  expect(run.invoked?.tags).toEqual({ team: "blue" });
  const { token } = JSON.parse(readFileSync(join(local.home, "config.json"), "utf8")) as { token: string };
  expect(await reasonOf(reach({ token }).workflow("flow").invoke())).toBe("CREDENTIALS_INVALID");
  expect(await reasonOf(createClient({ endpoint: local.api, token }).workflow("flow").invoke())).toBe("OK");
});

test("a JWT is its person: groups decide roles and policies", async () => {
  const ann = reach({ token: await sign({ email: "ann", groups: ["support"], team: "red" }) });
  const sam = reach({ token: await sign({ email: "sam", groups: ["sales"] }) });
  const eve = reach({ token: await sign({ email: "eve" }) });
  const run = await ann.workflow("closed").invoke();
  expect(run.invoked?.requester).toMatchObject({
    id: "acme:ann",
    method: "jwt",
    issuer: ISSUER,
    claims: { team: "red" },
  });
  expect(await reasonOf(sam.workflow("closed").invoke())).toBe("POLICY_DENIED");
  expect(await reasonOf(eve.workflow("closed").invoke())).toBe("PERMISSION_DENIED");
  const late = reach({ token: await sign({ email: "ann", groups: ["support"] }, -120) });
  expect(await reasonOf(late.workflow("closed").invoke())).toBe("CREDENTIALS_INVALID");
});

test("a client certificate is its service, in the SDK and in the CLI, and may invoke for the persons of its right", async () => {
  const service = reach({ client: portal });
  const person = { id: "acme:ann", groups: ["acme:support"], claims: { team: "red" } };
  const run = await service.workflow("closed").invoke({}, { onBehalfOf: person });
  expect(run.invoked?.requester).toMatchObject({
    id: "acme:ann",
    method: "invoke-as",
    invokedBy: "spiffe://acme.example/portal",
  });
  expect(await reasonOf(service.workflow("closed").invoke())).toBe("POLICY_DENIED");
  const root = { ...person, groups: ["admins"] };
  expect(await reasonOf(service.workflow("closed").invoke({}, { onBehalfOf: root }))).toBe("PERMISSION_DENIED");
  const server = { home: join(folder, "nowhere"), api: open.api.replace("0.0.0.0", "127.0.0.1") };
  const tls = ["--ca", "servers.crt", "--cert", "portal.crt", "--key", "portal.key"].map((word) =>
    word.startsWith("--") ? word : join(folder, word),
  );
  const words = ["invoke", "closed", "--as", "acme:bob", "--as-group", "acme:support", "-o", "json"];
  const invoked = await runOrloj([...tls, ...words], { server });
  expect(JSON.parse(invoked.stdout).run.requester).toMatchObject({
    id: "acme:bob",
    invokedBy: "spiffe://acme.example/portal",
  });
  const alone = await runOrloj(["runs", ...tls.slice(0, 4)], { server });
  expect(alone).toMatchObject({ code: 2, stderr: expect.stringMatching(/--cert and --key belong together/) });
});

test(
  "a revoked token is refused at once everywhere, and a stream that it began ends",
  async () => {
    const client = reach({ token: made.token });
    const run = await client.workflow("flow").invoke();
    const stop = new AbortController();
    const snapshots = client.workflows.watchRun({ runId: run.id }, { signal: stop.signal })[Symbol.asyncIterator]();
    await snapshots.next();
    const revoked = await runOrloj(["token", "revoke", made.accessToken.id], { server: local });
    expect(revoked).toMatchObject({ code: 0, stdout: expect.stringContaining("revoked") });
    expect(await reasonOf(reach({ token: made.token }).workflow("flow").invoke())).toBe("CREDENTIALS_INVALID");
    await expect(
      (async () => {
        for (;;) if ((await snapshots.next()).done) return;
      })(),
    ).rejects.toThrow();
    stop.abort();
  },
  SETUP_MS,
);

test("refusals are in the trail with listener and address; no secret is in what was printed, kept or recorded", async () => {
  const { records } = await clientOf(local).audit.listAuditRecords({
    filter: { kinds: ["security."] },
    pageSize: 1_000,
  });
  const details = records.map(({ recordJson }) => JSON.parse(recordJson).detail);
  expect(details).toContainEqual(
    expect.objectContaining({ listener: "api", reason: "CREDENTIALS_INVALID", peer: "127.0.0.1" }),
  );
  expect(details).toContainEqual(expect.objectContaining({ reason: "PERMISSION_DENIED", principal: "acme:eve" }));
  const dump = await clientOf(local).audit.listAuditRecords({ pageSize: 1_000 });
  const told = [
    dump.records.map(({ recordJson }) => recordJson).join(),
    open.output.stdout,
    open.output.stderr,
    local.output.stderr,
  ];
  for (const secret of secrets.filter(Boolean)) for (const text of told) expect(text.includes(secret)).toBe(false);
});

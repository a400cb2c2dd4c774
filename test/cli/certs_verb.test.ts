// `orloj certs`: what it makes is what TLS takes, by Node and by openssl where that is there; nothing is overwritten; every mistake says what to do.

import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { certificatesOf } from "../../kit/certificate_files.ts";
import { readRevocationLists } from "../../kit/revocation_list.ts";
import { createCa } from "../harness/certificates.ts";
import { runVerb, temporaryFolder } from "./run_orloj.ts";

const DAY_MS = 86_400_000;

function inFolder(directory: string) {
  const run = (words: string) => runVerb(["certs", ...words.split(" ")], { directory });
  return {
    run,
    async ok(words: string): Promise<string> {
      const { code, out, err } = await run(words);
      expect({ words, code, err: code === 0 ? "" : err }).toEqual({ words, code: 0, err: "" });
      return out;
    },
    text: (name: string) => readFileSync(join(directory, "certs", name), "utf8"),
    certificate: (name: string) => new X509Certificate(readFileSync(join(directory, "certs", `${name}.crt`))),
  };
}

test("init and issue make a CA and certificates of servers, workers and clients", async () => {
  using folder = temporaryFolder();
  const certs = inFolder(folder.path);
  expect(await certs.ok("init --trust-domain acme.example")).toMatch(
    /^a CA of the trust domain acme\.example in certs: /,
  );
  const issued = await certs.run("issue server --host orloj.acme.example --host 10.0.0.5 --host fd00::1:2");
  expect(issued.err).toContain(
    "orloj server --worker-host 0.0.0.0 --worker-tls-cert certs/server.crt --worker-tls-key certs/server.key " +
      "--worker-tls-client-ca certs/ca.crt --worker-tls-crl certs/ca.crl --worker-trust-domain acme.example",
  );
  const worker = await certs.run("issue worker --name w1 --valid 30d");
  expect(worker.err).toContain(
    "orloj worker --server HOST:7602 --ca certs/ca.crt --cert certs/worker-w1.crt --key certs/worker-w1.key",
  );
  await certs.ok("issue client --name ci");
  const ca = certs.certificate("ca");
  expect([ca.ca, ca.checkIssued(ca), ca.verify(ca.publicKey)]).toEqual([true, true, true]);
  for (const name of ["server", "worker-w1", "client-ci"]) {
    const leaf = certs.certificate(name);
    expect([leaf.ca, leaf.checkIssued(ca), leaf.verify(ca.publicKey)], name).toEqual([false, true, true]);
    expect(leaf.publicKey.asymmetricKeyDetails).toMatchObject({ namedCurve: "prime256v1" });
    expect(statSync(join(folder.path, "certs", `${name}.key`)).mode & 0o777).toBe(0o600);
  }
  expect(certs.certificate("server").subjectAltName).toBe(
    "DNS:orloj.acme.example, IP Address:10.0.0.5, IP Address:FD00:0:0:0:0:0:1:2",
  );
  expect(certs.certificate("worker-w1").subjectAltName).toBe("URI:spiffe://acme.example/worker/w1");
  expect(certs.certificate("client-ci").subjectAltName).toBe("URI:spiffe://acme.example/client/ci");
  expect(certs.certificate("server").keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
  expect(certs.certificate("worker-w1").keyUsage).toEqual(["1.3.6.1.5.5.7.3.2"]);
  const validMs = Date.parse(certs.certificate("worker-w1").validTo) - Date.now();
  expect(Math.abs(validMs - 30 * DAY_MS)).toBeLessThan(DAY_MS / 24);
  expect(statSync(join(folder.path, "certs")).mode & 0o777).toBe(0o700);
});

test("openssl, where it is there, finds certificates and lists good, and a revoked one revoked", async () => {
  using folder = temporaryFolder();
  const certs = inFolder(folder.path);
  await certs.ok("init");
  await certs.ok("issue worker --name w1");
  await certs.ok("issue server --host localhost");
  const openssl = (...words: string[]) =>
    spawnSync("openssl", words, { cwd: join(folder.path, "certs"), encoding: "utf8" });
  const verify = (name: string, purpose: string) =>
    openssl(
      "verify",
      "-x509_strict",
      "-crl_check",
      "-CRLfile",
      "ca.crl",
      "-CAfile",
      "ca.crt",
      "-purpose",
      purpose,
      `${name}.crt`,
    );
  const isThere = openssl("version").status === 0;
  const expected = (status: number) => (isThere ? status : null);
  expect(verify("worker-w1", "sslclient")).toMatchObject({ status: expected(0) });
  expect(verify("server", "sslserver")).toMatchObject({ status: expected(0) });
  expect(verify("worker-w1", "sslserver")).toMatchObject({ status: expected(2) });
  await certs.ok("revoke worker-w1");
  expect(verify("worker-w1", "sslclient")).toMatchObject({ status: expected(2) });
  expect(verify("server", "sslserver")).toMatchObject({ status: expected(0) });
  if (!isThere) return;
  const text = (...words: string[]) => openssl(...words, "-noout", "-text").stdout.replace(/\s+/g, " ");
  const id = "(?:[0-9A-F]{2}:){19}[0-9A-F]{2}";
  const { 1: own } = /Subject Key Identifier: (\S+)/.exec(text("x509", "-in", "ca.crt")) ?? [];
  expect(text("x509", "-in", "ca.crt")).toMatch(
    /Basic Constraints: critical CA:TRUE, pathlen:0 X509v3 Key Usage: critical Certificate Sign, CRL Sign /,
  );
  expect(text("x509", "-in", "worker-w1.crt")).toMatch(
    new RegExp(
      "Basic Constraints: critical CA:FALSE X509v3 Key Usage: critical Digital Signature X509v3 Extended Key Usage: " +
        "TLS Web Client Authentication X509v3 Subject Alternative Name: URI:spiffe://orloj.local/worker/w1 " +
        `X509v3 Subject Key Identifier: ${id} X509v3 Authority Key Identifier: ${own} `,
    ),
  );
  const serial = certs.certificate("worker-w1").serialNumber;
  expect(text("crl", "-in", "ca.crl")).toMatch(
    new RegExp(
      `Version 2 .* Authority Key Identifier: ${own} X509v3 CRL Number: \\d+ Revoked Certificates: Serial Number: ${serial} .*Invalidity Date`,
    ),
  );
});

test("revoke puts a certificate on the list, by name or by serial number, once; show and JSON say so", async () => {
  using folder = temporaryFolder();
  const certs = inFolder(folder.path);
  await certs.ok("init");
  for (const name of ["w1", "w2"]) await certs.ok(`issue worker --name ${name}`);
  const [one, two] = [certs.certificate("worker-w1"), certs.certificate("worker-w2")];
  await certs.ok("revoke worker-w1");
  await certs.ok(`revoke ${two.serialNumber}`);
  const [list] = readRevocationLists(Buffer.from(certs.text("ca.crl")));
  expect([list?.has(one.serialNumber), list?.has(two.serialNumber)]).toEqual([true, true]);
  expect(list?.isSignedBy(certs.certificate("ca"))).toBe(true);
  expect(await certs.run("revoke worker-w1")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/was revoked at .*Next: orloj certs show/),
  });
  expect(await certs.run("revoke worker-w9")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/was not issued from this folder/),
  });
  expect(await certs.ok("show")).toMatch(
    /worker-w1 +worker +spiffe:\/\/orloj\.local\/worker\/w1 +[0-9A-F]+ +\S+ \S+ +revoked/,
  );
  const shown = JSON.parse(await certs.ok("show -o json"));
  expect(shown).toMatchObject({ trustDomain: "orloj.local", authorities: [{}], revocationLists: [{}] });
  expect(shown.certificates.map(({ state }: { state: string }) => state)).toEqual(["revoked", "revoked"]);
});

test("rotate renews in place with a new key; a new CA stands beside the old one until nothing of that is in use", async () => {
  using folder = temporaryFolder();
  const certs = inFolder(folder.path);
  await certs.ok("init");
  await certs.ok("issue server --host localhost");
  await certs.ok("issue worker --name w1");
  const before = certs.certificate("worker-w1");
  await certs.ok("rotate worker-w1");
  const after = certs.certificate("worker-w1");
  expect(after.subjectAltName).toBe(before.subjectAltName);
  expect(after.publicKey.equals(before.publicKey)).toBe(false);
  // What was in the files before is out there still, and can be revoked.
  await certs.ok(`revoke ${before.serialNumber}`);
  const old = certs.certificate("ca");
  await certs.ok("rotate ca");
  expect(certificatesOf(certs.text("ca.crt")).map(({ serialNumber }) => serialNumber)[1]).toBe(old.serialNumber);
  const lists = readRevocationLists(Buffer.from(certs.text("ca.crl")));
  expect(lists.map((list) => list.isSignedBy(old))).toEqual([false, true]);
  expect(lists[1]?.has(before.serialNumber)).toBe(true);
  expect(await certs.run("rotate ca --finish")).toMatchObject({
    code: 2,
    err: expect.stringMatching(
      /certificates of the old CA are in use: server, worker-w1\. Next: orloj certs rotate server worker-w1/,
    ),
  });
  await certs.ok("rotate --all");
  await certs.ok("rotate ca --finish");
  const [only, none] = certificatesOf(certs.text("ca.crt"));
  expect(none).toBeUndefined();
  for (const name of ["server", "worker-w1"])
    expect(certs.certificate(name).verify((only as X509Certificate).publicKey)).toBe(true);
  expect(readRevocationLists(Buffer.from(certs.text("ca.crl")))).toHaveLength(1);
  await certs.ok("rotate crl --lists-valid 365d");
  const [list] = readRevocationLists(Buffer.from(certs.text("ca.crl")));
  expect(list?.nextUpdateMs).toBeGreaterThan(Date.now() + 300 * DAY_MS);
});

test.each<[string, RegExp]>([
  ["init", /certs\/ca\.crt exists: there is a CA already\. Next: .*orloj certs rotate ca/],
  ["init --dir other --trust-domain ACME", /--trust-domain ACME: is no trust domain/],
  ["init --dir other --valid soon", /--valid soon: use a duration/],
  ["issue", /missing required argument/],
  ["issue tool --name x", /"tool" is not issued\. Next: use one of server, worker, client/],
  ["issue server", /needs --host/],
  ["issue server --host https://x", /--host https:\/\/x: is no name or address/],
  ["issue server --host x --name ca", /--name ca: is no name/],
  ["issue server --host x --name ../up", /--name \.\.\/up: is no name/],
  ["issue worker", /a worker's certificate needs --name/],
  ["issue worker --name a/b", /--name a\/b: is no name of a worker/],
  ["issue worker --name a --host x", /--host is for servers/],
  ["issue worker --name w1", /worker-w1\.(crt|key) exists\. Next: orloj certs rotate worker-w1/],
  ["issue worker --name w2 --valid 7000d", /the CA is valid until .*Next: use a shorter --valid/],
  [
    "issue worker --name w2 --dir none",
    /none\/index\.json cannot be read: there is no such file\. Next: orloj certs init/,
  ],
  ["rotate", /nothing to renew is named/],
  ["rotate w1", /w1 was not issued from this folder\. Next: orloj certs show/],
  ["rotate ca worker-w1", /ca and crl stand alone/],
  ["rotate worker-w1 --finish", /--finish belongs to the rotation of the CA/],
])("certs %s is refused, and nothing is changed", async (words, message) => {
  using folder = temporaryFolder();
  const certs = inFolder(folder.path);
  await certs.ok("init");
  await certs.ok("issue worker --name w1");
  const files = ["ca.crt", "ca.key", "ca.crl", "index.json", "worker-w1.crt", "worker-w1.key"];
  const before = files.map(certs.text);
  const { code, err } = await certs.run(words);
  expect(err).toMatch(message);
  expect(code).toBe(2);
  expect(files.map(certs.text)).toEqual(before);
});

test("a folder that was changed by hand is refused", async () => {
  using folder = temporaryFolder();
  const certs = inFolder(folder.path);
  await certs.ok("init");
  const index = certs.text("index.json");
  writeFileSync(join(folder.path, "certs", "index.json"), "[]");
  expect(await certs.run("show")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/is not an index of certificates/),
  });
  writeFileSync(join(folder.path, "certs", "index.json"), index);
  writeFileSync(join(folder.path, "certs", "ca.crl"), "nothing");
  expect(await certs.run("show")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/ca\.crl cannot be read: .*Next: orloj certs rotate crl/),
  });
  await certs.ok("rotate crl");
  expect(readRevocationLists(Buffer.from(certs.text("ca.crl")))).toHaveLength(1);
  const algorithm = { name: "RSASSA-PKCS1-v1_5", publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" };
  const rsa = await (await createCa("rsa")).issue({ isCa: true, algorithm: { ...algorithm, modulusLength: 2_048 } });
  writeFileSync(join(folder.path, "certs", "ca.crt"), rsa.cert);
  writeFileSync(join(folder.path, "certs", "ca.key"), rsa.key);
  expect(await certs.run("rotate crl")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/ca\.key holds a key of a kind that cannot sign here\. Next: use P-256 keys/),
  });
  writeFileSync(join(folder.path, "certs", "ca.key"), "");
  expect(await certs.run("show")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/ca\.key does not belong to ca\.crt/),
  });
});

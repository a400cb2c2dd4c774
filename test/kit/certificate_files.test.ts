// Files of certificates and lists as they come: each reader against certificates and lists of another implementation, and against nonsense.

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { caProblem, certificatesOf, keyPairProblem, pemBlocks, pemOf, plainHex } from "../../kit/certificate_files.ts";
import { readRevocationLists } from "../../kit/revocation_list.ts";
import { isForClients, parseSpiffe, spiffeNameOf, workerNameOf, workerUri } from "../../kit/spiffe.ts";
import { type Ca, createCa, type Issued } from "../harness/certificates.ts";

const HOUR_MS = 3_600_000;
let ca: Ca;
let other: Ca;
let leaf: Issued;

beforeAll(async () => {
  [ca, other] = (await Promise.all([createCa("one"), createCa("one")])) as [Ca, Ca];
  leaf = await ca.issue({ uris: [workerUri("acme.example", "w1")] });
});

test("a pair of certificate and key is checked, and each mistake is told by its file", async () => {
  const now = Date.now();
  const pair = (cert: string, key: string, at = now) =>
    keyPairProblem({ file: "c", pem: cert }, { file: "k", pem: key }, at);
  expect(pair(leaf.cert, leaf.key)).toBeUndefined();
  // Only the first of a chain is the key's.
  expect(pair(leaf.cert + ca.cert, leaf.key)).toBeUndefined();
  expect(pair(ca.cert + leaf.cert, leaf.key)).toEqual({ of: "key", why: "is not the key of c" });
  expect(pair("", leaf.key)).toMatchObject({ of: "cert", why: expect.stringMatching(/^is not usable PEM: /) });
  expect(pair(leaf.cert, leaf.cert)).toMatchObject({ of: "key", why: expect.stringMatching(/^is not usable PEM: /) });
  expect(pair(leaf.cert, leaf.key, now + 2 * HOUR_MS)).toMatchObject({
    of: "cert",
    why: expect.stringMatching(/^expired at /),
  });
});

test("a bundle holds CAs and nothing else", () => {
  expect(caProblem(ca.cert)).toBeUndefined();
  expect(caProblem(`two of them\n${ca.cert}\n${other.cert}`)).toBeUndefined();
  expect(caProblem(ca.cert + leaf.cert)).toBe("is not the certificate of a CA");
  expect(caProblem("nothing")).toMatch(/^is not usable PEM: /);
  expect(certificatesOf(ca.cert + other.cert)).toHaveLength(2);
  expect(pemBlocks(ca.cert + leaf.key, "PRIVATE KEY")).toHaveLength(1);
});

test("a name of a worker is read from a certificate, and from no other name", () => {
  const certificate = new X509Certificate(leaf.cert);
  expect(spiffeNameOf(certificate)).toEqual({
    uri: "spiffe://acme.example/worker/w1",
    trustDomain: "acme.example",
    path: "/worker/w1",
  });
  expect(isForClients(certificate)).toBe(true);
  const nameOf = (uri: string) => {
    const spiffe = parseSpiffe(uri);
    return spiffe && workerNameOf(spiffe);
  };
  expect(nameOf("spiffe://a/worker/host-1.example")).toBe("host-1.example");
  for (const uri of [
    ...[
      "spiffe://a",
      "spiffe://a/",
      "spiffe://a/worker",
      "spiffe://a/worker/",
      "spiffe://a/worker/b/c",
      "spiffe://a/x/worker/b",
    ],
    ...[
      "spiffe://a/worker/..",
      "spiffe://a/worker/.",
      "spiffe://a/Worker/b",
      "spiffe://A/worker/b",
      "spiffe://a:1/worker/b",
    ],
    ...[
      `spiffe://a/worker/${"x".repeat(64)}`,
      "https://a/worker/b",
      "spiffe://a/worker/-b",
      "spiffe://a/worker/b?c",
      "",
    ],
  ]) {
    expect(nameOf(uri), uri).toBeUndefined();
  }
});

test("a revocation list is read, PEM and DER, one and several, and its signature is checked", async () => {
  const [gone, stays] = await Promise.all([ca.issue(), ca.issue()]);
  const nextUpdate = new Date(Math.floor(Date.now() / 1_000) * 1_000 + HOUR_MS);
  const [mine, empty] = await Promise.all([ca.revocationList([gone, leaf], { nextUpdate }), other.revocationList([])]);
  const lists = readRevocationLists(Buffer.from(`${mine}\n${empty}`));
  expect(lists).toHaveLength(2);
  const [first, second] = lists as [(typeof lists)[0], (typeof lists)[0]];
  expect(first.has(new X509Certificate(gone.cert).serialNumber)).toBe(true);
  expect(first.has(new X509Certificate(stays.cert).serialNumber)).toBe(false);
  expect(first.serials).toHaveLength(2);
  expect(first.nextUpdateMs).toBe(nextUpdate.getTime());
  expect(second.serials).toEqual([]);
  const [caCertificate, otherCertificate] = [new X509Certificate(ca.cert), new X509Certificate(other.cert)];
  expect([first.isSignedBy(caCertificate), first.isSignedBy(otherCertificate)]).toEqual([true, false]);
  expect([second.isSignedBy(caCertificate), second.isSignedBy(otherCertificate)]).toEqual([false, true]);
  const der = Buffer.from(mine.replace(/-----[^-]+-----/g, ""), "base64");
  expect(readRevocationLists(der)[0]?.serials).toEqual(first.serials);
  expect(pemOf("X509 CRL", der).trim()).toBe(mine.trim());
  // One bit in what is signed.
  const changed = Buffer.from(der);
  const at = changed.indexOf(Buffer.from(new X509Certificate(gone.cert).serialNumber, "hex")) + 7;
  changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
  expect(readRevocationLists(changed)[0]?.isSignedBy(caCertificate)).toBe(false);
});

test("what is no whole list is refused", async () => {
  const part = await ca.revocationList([], { isPart: true });
  expect(() => readRevocationLists(Buffer.from(part))).toThrow(/critical extension 2\.5\.29\.28/);
  expect(() => readRevocationLists(Buffer.from(leaf.cert))).toThrow(/has no block "X509 CRL"/);
  const whole = Buffer.from((await ca.revocationList([])).replace(/-----[^-]+-----/g, ""), "base64");
  for (let length = 0; length < whole.length; length += 7) {
    expect(() => readRevocationLists(whole.subarray(0, length)), String(length)).toThrow();
  }
  expect(() => readRevocationLists(Buffer.concat([whole, Buffer.of(0x05, 0x00)]))).toThrow(/not exactly one/);
});

test("a list is taken in its one strict form alone", async () => {
  const whole = Buffer.from((await ca.revocationList([leaf])).replace(/-----[^-]+-----/g, ""), "base64");
  // Between 128 and 255 bytes: the length takes one byte behind 0x81.
  const [tag, form, length = 0, ...body] = whole;
  expect([tag, form, length]).toEqual([0x30, 0x81, body.length]);
  const others = {
    longLength: Buffer.of(0x30, 0x82, 0x00, length, ...body),
    endMark: Buffer.of(0x30, 0x80, ...body, 0, 0),
    fourthPart: Buffer.of(0x30, 0x81, length + 2, ...body, 0x05, 0x00),
    twice: Buffer.concat([whole, whole]),
    empty: Buffer.of(),
    certificate: Buffer.from(new X509Certificate(leaf.cert).raw),
  };
  for (const [name, bytes] of Object.entries(others))
    expect(() => readRevocationLists(bytes), name).toThrow(/DER: |it is no revocation list/);
  expect(readRevocationLists(whole)).toHaveLength(1);
});

test("a list without an end counts for ever, with all of its entries", async () => {
  const [list] = readRevocationLists(Buffer.from(await ca.revocationList([leaf], { nextUpdate: "never" })));
  expect(list?.nextUpdateMs).toBeUndefined();
  expect(list?.serials).toEqual([plainHex(new X509Certificate(leaf.cert).serialNumber)]);
  expect(list?.isSignedBy(new X509Certificate(ca.cert))).toBe(true);
});

test("lists of openssl are read: RSA, P-384 and Ed25519, with reasons, and beyond 2049", () => {
  const pem = readFileSync(join(import.meta.dirname, "openssl_lists.pem"), "utf8");
  const [authorities, lists] = [certificatesOf(pem), readRevocationLists(Buffer.from(pem))];
  expect(lists.map((list) => authorities.map((authority) => list.isSignedBy(authority)))).toEqual([
    [true, false, false],
    [false, true, false],
    [false, false, true],
  ]);
  expect(lists.map(({ serials }) => serials)).toEqual([
    ["1001", "FF02", "8F00000000000000000000000000000000000003"],
    [],
    ["1001"],
  ]);
  expect(lists.map(({ nextUpdateMs }) => nextUpdateMs)).toEqual([
    ...[Date.UTC(2036, 0, 2, 3, 4, 5), Date.UTC(2051, 0, 2, 3, 4, 5), Date.UTC(2036, 0, 2, 3, 4, 5)],
  ]);
  expect(lists.map(({ thisUpdateMs }) => thisUpdateMs)).toEqual(new Array(3).fill(Date.UTC(2026, 0, 2, 3, 4, 5)));
});

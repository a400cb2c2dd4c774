// What makes certificates and lists for `orloj certs`, held to Node's reader: names, addresses, serial numbers, times, CAs of before and of others.

import "reflect-metadata";
import { spawnSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync, KeyObject, webcrypto, X509Certificate } from "node:crypto";
import { resolve } from "node:path";
import * as x509 from "@peculiar/x509";
import { expect, test } from "vitest";
import {
  type Authority,
  canSign,
  makeAuthority,
  makeCertificate,
  makeRevocationList,
  type Wanted,
} from "../../cli/certs/certificate.ts";
import { readRevocationLists } from "../../kit/revocation_list.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const SECOND_MS = 1_000;
const YEAR_MS = 365 * 86_400 * SECOND_MS;
const now = Math.floor(Date.now() / SECOND_MS) * SECOND_MS;
const YEAR = { fromMs: now, untilMs: now + YEAR_MS };

function authorityOf({ cert, key }: { readonly cert: string; readonly key: string }): Authority {
  return { certificate: new X509Certificate(cert), key: createPrivateKey(key) };
}

const ca = authorityOf(await makeAuthority("acme.example", { fromMs: now, untilMs: now + 30 * YEAR_MS }));
const issue = async (wanted: Partial<Wanted>, validity = YEAR, authority = ca) =>
  new X509Certificate((await makeCertificate(authority, { commonName: "x", use: "server", ...wanted }, validity)).cert);

test("serial numbers are random, positive and of 16 bytes; key and times are what was asked for", async () => {
  const made = await Promise.all(Array.from({ length: 8 }, () => issue({ hosts: ["localhost"] })));
  expect(new Set(made.map(({ serialNumber }) => serialNumber)).size).toBe(8);
  for (const { serialNumber } of made) expect(serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
  const [one] = made as [X509Certificate];
  expect(Date.parse(one.validFrom)).toBe(now - 300 * SECOND_MS);
  expect(Date.parse(one.validTo)).toBe(now + YEAR_MS);
  expect(one.subject).toBe("CN=x");
  expect(one.issuer).toBe(ca.certificate.subject);
  const late = await issue({ hosts: ["localhost"] }, { fromMs: now, untilMs: Date.UTC(2050, 1, 3) });
  expect(Date.parse(late.validTo)).toBe(Date.UTC(2050, 1, 3));
});

test.each([
  ["10.0.0.5", "IP Address:10.0.0.5"],
  ["::1", "IP Address:0:0:0:0:0:0:0:1"],
  ["::", "IP Address:0:0:0:0:0:0:0:0"],
  ["fd00::1:2", "IP Address:FD00:0:0:0:0:0:1:2"],
  ["1:0:0:2:0:0:0:3", "IP Address:1:0:0:2:0:0:0:3"],
  ["2001:db8::", "IP Address:2001:DB8:0:0:0:0:0:0"],
  ["::ffff:10.0.0.5", "IP Address:0:0:0:0:0:FFFF:A00:5"],
  ["*.acme.example", "DNS:*.acme.example"],
])("host %s is the name %s", async (host, name) => {
  expect((await issue({ hosts: [host] })).subjectAltName).toBe(name);
});

test("names of more than one kind stand in the order of URIs and hosts", async () => {
  const { subjectAltName } = await issue({ uris: ["spiffe://acme.example/a"], hosts: ["a.example", "10.0.0.5"] });
  expect(subjectAltName).toBe("URI:spiffe://acme.example/a, DNS:a.example, IP Address:10.0.0.5");
});

test("a CA that was made elsewhere signs: another curve, a name of several parts, no key identifier", async () => {
  const keys = await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-384" }, true, ["sign", "verify"]);
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    ...{ keys, name: "C=DE, O=Acme + OU=Fleet, CN=Elsewhere", signingAlgorithm: { name: "ECDSA", hash: "SHA-384" } },
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const elsewhere = { certificate: new X509Certificate(made.toString("pem")), key: KeyObject.from(keys.privateKey) };
  const leaf = await issue({ hosts: ["localhost"] }, YEAR, elsewhere);
  expect([leaf.checkIssued(elsewhere.certificate), leaf.verify(elsewhere.certificate.publicKey)]).toEqual([true, true]);
  expect(leaf.publicKey.asymmetricKeyDetails?.namedCurve).toBe("prime256v1");
  const [list] = readRevocationLists(Buffer.from(await makeRevocationList(elsewhere, [], YEAR)));
  expect([elsewhere, ca].map(({ certificate }) => list?.isSignedBy(certificate))).toEqual([true, false]);
  expect([canSign(elsewhere.key), canSign(generateKeyPairSync("ed25519").privateKey)]).toEqual([true, false]);
});

test("a long list is made and read, beyond what the parser takes by itself", async () => {
  const revoked = Array.from({ length: 1_500 }, (_, at) => ({ serial: (0x4000 + at).toString(16), timeMs: now }));
  const [list] = readRevocationLists(Buffer.from(await makeRevocationList(ca, revoked, YEAR)));
  expect(list?.isSignedBy(ca.certificate)).toBe(true);
  expect(list?.serials).toEqual(revoked.map(({ serial }) => serial.toUpperCase()));
  expect([list?.thisUpdateMs, list?.nextUpdateMs]).toEqual([now - 300 * SECOND_MS, now + YEAR_MS]);
});

test("what makes and reads certificates is loaded by nothing that can do without", () => {
  const program = `
    import { registerHooks } from "node:module";
    const loaded = new Set();
    registerHooks({
      resolve(name, context, next) {
        loaded.add(name);
        return next(name, context);
      },
    });
    for (const path of ["cli/main.ts", "cli/certs.ts", "server/main.ts", "worker/main.ts"])
      await import(${JSON.stringify(`${ROOT}/`)} + path);
    const before = ["asn1js", "@peculiar/x509", "yaml"].filter((name) => loaded.has(name));
    await import(${JSON.stringify(`${ROOT}/kit/revocation_list.ts`)});
    const lists = ["asn1js", "@peculiar/x509"].filter((name) => loaded.has(name));
    await import(${JSON.stringify(`${ROOT}/cli/certs/folder.ts`)});
    console.log(JSON.stringify([before, lists, loaded.has("@peculiar/x509")]));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    encoding: "utf8",
  });
  expect({ stdout: stdout.trim(), stderr }).toEqual({ stdout: '[["yaml"],["asn1js"],true]', stderr: "" });
});

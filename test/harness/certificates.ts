// Certificates for tests of TLS: a CA, server certificates, client certificates with every flaw that must be refused, revocation lists.
//
//   const ca = await createCa("clients");
//   const { cert, key } = await ca.issue({ uris: ["spiffe://acme.example/ci"] });
//   const crl = await ca.revocationList([{ cert }]);
//
// P-256, valid for an hour around now unless a test says otherwise. Nothing touches the disk.

// The library needs it before anything else of it is loaded.
import "reflect-metadata";
import { webcrypto, X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { LIST_LABEL, pemOf } from "../../kit/certificate_files.ts";

const HOUR_MS = 3_600_000;
const EC = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const ISSUING_DISTRIBUTION_POINT = "2.5.29.28";
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";

x509.cryptoProvider.set(webcrypto as never);

/** A certificate and its key, PEM. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
}

/** What a certificate says; by default a client's without any name. */
export interface Wanted {
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ips?: readonly string[];
  readonly usages?: readonly ("client" | "server")[];
  readonly isCa?: boolean;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Key and signature; P-256 with SHA-256 by default. */
  readonly algorithm?: webcrypto.RsaHashedKeyGenParams;
  /** Digest of the CA's signature; SHA-256 by default. */
  readonly signedWith?: "SHA-1" | "SHA-384";
}

/** What a revocation list says beside what is revoked: of the last hour and for the next one by default. */
export interface ListTimes {
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date | "never";
  /** With a critical extension that says that it is not the whole list. */
  readonly isPart?: boolean;
}

/** A certificate authority. */
export interface Ca {
  /** Its own certificate, PEM. */
  readonly cert: string;
  issue(wanted?: Wanted): Promise<Issued>;
  /** A CA below this one. */
  subordinate(name: string): Promise<Ca>;
  /** A list of these certificates, PEM. */
  revocationList(revoked: readonly Pick<Issued, "cert">[], times?: ListTimes): Promise<string>;
}

/** Makes a CA. Two of one name have different keys. */
export async function createCa(name: string): Promise<Ca> {
  const keys = await webcrypto.subtle.generateKey(EC, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...{ name: `CN=${name}`, keys, signingAlgorithm: EC, serialNumber: serial(), ...validity({}) },
    extensions: CA_EXTENSIONS,
  });
  return caOf(name, keys, certificate.toString("pem"));
}

const CA_EXTENSIONS = [
  new x509.BasicConstraintsExtension(true, undefined, true),
  new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
];

function caOf(name: string, keys: webcrypto.CryptoKeyPair, cert: string): Ca {
  return {
    cert,
    issue: (wanted = {}) => issue(name, keys, wanted),
    async subordinate(below) {
      const own = await webcrypto.subtle.generateKey(EC, true, ["sign", "verify"]);
      const certificate = await x509.X509CertificateGenerator.create({
        ...{ subject: `CN=${below}`, issuer: `CN=${name}`, serialNumber: serial(), ...validity({}) },
        ...{ signingKey: keys.privateKey, publicKey: own.publicKey, signingAlgorithm: EC, extensions: CA_EXTENSIONS },
      });
      return caOf(below, own, certificate.toString("pem"));
    },
    async revocationList(revoked, { thisUpdate, nextUpdate, isPart = false } = {}) {
      const now = Date.now();
      const entries = revoked.map((one) => ({ serialNumber: new X509Certificate(one.cert).serialNumber }));
      const list = await x509.X509CrlGenerator.create({
        ...{ issuer: `CN=${name}`, signingKey: keys.privateKey, signingAlgorithm: EC, entries },
        thisUpdate: thisUpdate ?? new Date(now - HOUR_MS),
        ...(nextUpdate !== "never" && { nextUpdate: nextUpdate ?? new Date(now + HOUR_MS) }),
        extensions: isPart ? [new x509.Extension(ISSUING_DISTRIBUTION_POINT, true, Buffer.from("3000", "hex"))] : [],
      });
      // The library's own label is not that of RFC 7468.
      return pemOf(LIST_LABEL, new Uint8Array(list.rawData));
    },
  };
}

async function issue(issuer: string, signer: webcrypto.CryptoKeyPair, wanted: Wanted): Promise<Issued> {
  const {
    uris = [],
    dnsNames = [],
    ips = [],
    usages = ["client"],
    isCa = false,
    algorithm,
    signedWith: hash = EC.hash,
  } = wanted;
  const keys = (await webcrypto.subtle.generateKey(algorithm ?? EC, true, [
    "sign",
    "verify",
  ])) as webcrypto.CryptoKeyPair;
  const names: x509.JsonGeneralNames = [
    ...uris.map((value) => ({ type: "url" as const, value })),
    ...dnsNames.map((value) => ({ type: "dns" as const, value })),
    ...ips.map((value) => ({ type: "ip" as const, value })),
  ];
  const oids = usages.map((usage) => (usage === "client" ? CLIENT_AUTH : SERVER_AUTH));
  const certificate = await x509.X509CertificateGenerator.create({
    ...{ subject: "CN=leaf", issuer: `CN=${issuer}`, serialNumber: serial(), ...validity(wanted) },
    ...{ signingKey: signer.privateKey, publicKey: keys.publicKey, signingAlgorithm: { ...EC, hash } },
    extensions: [
      new x509.BasicConstraintsExtension(isCa, undefined, true),
      ...(oids.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension(oids)]),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
    ],
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64");
  const lines = der.match(/.{1,64}/g) ?? [];
  return {
    cert: certificate.toString("pem"),
    key: `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`,
  };
}

function validity({ notBefore, notAfter }: Pick<Wanted, "notBefore" | "notAfter">) {
  const now = Date.now();
  return { notBefore: notBefore ?? new Date(now - HOUR_MS), notAfter: notAfter ?? new Date(now + HOUR_MS) };
}

function serial(): string {
  return Buffer.from(webcrypto.getRandomValues(new Uint8Array(8)))
    .toString("hex")
    .replace(/^[89a-f]/, "1");
}

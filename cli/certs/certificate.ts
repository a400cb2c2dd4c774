// Makes certificates and revocation lists: P-256 keys, SHA-256, X.509 version 3 as RFC 5280 and SPIFFE want them.
// Called by folder.ts, and loaded with it when a verb needs it: the library below it is large. Touches no file; times come in as values.
// Every certificate says what it is for and names its issuer's key, so that two CAs of one name are told apart.

// The library needs it before anything of its own is loaded.
import "reflect-metadata";
import { KeyObject, randomBytes, webcrypto, type X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { Integer } from "asn1js";
import { LIST_LABEL, pemOf } from "../../kit/certificate_files.ts";
import { MINUTE } from "../../kit/units.ts";
import { isAddress, plainAddress } from "./addresses.ts";

/** How far clocks may be apart for a certificate to be valid at once, in ms. */
const BACKDATED_MS = 5 * MINUTE;
const SERIAL_BYTES = 16;
const KEYS = { name: "ECDSA", namedCurve: "P-256" };
const SIGNING = { name: "ECDSA", hash: "SHA-256" };
/** Curves of keys that can sign, by Node's names. New keys are P-256. */
const CURVES: Readonly<Record<string, string>> = { prime256v1: "P-256", secp384r1: "P-384", secp521r1: "P-521" };
const USAGES = { server: x509.ExtendedKeyUsage.serverAuth, client: x509.ExtendedKeyUsage.clientAuth } as const;
const CRL_NUMBER = "2.5.29.20";

/** A certificate and its key, PEM. */
export interface Made {
  readonly cert: string;
  readonly key: string;
}

/** A CA that can sign. */
export interface Authority {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

/** What a certificate is to say. */
export interface Wanted {
  readonly commonName: string;
  readonly use: "server" | "client";
  readonly uris?: readonly string[];
  /** DNS names and addresses. */
  readonly hosts?: readonly string[];
}

/** When something begins to be valid, and when it ends, in ms since the epoch. */
export interface Validity {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** A CA with its own key, named after a trust domain; two of one domain differ in their names too. */
export async function makeAuthority(trustDomain: string, validity: Validity): Promise<Made> {
  const keys = await newKeys();
  const serialNumber = newSerial();
  const { keyCertSign, cRLSign } = x509.KeyUsageFlags;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...{ serialNumber, keys, signingAlgorithm: SIGNING, ...within(validity) },
    name: nameOf(`Orloj CA ${trustDomain} ${serialNumber.slice(0, 8)}`),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(keyCertSign | cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return made(certificate, keys);
}

/** A certificate of a CA, with a new key. */
export async function makeCertificate(authority: Authority, wanted: Wanted, validity: Validity): Promise<Made> {
  const keys = await newKeys();
  const { name, keyId, signingKey } = await signerOf(authority);
  const certificate = await x509.X509CertificateGenerator.create({
    ...{ serialNumber: newSerial(), subject: nameOf(wanted.commonName), issuer: name, ...within(validity) },
    ...{ publicKey: keys.publicKey, signingKey, signingAlgorithm: SIGNING },
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([USAGES[wanted.use]]),
      new x509.SubjectAlternativeNameExtension(namesOf(wanted)),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ...keyId,
    ],
  });
  return made(certificate, keys);
}

/** The list of a CA, PEM. @param revoked serial numbers, each once, and when they were revoked */
export async function makeRevocationList(
  authority: Authority,
  revoked: readonly { readonly serial: string; readonly timeMs: number }[],
  { fromMs, untilMs }: Validity,
): Promise<string> {
  const { name, keyId, signingKey } = await signerOf(authority);
  const list = await x509.X509CrlGenerator.create({
    ...{ issuer: name, signingKey, signingAlgorithm: SIGNING },
    ...{ thisUpdate: new Date(fromMs - BACKDATED_MS), nextUpdate: new Date(untilMs) },
    // With a time of its own each: for an entry that says nothing more the library writes an empty list of extensions, which RFC 5280 forbids.
    entries: revoked.map(({ serial, timeMs }) => {
      const time = new Date(timeMs);
      return { serialNumber: serial, revocationDate: time, invalidity: time };
    }),
    extensions: [...keyId, new x509.Extension(CRL_NUMBER, false, Integer.fromBigInt(BigInt(fromMs)).toBER())],
  });
  return pemOf(LIST_LABEL, new Uint8Array(list.rawData));
}

/** True for keys that can sign here. */
export function canSign({ asymmetricKeyDetails }: KeyObject): boolean {
  return curveOf(asymmetricKeyDetails) !== undefined;
}

function curveOf(details: KeyObject["asymmetricKeyDetails"]): string | undefined {
  return CURVES[details?.namedCurve ?? ""];
}

// The key's id is what the CA's certificate says, however that was made.
async function signerOf({ certificate, key }: Authority) {
  const parsed = new x509.X509Certificate(certificate.toString());
  const said = parsed.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  const algorithm = { name: "ECDSA", namedCurve: curveOf(key.asymmetricKeyDetails) ?? "" };
  return {
    name: parsed.subjectName,
    keyId: said === undefined ? [] : [new x509.AuthorityKeyIdentifierExtension(said)],
    signingKey: key.toCryptoKey(algorithm, false, ["sign"]),
  };
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEYS, true, ["sign", "verify"]);
}

function made(certificate: x509.X509Certificate, { privateKey }: webcrypto.CryptoKeyPair): Made {
  return {
    cert: pemOf("CERTIFICATE", new Uint8Array(certificate.rawData)),
    key: KeyObject.from(privateKey).export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

function within({ fromMs, untilMs }: Validity) {
  return { notBefore: new Date(fromMs - BACKDATED_MS), notAfter: new Date(untilMs) };
}

function nameOf(commonName: string): x509.Name {
  return new x509.Name([{ CN: [{ utf8String: commonName }] }]);
}

function namesOf({ uris = [], hosts = [] }: Wanted): x509.JsonGeneralNames {
  return [
    ...uris.map((value) => ({ type: "url" as const, value })),
    ...hosts.map((host) =>
      isAddress(host) ? { type: "ip" as const, value: plainAddress(host) } : { type: "dns" as const, value: host },
    ),
  ];
}

// Positive, and of one length: the first bits are 01.
function newSerial(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex").toUpperCase();
}

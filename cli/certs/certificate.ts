// Makes certificates and revocation lists: P-256 keys, SHA-256, X.509 version 3 as RFC 5280 and SPIFFE want them.
// Called by folder.ts. Touches no file; times come in as values.
// Every certificate says what it is for and names its issuer's key, so that two CAs of one name are told apart.

import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  type X509Certificate,
} from "node:crypto";
import { isIPv4 } from "node:net";
import { pemOf } from "../../kit/certificate_files.ts";
import { bitString, element, integer, oid, readElement, readElements, sequence, TAG, time } from "../../kit/der.ts";
import { LIST_LABEL } from "../../kit/revocation_list.ts";
import { MINUTE } from "../../kit/units.ts";

/** How far clocks may be apart for a certificate to be valid at once, in ms. */
const BACKDATED_MS = 5 * MINUTE;
const SERIAL_BYTES = 16;
const ALGORITHM = sequence(oid("1.2.840.10045.4.3.2"));
const CRITICAL = element(TAG.boolean, Buffer.of(0xff));
const USAGES = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" } as const;
/** digitalSignature; keyCertSign and cRLSign. Bits are counted from the left. */
const LEAF_USAGE = bitString(Buffer.of(0x80), 7);
const CA_USAGE = bitString(Buffer.of(0x06), 1);

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
export function makeAuthority(trustDomain: string, validity: Validity): Made {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const serial = newSerial();
  const subject = name(`Orloj CA ${trustDomain} ${serial.slice(0, 8)}`);
  const spki = spkiOf(pair.publicKey);
  const extensions = [
    extension("2.5.29.19", sequence(element(TAG.boolean, Buffer.of(0xff)), integer("0")), true),
    extension("2.5.29.15", CA_USAGE, true),
    extension("2.5.29.14", element(TAG.octetString, keyId(spki))),
  ];
  return made({ serial, issuer: subject, subject, spki, validity, extensions }, pair.privateKey, pair.privateKey);
}

/** A certificate of a CA, with a new key. */
export function makeCertificate(authority: Authority, wanted: Wanted, validity: Validity): Made {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = spkiOf(pair.publicKey);
  const extensions = [
    extension("2.5.29.19", sequence(), true),
    extension("2.5.29.15", LEAF_USAGE, true),
    extension("2.5.29.37", sequence(oid(USAGES[wanted.use]))),
    extension("2.5.29.17", sequence(...generalNames(wanted))),
    extension("2.5.29.14", element(TAG.octetString, keyId(spki))),
    authorityKeyId(authority),
  ];
  const issuer = subjectOf(authority.certificate);
  const told = { serial: newSerial(), issuer, subject: name(wanted.commonName), spki, validity, extensions };
  return made(told, pair.privateKey, authority.key);
}

/** The list of a CA, PEM. @param revoked serial numbers and when they were revoked */
export function makeRevocationList(
  authority: Authority,
  revoked: readonly { readonly serial: string; readonly timeMs: number }[],
  { fromMs, untilMs }: Validity,
): string {
  const entries = revoked.map(({ serial, timeMs }) => sequence(integer(serial), time(timeMs)));
  const extensions = [authorityKeyId(authority), extension("2.5.29.20", integer(fromMs.toString(16)))];
  const told = sequence(
    integer("1"),
    ALGORITHM,
    subjectOf(authority.certificate),
    time(fromMs - BACKDATED_MS),
    time(untilMs),
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    element(0xa0, sequence(...extensions)),
  );
  return pemOf(LIST_LABEL, signed(told, authority.key));
}

interface Told {
  readonly serial: string;
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  readonly validity: Validity;
  readonly extensions: readonly Uint8Array[];
}

function made({ serial, issuer, subject, spki, validity, extensions }: Told, own: KeyObject, signer: KeyObject): Made {
  const told = sequence(
    element(0xa0, integer("2")),
    integer(serial),
    ALGORITHM,
    issuer,
    sequence(time(validity.fromMs - BACKDATED_MS), time(validity.untilMs)),
    subject,
    spki,
    element(0xa3, sequence(...extensions)),
  );
  return {
    cert: pemOf("CERTIFICATE", signed(told, signer)),
    key: own.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

function signed(told: Uint8Array, key: KeyObject): Buffer {
  return sequence(told, ALGORITHM, bitString(sign("sha256", told, key)));
}

function extension(id: string, value: Uint8Array, isCritical = false): Buffer {
  return sequence(oid(id), ...(isCritical ? [CRITICAL] : []), element(TAG.octetString, value));
}

function authorityKeyId({ key }: Authority): Buffer {
  return extension("2.5.29.35", sequence(element(0x80, keyId(spkiOf(createPublicKey(key))))));
}

function generalNames({ uris = [], hosts = [] }: Wanted): Buffer[] {
  const named = hosts.map((host) =>
    isAddress(host) ? element(0x87, addressBytes(host)) : element(0x82, Buffer.from(host)),
  );
  return [...uris.map((uri) => element(0x86, Buffer.from(uri))), ...named];
}

/** True for an IP address; everything else is taken for a DNS name. */
export function isAddress(host: string): boolean {
  return isIPv4(host) || (host.includes(":") && URL.canParse(`http://[${host}]`));
}

function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split(".").map(Number));
  // The URL writes every spelling in one: groups of digits, the longest run of zeros as "::".
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const [left, right] = [head, tail ?? ""].map((part) => (part === "" ? [] : part.split(":"))) as [string[], string[]];
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...new Array<string>(zeros).fill("0"), ...right];
  return Buffer.from(groups.map((group) => group.padStart(4, "0")).join(""), "hex");
}

function name(commonName: string): Buffer {
  return sequence(element(TAG.set, sequence(oid("2.5.4.3"), element(TAG.utf8String, Buffer.from(commonName)))));
}

// The sixth part of what is signed: version, serial number, algorithm, issuer, validity, subject.
function subjectOf(certificate: X509Certificate): Uint8Array {
  const [told] = readElements(readElement(certificate.raw).content);
  const subject = told && readElements(told.content)[5];
  if (subject === undefined) throw new Error("a CA certificate without a subject");
  return subject.bytes;
}

function spkiOf(key: KeyObject): Buffer {
  return key.export({ type: "spki", format: "der" });
}

function keyId(spki: Uint8Array): Buffer {
  return createHash("sha256").update(spki).digest().subarray(0, 20);
}

// Positive, and of one length: the first bits are 01.
function newSerial(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex").toUpperCase();
}

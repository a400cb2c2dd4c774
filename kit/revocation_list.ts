// Reads certificate revocation lists (RFC 5280), PEM or DER: which serial numbers, signed by whose key, until when.
// Called by server/listener_tls.ts, whose lists decide who gets in, and by `orloj certs`, which shows them. Pure.
// The elements are read by asn1js, which is large: load this where it is needed alone. What they must be is said here, as that takes any BER.
// Takes whole lists only: a list for some certificates or reasons, or of changes, is refused, as it must not pass for all.

import { verify, type X509Certificate } from "node:crypto";
import * as asn1 from "asn1js";
import { LIST_LABEL, pemBlocks, plainHex } from "./certificate_files.ts";

/** Signature algorithms and their digests; null: the algorithm has its own. */
const DIGESTS: Readonly<Record<string, string | null>> = {
  "1.2.840.10045.4.3.2": "sha256",
  "1.2.840.10045.4.3.3": "sha384",
  "1.2.840.10045.4.3.4": "sha512",
  "1.2.840.113549.1.1.11": "sha256",
  "1.2.840.113549.1.1.12": "sha384",
  "1.2.840.113549.1.1.13": "sha512",
  "1.3.101.112": null,
};
/** Lists are files of operators, and may be long. The parser's own bounds are 10,000 elements and 16 MiB; that of depth stays. */
const ANY_LENGTH = {
  maxNodes: Number.POSITIVE_INFINITY,
  maxContentLength: Number.POSITIVE_INFINITY,
  parseEmbedded: false,
};

/** One list. */
export interface RevocationList {
  readonly thisUpdateMs: number;
  /** When a newer one is due; absent: never. */
  readonly nextUpdateMs?: number;
  /** True if the serial number, in Node's form, is on the list. */
  has(serialNumber: string): boolean;
  /** Serial numbers on it. */
  readonly serials: readonly string[];
  /** True if the key of this CA signed it. */
  isSignedBy(ca: X509Certificate): boolean;
}

/** Every list of a file's content. @throws Error for a content without one, and for one that cannot be taken */
export function readRevocationLists(content: Uint8Array): RevocationList[] {
  const text = Buffer.from(content).toString("latin1");
  if (!text.includes("-----BEGIN ")) return [readList(content)];
  const blocks = pemBlocks(text, LIST_LABEL);
  if (blocks.length === 0) throw new Error(`it has no block "${LIST_LABEL}"`);
  return blocks.map((block) => readList(Buffer.from(block.replace(/-----[^-]+-----/g, ""), "base64")));
}

function readList(bytes: Uint8Array): RevocationList {
  const { result, offset } = asn1.fromBER(bytes, ANY_LENGTH);
  if (offset !== bytes.length) throw new Error("DER: not exactly one element");
  const [signedPart, algorithm, signature, ...more] = inside(exact(result));
  if (
    signedPart === undefined ||
    algorithm === undefined ||
    !(signature instanceof asn1.BitString) ||
    more.length > 0
  ) {
    throw new Error("it is no revocation list");
  }
  const name = nameIn(algorithm);
  const digest = DIGESTS[name];
  if (digest === undefined) throw new Error(`its signature algorithm ${name} is not taken`);
  const parts = inside(signedPart);
  if (parts[0] instanceof asn1.Integer) parts.shift();
  const [inner, issuer, thisUpdate, ...rest] = parts;
  if (inner === undefined || issuer === undefined || thisUpdate === undefined)
    throw new Error("it is no revocation list");
  if (nameIn(inner) !== name) throw new Error("it names two signature algorithms");
  const nextUpdateMs = rest[0] instanceof asn1.UTCTime ? timeMs(rest.shift()) : undefined;
  const entries = rest[0] instanceof asn1.Sequence ? inside(rest.shift()).map(readEntry) : [];
  for (const extensions of rest) requirePlain(inside(inside(extensions)[0]));
  const serials = new Set(entries);
  return {
    thisUpdateMs: timeMs(thisUpdate),
    ...(nextUpdateMs !== undefined && { nextUpdateMs }),
    serials: [...serials],
    has: (serialNumber) => serials.has(plainHex(serialNumber)),
    isSignedBy: ({ publicKey }) =>
      isSigned(digest, signedPart.valueBeforeDecodeView, publicKey, signature.valueBlock.valueHexView),
  };
}

function readEntry(entry: asn1.BaseBlock): string {
  const [serial, , extensions] = inside(entry);
  if (!(serial instanceof asn1.Integer)) throw new Error("one of its entries has no serial number");
  if (extensions !== undefined) requirePlain(inside(extensions));
  return plainHex(Buffer.from(serial.valueBlock.valueHexView).toString("hex"));
}

// Whatever is critical changes what the list means: for which certificates or reasons it is, or whose.
function requirePlain(extensions: readonly asn1.BaseBlock[]): void {
  for (const extension of extensions) {
    if (!(inside(extension)[1] instanceof asn1.Boolean)) continue;
    throw new Error(`it has the critical extension ${nameIn(extension)}: give whole lists of one issuer`);
  }
}

// Elements inside another.
function inside(element: asn1.BaseBlock | undefined): asn1.BaseBlock[] {
  if (!(element instanceof asn1.Constructed)) throw new Error("DER: an element holds no others");
  return element.valueBlock.value.map(exact);
}

// An element of which tag, shortest form of the length, and what that says are all there is. The parser lets elements inside reach beyond its end.
function exact(element: asn1.BaseBlock): asn1.BaseBlock {
  const { length } = element.lenBlock;
  const header = length < 0x80 ? 2 : 2 + Math.ceil(Math.log2(length + 1) / 8);
  if (element.valueBeforeDecodeView.length !== header + length)
    throw new Error("DER: a length is not in its shortest form, or not right");
  return element;
}

// An object identifier that is the first element inside, as its numbers: 2.5.29.20.
function nameIn(element: asn1.BaseBlock): string {
  const [name] = inside(element);
  if (!(name instanceof asn1.ObjectIdentifier)) throw new Error("DER: no object identifier");
  return name.getValue();
}

// A time, in ms since the epoch. UTCTime is both kinds; either must be in seconds, and of UTC.
function timeMs(element: asn1.BaseBlock | undefined): number {
  if (!(element instanceof asn1.UTCTime)) throw new Error("DER: no time");
  const date = element.toDate();
  const told = Buffer.from(element.valueBlock.valueHexView).toString("latin1");
  const digits = Number.isNaN(date.getTime()) ? "" : date.toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  if (told.length < 13 || !digits.endsWith(told)) throw new Error("DER: no time");
  return date.getTime();
}

function isSigned(digest: string | null, data: Uint8Array, publicKey: X509Certificate["publicKey"], proof: Uint8Array) {
  try {
    return verify(digest, data, publicKey, proof);
  } catch {
    // A key of another kind than the signature.
    return false;
  }
}

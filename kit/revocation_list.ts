// Reads certificate revocation lists (RFC 5280), PEM or DER: which serial numbers, signed by whose key, until when.
// Called by server/identity/revocations.ts, which decides by them, and by `orloj certs`, which shows them. Pure.
// Takes whole lists only: a list for some certificates or reasons, or of changes, is refused, as it must not pass for all.

import { verify, type X509Certificate } from "node:crypto";
import { pemBlocks } from "./certificate_files.ts";
import { type Element, integerHex, oidText, plainHex, readElement, readElements, TAG, timeMs } from "./der.ts";

/** Label of a list in PEM. */
export const LIST_LABEL = "X509 CRL";

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
  const [signedPart, algorithm, signature, ...more] = inside(readElement(bytes));
  if (signedPart === undefined || algorithm === undefined || signature?.tag !== TAG.bitString || more.length > 0) {
    throw new Error("it is no revocation list");
  }
  const name = oidText(firstIn(algorithm));
  const digest = DIGESTS[name];
  if (digest === undefined) throw new Error(`its signature algorithm ${name} is not taken`);
  const parts = inside(signedPart);
  if (parts[0]?.tag === TAG.integer) parts.shift();
  const [inner, issuer, thisUpdate, ...rest] = parts;
  if (inner === undefined || issuer === undefined || thisUpdate === undefined)
    throw new Error("it is no revocation list");
  if (oidText(firstIn(inner)) !== name) throw new Error("it names two signature algorithms");
  const isTime = rest[0]?.tag === TAG.utcTime || rest[0]?.tag === TAG.generalizedTime;
  const nextUpdateMs = isTime ? timeMs(rest.shift() as Element) : undefined;
  const entries = rest[0]?.tag === TAG.sequence ? inside(rest.shift() as Element).map(readEntry) : [];
  for (const extensions of rest) requirePlain(inside(firstIn(extensions)));
  const serials = new Set(entries);
  const proof = signature.content.subarray(1);
  return {
    thisUpdateMs: timeMs(thisUpdate),
    ...(nextUpdateMs !== undefined && { nextUpdateMs }),
    serials: [...serials],
    has: (serialNumber) => serials.has(plainHex(serialNumber)),
    isSignedBy: ({ publicKey }) => isSigned(digest, signedPart.bytes, publicKey, proof),
  };
}

function readEntry(entry: Element): string {
  const [serial, , extensions] = inside(entry);
  if (serial === undefined) throw new Error("one of its entries has no serial number");
  if (extensions !== undefined) requirePlain(inside(extensions));
  return integerHex(serial);
}

// Whatever is critical changes what the list means: for which certificates or reasons it is, or whose.
function requirePlain(extensions: readonly Element[]): void {
  for (const extension of extensions) {
    const [name, critical] = inside(extension);
    if (critical?.tag !== TAG.boolean || name === undefined) continue;
    throw new Error(`it has the critical extension ${oidText(name)}: give whole lists of one issuer`);
  }
}

function isSigned(digest: string | null, data: Uint8Array, publicKey: X509Certificate["publicKey"], proof: Uint8Array) {
  try {
    return verify(digest, data, publicKey, proof);
  } catch {
    // A key of another kind than the signature.
    return false;
  }
}

function inside({ content }: Element): Element[] {
  return readElements(content);
}

function firstIn(element: Element): Element {
  const [first] = inside(element);
  if (first === undefined) throw new Error("it has an empty part");
  return first;
}

// What PEM files of TLS must hold to be of use: a certificate with its key, a bundle of CAs.
// Called with the content of files, by the server for its listeners, by the worker for its own certificate, and by `orloj certs`. Pure.
// Says what is wrong and nothing of a key.

import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { messageOf } from "./errors.ts";

/** Label of a revocation list in PEM. */
export const LIST_LABEL = "X509 CRL";

/** A file and what is in it. */
export interface PemFile {
  readonly file: string;
  readonly pem: string;
}

/** Which of two files is of no use, and why: words that follow its name. */
export interface KeyPairProblem {
  readonly of: "cert" | "key";
  readonly why: string;
}

/** Blocks of a PEM text with that label, in their order. */
export function pemBlocks(pem: string, label: string): string[] {
  const block = new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----`, "g");
  return pem.match(block) ?? [];
}

/** PEM text of bytes. */
export function pemOf(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** Hexadecimal digits of a serial number in one form: upper case, without zeros before them. */
export function plainHex(hex: string): string {
  return hex.toUpperCase().replace(/^0+(?=.)/, "");
}

/** Every certificate of a PEM text, in its order. @throws Error for a text without one, and for one that cannot be read */
export function certificatesOf(pem: string): X509Certificate[] {
  const blocks = pemBlocks(pem, "CERTIFICATE");
  // Node's own words for what is no certificate at all.
  return (blocks.length === 0 ? [pem] : blocks).map((block) => new X509Certificate(block));
}

/** What is wrong with a certificate and its key now. Of a chain the first certificate is looked at: it is the one that the key belongs to. */
export function keyPairProblem(cert: PemFile, key: PemFile, nowMs: number): KeyPairProblem | undefined {
  let certificate: X509Certificate | undefined;
  let privateKey: KeyObject;
  try {
    [certificate] = certificatesOf(cert.pem);
  } catch (error) {
    return { of: "cert", why: `is not usable PEM: ${messageOf(error)}` };
  }
  try {
    privateKey = createPrivateKey(key.pem);
  } catch (error) {
    return { of: "key", why: `is not usable PEM: ${messageOf(error)}` };
  }
  if (certificate?.checkPrivateKey(privateKey) !== true) return { of: "key", why: `is not the key of ${cert.file}` };
  if (nowMs >= Date.parse(certificate.validTo)) return { of: "cert", why: `expired at ${certificate.validTo}` };
  return undefined;
}

/** What is wrong with a bundle of CAs; undefined: nothing. */
export function caProblem(pem: string): string | undefined {
  let certificates: X509Certificate[];
  try {
    certificates = certificatesOf(pem);
  } catch (error) {
    return `is not usable PEM: ${messageOf(error)}`;
  }
  return certificates.every(({ ca }) => ca) ? undefined : "is not the certificate of a CA";
}

// What a TLS peer proved about itself, and its one SPIFFE name. Every doubt about a certificate makes it worthless.
// Called by rpc (reading the socket) and identify.ts (mapping the name). Written for the API listener; knows nothing of it.
// Follows SPIFFE X.509-SVID: exactly one URI SAN, scheme spiffe, a path, no CA certificate, nothing else counts.

import type { X509Certificate } from "node:crypto";

/** A peer's certificate as the TLS layer judged it. */
export interface PeerCertificate {
  /** The chain, the times and the purpose were found good. */
  readonly trusted: boolean;
  readonly certificate: X509Certificate;
}

const URI = /^spiffe:\/\/([a-z0-9._-]{1,255})((?:\/[A-Za-z0-9._-]+)+)$/;
const URI_CHARS_MAX = 2_048;
/** extendedKeyUsage of TLS clients. */
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

/** The SPIFFE name of a certificate of the trust domain; undefined for any that is not perfectly clear. */
export function spiffeName(
  { trusted, certificate }: PeerCertificate,
  trustDomain: string,
  nowMs: number,
): string | undefined {
  if (!trusted || certificate.ca) return undefined;
  if (certificate.keyUsage !== undefined && !certificate.keyUsage.includes(CLIENT_AUTH)) return undefined;
  if (nowMs < Date.parse(certificate.validFrom) || nowMs >= Date.parse(certificate.validTo)) return undefined;
  const uris = uriNames(certificate.subjectAltName ?? "");
  const [name = ""] = uris;
  if (uris.length !== 1 || name.length > URI_CHARS_MAX) return undefined;
  const [, domain, path] = URI.exec(name) ?? [];
  if (domain !== trustDomain || path?.split("/").some((part) => part === "." || part === "..")) return undefined;
  return name;
}

/**
 * URI names of a subjectAltName as Node prints it: parts separated by ", ", values that are odd in quotes.
 * A quoted value is counted as it stands, so that what hides behind quotes makes two names or a wrong one, never none.
 */
export function uriNames(subjectAltName: string): string[] {
  const parts = subjectAltName.match(/(?:[^",]|"(?:[^"\\]|\\.)*"|,(?! ))+/g) ?? [];
  return parts.flatMap((part) => /^ ?URI:(.*)$/s.exec(part)?.[1] ?? []);
}

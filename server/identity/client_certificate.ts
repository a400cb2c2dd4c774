// What a TLS peer proved about itself, and whom its certificate names. Every doubt about a certificate makes it worthless.
// Called by rpc (reading the socket) and identify.ts (mapping the name). Knows nothing of listeners.
// Follows SPIFFE X.509-SVID (kit/spiffe.ts): exactly one URI SAN, a path, no CA certificate, nothing else counts.

import type { X509Certificate } from "node:crypto";
import { isForClients, type SpiffeName, spiffeNameOf } from "../../kit/spiffe.ts";
import type { Standing } from "./revocations.ts";

/** A peer's certificate as the TLS layer judged it. */
export interface PeerCertificate {
  /** The chain, the times and the purpose were found good. */
  readonly trusted: boolean;
  readonly certificate: X509Certificate;
}

/** Why a certificate stands for nobody. */
export type CertificateProblem =
  | "CERTIFICATE_UNTRUSTED"
  | "CERTIFICATE_OF_CA"
  | "CERTIFICATE_PURPOSE"
  | "CERTIFICATE_NOT_YET_VALID"
  | "CERTIFICATE_EXPIRED"
  | "CERTIFICATE_NAME"
  | "CERTIFICATE_UNMAPPED"
  | Exclude<Standing, "good">;

/** What a certificate is judged by. */
export interface Judging {
  readonly trustDomain: string;
  readonly nowMs: number;
  /** A certificate that does not say what it is for is good for clients. */
  readonly mayOmitPurpose: boolean;
  readonly standingOf: (certificate: X509Certificate, nowMs: number) => Standing;
}

/** The SPIFFE name of a certificate of the trust domain; or why it is worth nothing. */
export function judgeCertificate(
  { trusted, certificate }: PeerCertificate,
  { trustDomain, nowMs, mayOmitPurpose, standingOf }: Judging,
): SpiffeName | CertificateProblem {
  if (nowMs >= Date.parse(certificate.validTo)) return "CERTIFICATE_EXPIRED";
  if (nowMs < Date.parse(certificate.validFrom)) return "CERTIFICATE_NOT_YET_VALID";
  if (!trusted) return "CERTIFICATE_UNTRUSTED";
  if (certificate.ca) return "CERTIFICATE_OF_CA";
  if (!isForClients(certificate) && !(mayOmitPurpose && certificate.keyUsage === undefined))
    return "CERTIFICATE_PURPOSE";
  const standing = standingOf(certificate, nowMs);
  if (standing !== "good") return standing;
  const name = spiffeNameOf(certificate);
  return name?.trustDomain === trustDomain ? name : "CERTIFICATE_NAME";
}

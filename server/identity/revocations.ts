// Which certificates of a listener's clients are revoked, by the lists of its configuration. One object a listener, filled again when files change.
// Called by identify.ts for every call and, while a stream lasts, again and again; filled by server/listener_tls.ts.
// Fails closed: once there are lists, every CA of a chain needs one that is signed by its key and has not run out.

import type { X509Certificate } from "node:crypto";
import { certificatesOf } from "../../kit/certificate_files.ts";
import type { RevocationList } from "../../kit/revocation_list.ts";
import { DAY } from "../../kit/units.ts";

/** What the lists say of a certificate. */
export type Standing = "good" | "CERTIFICATE_REVOKED" | "REVOCATION_LIST_EXPIRED" | "REVOCATION_LIST_MISSING";

/** How long before a list runs out it is time to make a new one, in ms. */
export const LIST_SOON_MS = 7 * DAY;
const CHAIN_MAX = 8;

interface Authority {
  readonly certificate: X509Certificate;
  readonly lists: readonly RevocationList[];
}

/** See the file header. */
export class Revocations {
  #authorities: readonly Authority[] | undefined;
  /** CAs that a certificate was signed by, up to a root: found once, as that costs signatures. */
  #chains = new WeakMap<X509Certificate, readonly Authority[] | "unknown">();

  /**
   * Takes other lists; without any, nothing is revoked.
   *
   * @param clientCa CAs whose certificates are taken, PEM. A list of another CA is of no use, and left out.
   * @throws Error if none of the lists is of one of the CAs.
   */
  replace(clientCa: string, lists: readonly RevocationList[] | undefined): void {
    const read = lists === undefined ? undefined : authoritiesOf(clientCa, lists);
    this.#authorities = read;
    this.#chains = new WeakMap();
  }

  /** Whether a certificate may still be used. */
  standingOf(certificate: X509Certificate, nowMs: number): Standing {
    if (this.#authorities === undefined) return "good";
    const chain = this.#chainOf(certificate, this.#authorities);
    if (chain === "unknown") return "REVOCATION_LIST_MISSING";
    let subject = certificate;
    for (const { certificate: ca, lists } of chain) {
      if (lists.some((list) => list.has(subject.serialNumber))) return "CERTIFICATE_REVOKED";
      if (lists.length === 0) return "REVOCATION_LIST_MISSING";
      if (endOf(lists) <= nowMs) return "REVOCATION_LIST_EXPIRED";
      subject = ca;
    }
    return "good";
  }

  /** Whether a list has run out, or will soon; for the log. */
  expiry(nowMs: number): "expired" | "soon" | undefined {
    const ends = (this.#authorities ?? []).flatMap(({ lists }) => (lists.length === 0 ? [] : [endOf(lists)]));
    const first = Math.min(...ends);
    if (first <= nowMs) return "expired";
    return first - nowMs <= LIST_SOON_MS ? "soon" : undefined;
  }

  #chainOf(certificate: X509Certificate, authorities: readonly Authority[]): readonly Authority[] | "unknown" {
    let found = this.#chains.get(certificate);
    if (found === undefined) {
      found = findChain(certificate, authorities);
      this.#chains.set(certificate, found);
    }
    return found;
  }
}

function authoritiesOf(clientCa: string, lists: readonly RevocationList[]): readonly Authority[] {
  const authorities = certificatesOf(clientCa).map((certificate) => ({
    certificate,
    lists: lists.filter((list) => list.isSignedBy(certificate)),
  }));
  if (authorities.every((authority) => authority.lists.length === 0)) {
    throw new Error("none of its lists is signed by one of the CAs whose certificates are taken");
  }
  return authorities;
}

function findChain(certificate: X509Certificate, authorities: readonly Authority[]): readonly Authority[] | "unknown" {
  const chain: Authority[] = [];
  for (let subject = certificate; chain.length < CHAIN_MAX; ) {
    const issuer = authorities.find(({ certificate: ca }) => subject.checkIssued(ca) && subject.verify(ca.publicKey));
    if (issuer === undefined) return "unknown";
    chain.push(issuer);
    if (issuer.certificate.checkIssued(issuer.certificate)) return chain;
    subject = issuer.certificate;
  }
  return "unknown";
}

// The newest list of a CA decides how long its word counts.
function endOf(lists: readonly RevocationList[]): number {
  return Math.max(...lists.map(({ nextUpdateMs = Number.POSITIVE_INFINITY }) => nextUpdateMs));
}

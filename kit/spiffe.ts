// The names in a certificate: its one SPIFFE name, and the worker that such a name is of.
// Called by server and worker, which must read a certificate alike, and by `orloj certs`, which makes them. Pure.
// Follows SPIFFE X.509-SVID: exactly one URI SAN, scheme spiffe, a trust domain, a path; nothing else in a certificate is a name.

import type { X509Certificate } from "node:crypto";

/** A trust domain, as it stands alone. */
export const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
/** What TRUST_DOMAIN asks for, for people. */
export const TRUST_DOMAIN_RULE = 'lower-case letters, digits, ".", "-" and "_", without spiffe://';
/** Name of a worker. */
export const WORKER_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

const URI = /^spiffe:\/\/([a-z0-9._-]{1,255})((?:\/[A-Za-z0-9._-]+)+)$/;
const URI_CHARS_MAX = 2_048;
/** extendedKeyUsage of TLS clients. */
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const WORKER_PATH = "/worker/";

/** A SPIFFE name. */
export interface SpiffeName {
  readonly uri: string;
  readonly trustDomain: string;
  /** Begins with a slash; never empty. */
  readonly path: string;
}

/** A URI as a SPIFFE name; undefined if it is none. */
export function parseSpiffe(uri: string): SpiffeName | undefined {
  const [, trustDomain, path] = (uri.length <= URI_CHARS_MAX && URI.exec(uri)) || [];
  if (trustDomain === undefined || path === undefined) return undefined;
  return path.split("/").some((part) => part === "." || part === "..") ? undefined : { uri, trustDomain, path };
}

/** The one SPIFFE name of a certificate; undefined for one with no URI, with several, or with another URI. */
export function spiffeNameOf(certificate: X509Certificate): SpiffeName | undefined {
  const [uri, second] = uriNames(certificate.subjectAltName ?? "");
  return uri === undefined || second !== undefined ? undefined : parseSpiffe(uri);
}

/** Name of the worker that a SPIFFE name is of: spiffe://DOMAIN/worker/NAME; undefined for any other. */
export function workerNameOf({ path }: SpiffeName): string | undefined {
  const name = path.startsWith(WORKER_PATH) ? path.slice(WORKER_PATH.length) : "";
  return WORKER_NAME.test(name) ? name : undefined;
}

/** True for names that belong to workers, whatever follows. */
export function isBelowWorkers(uri: string): boolean {
  return parseSpiffe(uri)?.path.startsWith(WORKER_PATH) === true;
}

/** SPIFFE name of a worker. */
export function workerUri(trustDomain: string, name: string): string {
  return `spiffe://${trustDomain}${WORKER_PATH}${name}`;
}

/** True if a certificate says that it is for TLS clients. */
export function isForClients({ keyUsage }: X509Certificate): boolean {
  return keyUsage?.includes(CLIENT_AUTH) === true;
}

/**
 * URI names of a subjectAltName as Node prints it: parts separated by ", ", values that are odd in quotes.
 * A quoted value is counted as it stands, so that what hides behind quotes makes two names or a wrong one, never none.
 */
function uriNames(subjectAltName: string): string[] {
  const parts = subjectAltName.match(/(?:[^",]|"(?:[^"\\]|\\.)*"|,(?! ))+/g) ?? [];
  return parts.flatMap((part) => /^ ?URI:(.*)$/s.exec(part)?.[1] ?? []);
}

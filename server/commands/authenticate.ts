// Who calls: the principal of a client certificate, of a JWT, or of a token of ours, in this order. The first that is there decides.
// Called by rpc before every call, and again while a stream lasts. Never says why credentials are wrong.

import type { PeerCertificate } from "../identity/client_certificate.ts";
import type { CertificateListener, Identities } from "../identity/identify.ts";
import type { Identified } from "../identity/settings.ts";
import type { Tokens } from "./tokens.ts";
import type { Principal } from "./views.ts";

/** What a call proves itself with. */
export interface Credentials {
  /** Where the call came in: workers prove themselves on theirs, everybody else on the API. */
  readonly listener: CertificateListener;
  /** Certificate of the connection. */
  readonly certificate?: PeerCertificate;
  /** Bearer token of the call. */
  readonly bearer?: string;
  /** The listener serves this machine alone. */
  readonly loopback: boolean;
}

/**
 * The principal, or undefined if the credentials are not valid.
 *
 * A certificate that is trusted but names nobody that the configuration knows leaves the decision to the bearer token; any other that is of no
 * use never does, and none does on the worker listener.
 * @throws STORAGE_UNAVAILABLE, IDENTITY_UNAVAILABLE
 */
export async function authenticate(
  identities: Identities,
  tokens: Tokens,
  { listener, certificate, bearer, loopback }: Credentials,
): Promise<Principal | undefined> {
  if (certificate !== undefined) {
    const found = identities.ofCertificate(listener, certificate);
    if (typeof found !== "string") return withRoles(identities, found);
    if (listener === "worker" || (found !== "CERTIFICATE_UNMAPPED" && found !== "CERTIFICATE_NAME")) return undefined;
  }
  if (bearer === undefined) return undefined;
  if (identities.takesJwt(bearer)) {
    const found = await identities.ofJwt(bearer);
    return found && withRoles(identities, found);
  }
  const principal = await tokens.authenticate(bearer, loopback);
  return principal && { ...principal, ...identities.heldBy(principal.id, principal.groups, principal) };
}

/** Why credentials are not valid, for the trail: it may know more than whoever sent them. */
export function refusalReason(identities: Identities, { listener, certificate }: Credentials): string {
  const found = certificate && identities.ofCertificate(listener, certificate);
  return typeof found === "string" ? `CREDENTIALS_INVALID: ${found}` : "CREDENTIALS_INVALID";
}

function withRoles(identities: Identities, found: Identified): Principal {
  if (found.kind === "worker") return { ...found, roles: ["worker"], grants: [] };
  return { ...found, ...identities.heldBy(found.id, found.groups) };
}

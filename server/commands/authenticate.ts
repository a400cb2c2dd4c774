// Who calls: the principal of a client certificate, of a JWT, or of a token of ours, in this order. The first that is there decides.
// Called by rpc before every call, and again while a stream lasts. Never says why credentials are wrong.

import type { PeerCertificate } from "../identity/client_certificate.ts";
import type { Identities } from "../identity/identify.ts";
import type { Identified } from "../identity/settings.ts";
import type { Tokens } from "./tokens.ts";
import type { Principal } from "./views.ts";

/** What a call proves itself with. */
export interface Credentials {
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
 * A certificate that is trusted but that the configuration does not map leaves the decision to the bearer token; one that is not trusted never does.
 * @throws STORAGE_UNAVAILABLE, IDENTITY_UNAVAILABLE
 */
export async function authenticate(
  identities: Identities,
  tokens: Tokens,
  { certificate, bearer, loopback }: Credentials,
): Promise<Principal | undefined> {
  if (certificate !== undefined) {
    const found = identities.ofCertificate(certificate);
    if (found !== undefined) return withRoles(identities, found);
    if (!certificate.trusted) return undefined;
  }
  if (bearer === undefined) return undefined;
  if (identities.takesJwt(bearer)) {
    const found = await identities.ofJwt(bearer);
    return found && withRoles(identities, found);
  }
  const principal = await tokens.authenticate(bearer, loopback);
  return principal && { ...principal, ...identities.heldBy(principal.id, principal.groups, principal) };
}

function withRoles(identities: Identities, found: Identified): Principal {
  return { ...found, ...identities.heldBy(found.id, found.groups) };
}

// From a certificate or a JWT to a principal with its roles, by the configuration.
// Called by commands/authenticate.ts for every call. Roles are looked up for each: nothing that a caller sends names one.

import type { Clock } from "../../kit/clock.ts";
import type { Grant, Principal, Role } from "../commands/views.ts";
import { type PeerCertificate, spiffeName } from "./client_certificate.ts";
import { JwtVerifier } from "./jwt.ts";
import { type Identified, type IdentitySettings, isReservedId } from "./settings.ts";

/** Roles as a principal has them. */
export type Held = Required<Pick<Principal, "roles" | "grants">>;

/** See the file header. */
export class Identities {
  readonly #settings: IdentitySettings;
  readonly #clock: Clock;
  readonly #jwts: JwtVerifier;

  /** @param onTrouble told when the keys of an issuer cannot be had, for the log. */
  constructor(settings: IdentitySettings, clock: Clock, onTrouble: (issuer: string, error: unknown) => void) {
    this.#settings = settings;
    this.#clock = clock;
    this.#jwts = new JwtVerifier(settings.issuers, clock, onTrouble);
  }

  /** Whom a certificate stands for; undefined for one that is not perfectly clear or that nothing is said about. */
  ofCertificate(peer: PeerCertificate): Identified | undefined {
    const { trustDomain, clients } = this.#settings;
    const name = trustDomain === undefined ? undefined : spiffeName(peer, trustDomain, this.#clock.now());
    if (name === undefined) return undefined;
    const fitting = clients.filter(
      ({ uri }) => uri === name || (uri.endsWith("/*") && name.startsWith(uri.slice(0, -1))),
    );
    // The longest says most: a name alone before all that are below another.
    const [client] = fitting.sort((a, b) => b.uri.length - a.uri.length);
    return client && { id: name, kind: client.kind, groups: client.groups, claims: {}, method: "certificate" };
  }

  /** True if the text may be a JWT and some issuer is configured. */
  takesJwt(bearer: string): boolean {
    return this.#settings.issuers.length > 0 && bearer.split(".").length === 3;
  }

  /** Whom a JWT names; undefined for one that is not valid here. @throws IDENTITY_UNAVAILABLE without its issuer's keys */
  async ofJwt(bearer: string): Promise<Identified | undefined> {
    const found = await this.#jwts.verify(bearer);
    return found === undefined || isReservedId(found.id) ? undefined : found;
  }

  /** What the configuration grants an id and its groups, beside what it has of its own. */
  heldBy(id: string, groups: readonly string[], own: Partial<Held> = {}): Held {
    const roles = new Set<Role>(own.roles ?? []);
    const grants: Grant[] = [...(own.grants ?? [])];
    for (const setting of this.#settings.roles) {
      if (!setting.principals.includes(id) && !setting.groups.some((group) => groups.includes(group))) continue;
      const { grant, namespaces } = setting;
      if (namespaces.length > 0) grants.push(...namespaces.map((namespace) => ({ ...grant, namespace })));
      else if (isRole(grant.right)) roles.add(grant.right);
      else grants.push(grant);
    }
    return { roles: [...roles], grants };
  }
}

function isRole(right: Grant["right"]): right is Role {
  return right !== "invoke-as" && !right.startsWith("policies.");
}

// From a certificate or a JWT to a principal with its roles, by the configuration and by the listener that it came to.
// Called by commands/authenticate.ts for every call. Roles are looked up for each: nothing that a caller sends names one.

import type { Clock } from "../../kit/clock.ts";
import { isBelowWorkers, workerNameOf } from "../../kit/spiffe.ts";
import type { Grant, Principal, Role } from "../commands/views.ts";
import { type CertificateProblem, judgeCertificate, type PeerCertificate } from "./client_certificate.ts";
import { JwtVerifier } from "./jwt.ts";
import { Revocations } from "./revocations.ts";
import { type Identified, type IdentitySettings, isReservedId } from "./settings.ts";

/** Listeners that take certificates: clients call on the one, workers work on the other, and neither is taken for the other. */
export type CertificateListener = "api" | "worker";

/** Revoked certificates of each listener. */
export type ListenerRevocations = Readonly<Record<CertificateListener, Revocations>>;

/** Nothing is revoked. */
export function noRevocations(): ListenerRevocations {
  return { api: new Revocations(), worker: new Revocations() };
}

/** Roles as a principal has them. */
export type Held = Required<Pick<Principal, "roles" | "grants">>;

/** See the file header. */
export class Identities {
  readonly #settings: IdentitySettings;
  readonly #clock: Clock;
  readonly #jwts: JwtVerifier;
  readonly #revocations: ListenerRevocations;

  /** @param onTrouble told when the keys of an issuer cannot be had, for the log. */
  constructor(
    settings: IdentitySettings,
    clock: Clock,
    onTrouble: (issuer: string, error: unknown) => void,
    revocations: ListenerRevocations = noRevocations(),
  ) {
    this.#revocations = revocations;
    this.#settings = settings;
    this.#clock = clock;
    this.#jwts = new JwtVerifier(settings.issuers, clock, onTrouble);
  }

  /** Whom a certificate stands for on a listener; or why for nobody. */
  ofCertificate(listener: CertificateListener, peer: PeerCertificate): Identified | CertificateProblem {
    const { trustDomain, workerTrustDomain, clients } = this.#settings;
    const isForWorkers = listener === "worker";
    const name = judgeCertificate(peer, {
      trustDomain: (isForWorkers ? workerTrustDomain : trustDomain) ?? "",
      nowMs: this.#clock.now(),
      mayOmitPurpose: !isForWorkers,
      standingOf: (certificate, nowMs) => this.#revocations[listener].standingOf(certificate, nowMs),
    });
    if (typeof name === "string") return name;
    const { uri } = name;
    const shared = { id: uri, claims: {}, method: "certificate" } as const;
    if (isForWorkers) {
      return workerNameOf(name) === undefined ? "CERTIFICATE_NAME" : { ...shared, kind: "worker", groups: [] };
    }
    if (isBelowWorkers(uri)) return "CERTIFICATE_NAME";
    const fitting = clients.filter(
      (client) => client.uri === uri || (client.uri.endsWith("/*") && uri.startsWith(client.uri.slice(0, -1))),
    );
    // The longest says most: a name alone before all that are below another.
    const [client] = fitting.sort((a, b) => b.uri.length - a.uri.length);
    return client === undefined ? "CERTIFICATE_UNMAPPED" : { ...shared, kind: client.kind, groups: client.groups };
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

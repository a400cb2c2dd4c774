// What the configuration says of who may call: certificates, issuers, and who has which role. Plain data, read by read_settings.ts.
// Used by identify.ts and jwt.ts. Leaf of this room.

import type { Grant } from "../commands/views.ts";

/** A client certificate's name, and whom it stands for. */
export interface ClientSetting {
  /** spiffe://…; with "/*" at its end: every name below. */
  readonly uri: string;
  readonly kind: "user" | "service";
  readonly groups: readonly string[];
}

/** An issuer of JSON Web Tokens. */
export interface IssuerSetting {
  readonly issuer: string;
  /** One of them must be among the token's audiences. */
  readonly audiences: readonly string[];
  /** Where its keys are: exactly one of the two. */
  readonly jwksUri?: string;
  readonly jwksFile?: string;
  readonly algorithms: readonly string[];
  readonly kind: "user" | "service";
  /** Put before ids and groups, so that two issuers never name the same person. */
  readonly prefix: string;
  readonly idClaim: string;
  /** Absent: no groups. */
  readonly groupsClaim?: string;
  /** Name of a claim of the principal → name of the token's claim. */
  readonly claims: Readonly<Record<string, string>>;
  /** In ms, at most a minute. */
  readonly clockSkewMs: number;
}

/** A role or right, and who has it. */
export interface RoleSetting {
  readonly grant: Omit<Grant, "namespace">;
  readonly principals: readonly string[];
  readonly groups: readonly string[];
  /** Everywhere when empty. */
  readonly namespaces: readonly string[];
}

/** See the file header. */
export interface IdentitySettings {
  /** Of client certificates; absent: none is taken. */
  readonly trustDomain?: string;
  /** Of workers' certificates; absent: none is taken. */
  readonly workerTrustDomain?: string;
  readonly clients: readonly ClientSetting[];
  readonly issuers: readonly IssuerSetting[];
  readonly roles: readonly RoleSetting[];
}

/** Without a configuration: tokens alone. */
export const NO_IDENTITY: IdentitySettings = Object.freeze({ clients: [], issuers: [], roles: [] });

/** Whom a certificate or a JWT names. */
export interface Identified {
  readonly id: string;
  readonly kind: "user" | "service" | "worker";
  readonly groups: readonly string[];
  readonly claims: Readonly<Record<string, string>>;
  readonly method: "certificate" | "jwt";
  readonly issuer?: string;
}

/** Ids that the control plane uses for itself in records: nobody may have them. */
export function isReservedId(id: string): boolean {
  return id === "" || id === "server" || id === "anonymous" || id.startsWith("worker:");
}

// Verifies JSON Web Tokens (RFC 7519, RFC 8725) of configured issuers with their own keys, and maps their claims.
// Called by identify.ts. The token chooses nothing but which configured issuer and which of its keys: keys, key addresses and certificates
// inside a token are never read, algorithms are those of the configuration, and a public key is never a shared secret.

import { decodeJwt, errors, type JWTPayload, jwtVerify } from "jose";
import type { Clock } from "../../kit/clock.ts";
import { SECOND } from "../../kit/units.ts";
import { KeySource } from "./key_source.ts";
import type { Identified, IssuerSetting } from "./settings.ts";

/** Signature algorithms that an issuer may be configured with; no shared secret is among them. */
export const ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
] as const;

const TOKEN_CHARS_MAX = 8_192;
const TYPES: readonly unknown[] = [undefined, "JWT", "at+jwt", "application/at+jwt", "application/jwt"];
const GROUPS_MAX = 1_000;
const VALUE_CHARS_MAX = 4_096;
const ID_CHARS_MAX = 253;

/** See the file header. */
export class JwtVerifier {
  readonly #clock: Clock;
  readonly #issuers: ReadonlyMap<string, { readonly setting: IssuerSetting; readonly keys: KeySource }>;

  constructor(issuers: readonly IssuerSetting[], clock: Clock, onTrouble: (issuer: string, error: unknown) => void) {
    this.#clock = clock;
    this.#issuers = new Map(
      issuers.map((setting) => {
        const keys = new KeySource(setting, clock, (error) => onTrouble(setting.issuer, error));
        return [setting.issuer, { setting, keys }];
      }),
    );
  }

  /** Whom the token names; undefined if it is not valid. @throws IDENTITY_UNAVAILABLE when its issuer's keys were never read */
  async verify(token: string): Promise<Identified | undefined> {
    if (token.length > TOKEN_CHARS_MAX) return undefined;
    try {
      const issuer = this.#issuers.get(decodeJwt(token).iss ?? "");
      if (issuer === undefined) return undefined;
      const { setting, keys } = issuer;
      const nowMs = this.#clock.now();
      const { payload, protectedHeader } = await jwtVerify(token, (header, jws) => keys.key(header, jws), {
        issuer: setting.issuer,
        audience: [...setting.audiences],
        algorithms: [...setting.algorithms],
        clockTolerance: setting.clockSkewMs / SECOND,
        currentDate: new Date(nowMs),
        requiredClaims: ["exp", setting.idClaim],
      });
      if (!TYPES.includes(protectedHeader.typ)) return undefined;
      // The library looks at iat only for an age; a token from the future is none of ours.
      if (payload.iat !== undefined && payload.iat * SECOND > nowMs + setting.clockSkewMs) return undefined;
      return identified(setting, payload);
    } catch (error) {
      if (error instanceof errors.JOSEError || error instanceof TypeError) return undefined;
      throw error;
    }
  }
}

function identified(setting: IssuerSetting, payload: JWTPayload): Identified | undefined {
  const { issuer, kind, prefix, idClaim, groupsClaim } = setting;
  const id = textOf(claimOf(payload, idClaim));
  if (id === undefined || id === "" || id.length + prefix.length > ID_CHARS_MAX) return undefined;
  // An address that its owner never proved names nobody.
  if (idClaim === "email" && payload["email_verified"] === false) return undefined;
  const groups = groupsClaim === undefined ? [] : groupsOf(claimOf(payload, groupsClaim));
  if (groups === undefined) return undefined;
  const claims: Record<string, string> = {};
  for (const [name, source] of Object.entries(setting.claims)) {
    const value = textOf(claimOf(payload, source));
    if (value !== undefined) claims[name] = value;
  }
  const prefixed = groups.map((group) => `${prefix}${group}`);
  return { id: `${prefix}${id}`, kind, groups: prefixed, claims, method: "jwt", issuer };
}

/** A claim by its name, or by a path of names with dots when no claim has that name. */
function claimOf(payload: JWTPayload, name: string): unknown {
  if (Object.hasOwn(payload, name)) return payload[name];
  let value: unknown = payload;
  for (const part of name.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

function textOf(value: unknown): string | undefined {
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const isText = typeof value === "string" && value.length <= VALUE_CHARS_MAX;
  return isText && value.isWellFormed() && !value.includes("\0") ? value : undefined;
}

// No groups when the claim is absent; undefined, which refuses the token, when it is not what it should be.
function groupsOf(value: unknown): string[] | undefined {
  if (value === undefined) return [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  const groups = list.flatMap((group) => (typeof group === "string" ? (textOf(group) ?? []) : []));
  return groups.length === list.length && groups.length <= GROUPS_MAX ? groups : undefined;
}

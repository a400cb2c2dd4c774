// Bearer tokens: made, hashed, looked up. Only hashes are stored, so every replica takes a token and nobody can read one back.
// Called by main (development and join tokens) and by rpc/authentication for every call.
// A hash is looked up by equality on 256 bits: nothing about a token can be learned from timing.

import type { Clock } from "../../kit/clock.ts";
import { sha256 } from "../../kit/json.ts";
import type { Random } from "../../kit/random.ts";
import { SECOND } from "../../kit/units.ts";
import { auditRecord } from "../audit/record.ts";
import type { CommandContext } from "./context.ts";
import type { Principal, Role } from "./views.ts";

/** How long a replica may go on taking a token that was revoked. */
const REMEMBER_MS = 5 * SECOND;
const REMEMBERED_MAX = 10_000;

/** The development principal's groups unless configured. */
export const DEVELOPMENT_GROUPS: readonly string[] = ["developers"];

/** A principal whose token is to be made. */
export type NewPrincipal = Omit<Principal, "claims"> & { readonly claims?: Readonly<Record<string, string>> };

/** Bearer tokens of this replica. */
export class Tokens {
  readonly #context: CommandContext;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #remembered = new Map<string, { principal: Principal | undefined; until: number }>();

  constructor(context: CommandContext, clock: Clock, random: Random) {
    this.#context = context;
    this.#clock = clock;
    this.#random = random;
  }

  /** The principal of a token, or undefined. @throws STORAGE_UNAVAILABLE */
  async authenticate(token: string): Promise<Principal | undefined> {
    const hash = sha256(token);
    const now = this.#clock.monotonic();
    const known = this.#remembered.get(hash);
    if (known !== undefined && known.until > now) return known.principal;
    const row = await this.#context.store.read((queries) => queries.bundles.token(hash));
    const principal: Principal | undefined = row && {
      id: row.principal_id,
      kind: row.kind as Principal["kind"],
      groups: row.groups,
      claims: row.claims,
      method: row.method,
      roles: row.roles as Role[],
    };
    if (this.#remembered.size >= REMEMBERED_MAX) this.#remembered.clear();
    this.#remembered.set(hash, { principal, until: now + REMEMBER_MS });
    return principal;
  }

  /**
   * The kept token if it still stands for exactly this principal, else a new one; earlier ones of the principal's method that
   * stood for other rights are left to the replicas that made them.
   */
  async ensure(kept: string | undefined, principal: NewPrincipal): Promise<string> {
    if (kept !== undefined && sameRights(await this.authenticate(kept), principal)) return kept;
    const token = `orloj_${Buffer.from(this.#random.bytes(24)).toString("base64url")}`;
    const { id, kind, groups, method, roles, claims = {} } = principal;
    await this.#context.store.transaction(async (tx) => {
      await tx.bundles.insertToken({ hash: sha256(token), principal_id: id, kind, groups, claims, roles, method });
      const detail = { principal: id, roles, method };
      await tx.audit.insert([auditRecord({ kind: "token.created", actor: "server", detail })]);
    });
    return token;
  }
}

function sameRights(found: Principal | undefined, wanted: NewPrincipal): boolean {
  if (found === undefined) return false;
  const list = (values: readonly string[]) => [...values].sort().join();
  return (
    found.id === wanted.id && list(found.roles) === list(wanted.roles) && list(found.groups) === list(wanted.groups)
  );
}

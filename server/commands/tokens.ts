// Bearer tokens: made, hashed, looked up. Only hashes are stored, so every replica takes a token and nobody can read one back.
// Called by main (development and join tokens), by manage_tokens.ts, and by authenticate.ts for every call.
// Nothing is remembered: the database is asked for every call, many calls in one statement, so that a revoked or expired token is refused
// everywhere from the next call on.

import { timingSafeEqual } from "node:crypto";
import { Coalescer } from "../../kit/coalescer.ts";
import { DomainError } from "../../kit/errors.ts";
import { sha256 } from "../../kit/json.ts";
import type { Random } from "../../kit/random.ts";
import { auditRecord } from "../audit/record.ts";
import type { TokenRow } from "../storage/token_queries.ts";
import type { CommandContext } from "./context.ts";
import type { Principal, Role } from "./views.ts";

const TOKEN_BYTES = 24;
/** What a token looks like; anything else is refused without a look at the database. */
const TOKEN = /^orloj_[A-Za-z0-9_-]{32}$/;
const BATCH_MAX = 200;
const WAITING_MAX = 5_000;

/** Tokens that a server makes for the machine that it runs on; taken on loopback listeners alone. */
const LOCAL_METHODS: readonly string[] = ["development-token", "join-token"];
/** The development principal's groups unless configured. */
export const DEVELOPMENT_GROUPS: readonly string[] = ["developers"];

/** A principal whose token is to be made. */
export type NewPrincipal = Omit<Principal, "claims"> & { readonly claims?: Readonly<Record<string, string>> };

/** Bearer tokens of this replica. */
export class Tokens {
  readonly #context: CommandContext;
  readonly #random: Random;
  readonly #lookups: Coalescer<string, TokenRow | undefined>;

  constructor(context: CommandContext, random: Random) {
    this.#context = context;
    this.#random = random;
    this.#lookups = new Coalescer(
      async (hashes) => {
        const rows = await context.store.read((queries) => queries.tokens.valid([...new Set(hashes)]));
        return hashes.map((hash) => rows.find((row) => isSame(row.hash, hash)));
      },
      {
        batchMax: BATCH_MAX,
        waitingMax: WAITING_MAX,
        lanes: 2,
        isShared: () => true,
        overflow: () => new DomainError("TOO_MANY", "too many calls wait to be authenticated; send again later"),
      },
    );
  }

  /**
   * The principal of a token, or undefined.
   *
   * @param loopback the call came in on a listener of this machine alone: local tokens count.
   * @throws STORAGE_UNAVAILABLE, TOO_MANY
   */
  async authenticate(token: string, loopback: boolean): Promise<Principal | undefined> {
    if (!TOKEN.test(token)) return undefined;
    const row = await this.#lookups.add(sha256(token));
    if (row === undefined || (!loopback && LOCAL_METHODS.includes(row.method))) return undefined;
    return {
      id: row.principal_id,
      kind: row.kind as Principal["kind"],
      groups: row.groups,
      claims: row.claims,
      method: row.method,
      roles: row.roles as Role[],
      grants: row.grants as NonNullable<Principal["grants"]>,
    };
  }

  /**
   * The kept token if it still stands for exactly this principal, else a new one; earlier ones of the principal's method that
   * stood for other rights are left to the replicas that made them.
   */
  async ensure(kept: string | undefined, principal: NewPrincipal): Promise<string> {
    if (kept !== undefined && sameRights(await this.authenticate(kept, true), principal)) return kept;
    return (await this.make(principal, { actor: "server" })).token;
  }

  /** True if somebody made a token that is valid now. @throws STORAGE_UNAVAILABLE */
  anyMade(): Promise<boolean> {
    return this.#context.store.read((queries) => queries.tokens.anyValid("token"));
  }

  /** Makes a token and its record. @param how.ttlMs from now, in ms; absent: until it is revoked */
  async make(
    principal: NewPrincipal,
    how: { readonly actor: string; readonly traceId?: string; readonly ttlMs?: number },
  ): Promise<{ id: string; token: string }> {
    const token = `orloj_${Buffer.from(this.#random.bytes(TOKEN_BYTES)).toString("base64url")}`;
    const tokenId = this.#context.ids.next("tok");
    const { id, kind, groups, method, roles, grants = [], claims = {} } = principal;
    await this.#context.store.transaction(async (tx) => {
      const row = { id: tokenId, hash: sha256(token), principal_id: id, kind, groups, claims, roles, grants, method };
      await tx.tokens.insert({ ...row, create_by: how.actor, ttlMs: how.ttlMs });
      const detail = {
        ...{ tokenId, principal: id, roles, method },
        ...(groups.length > 0 && { groups }),
        ...(grants.length > 0 && { grants: grants.map(({ right, namespace }) => namespaced(right, namespace)) }),
        ...(how.ttlMs !== undefined && { ttlMs: how.ttlMs }),
      };
      const { actor, traceId } = how;
      const event = { kind: "token.created", actor, ...(traceId !== undefined && { traceId }), detail } as const;
      await tx.audit.insert([auditRecord(event)]);
    });
    return { id: tokenId, token };
  }
}

function namespaced(right: string, namespace: string | undefined): string {
  return namespace === undefined ? right : `${right} in ${namespace}`;
}

function isSame(stored: string, wanted: string): boolean {
  return stored.length === wanted.length && timingSafeEqual(Buffer.from(stored), Buffer.from(wanted));
}

function sameRights(found: Principal | undefined, wanted: NewPrincipal): boolean {
  if (found === undefined) return false;
  const list = (values: readonly string[]) => [...values].sort().join();
  return (
    found.id === wanted.id && list(found.roles) === list(wanted.roles) && list(found.groups) === list(wanted.groups)
  );
}

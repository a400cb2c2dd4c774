// The access_token table: bearer tokens by their hash. Only hashes are stored.
// Called by commands through the store. Expiry is database time; a revoked or expired token is never found by its hash.

import { sql } from "kysely";
import type { Queryable } from "./bulk.ts";

/** A role in a namespace, or a right, that a token has of its own. */
export interface StoredGrant {
  readonly right: string;
  readonly namespace?: string;
}

/** Whom a token stands for. */
export interface TokenRow {
  readonly hash: string;
  readonly principal_id: string;
  readonly kind: string;
  readonly groups: readonly string[];
  readonly claims: Readonly<Record<string, string>>;
  readonly roles: readonly string[];
  readonly grants: readonly StoredGrant[];
  readonly method: string;
}

/** A token to store. */
export interface NewTokenRow extends TokenRow {
  readonly id: string;
  readonly create_by: string;
  /** From now, in ms; absent: until revoked. */
  readonly ttlMs?: number | undefined;
}

/** A token as listings show it. */
export interface TokenListRow extends Omit<TokenRow, "hash"> {
  readonly id: string;
  readonly create_by: string;
  readonly create_time: Date;
  readonly expire_time: Date | null;
  readonly revoke_time: Date | null;
}

const LISTED = sql.raw(
  "id, principal_id, kind, groups, claims, roles, grants, method, create_by, create_time, expire_time, revoke_time",
);

/** Queries of the access_token table. */
export function tokenQueries(db: Queryable) {
  return {
    async insert(row: NewTokenRow): Promise<void> {
      const { groups, claims, roles, grants } = row;
      await sql`
        insert into access_token (id, hash, principal_id, kind, groups, claims, roles, grants, method, create_by, expire_time)
        values (${row.id}, ${row.hash}, ${row.principal_id}, ${row.kind}, ${[...groups]}::text[], ${JSON.stringify(claims)}::jsonb,
          ${[...roles]}::text[], ${JSON.stringify(grants)}::jsonb, ${row.method}, ${row.create_by},
          clock_timestamp() + ${row.ttlMs ?? null}::double precision * interval '1 ms')`.execute(db);
    },

    /** Tokens that are valid now, of those hashes; through the primary key. */
    async valid(hashes: readonly string[]): Promise<TokenRow[]> {
      const result = await sql<TokenRow>`
        select hash, principal_id, kind, groups, claims, roles, grants, method from access_token
        where hash = any(${[...hashes]}::text[]) and revoke_time is null
          and (expire_time is null or expire_time > clock_timestamp())`.execute(db);
      return result.rows;
    },

    /** A page, newest first, before an id. */
    async list(ended: boolean, before: string | undefined, limit: number): Promise<TokenListRow[]> {
      const result = await sql<TokenListRow>`
        select ${LISTED} from access_token
        where (${before ?? null}::text is null or id < ${before ?? null})
          and (${ended} or revoke_time is null and (expire_time is null or expire_time > clock_timestamp()))
        order by id desc limit ${limit}`.execute(db);
      return result.rows;
    },

    /** One by id, through access_token_id_idx. */
    async one(id: string): Promise<TokenListRow | undefined> {
      const result = await sql<TokenListRow>`select ${LISTED} from access_token where id = ${id}`.execute(db);
      return result.rows[0];
    },

    /** Revokes a token; false if it is not there or was revoked before. */
    async revoke(id: string): Promise<boolean> {
      const result = await sql`
        update access_token set revoke_time = clock_timestamp() where id = ${id} and revoke_time is null`.execute(db);
      return result.numAffectedRows === 1n;
    },

    /** True if some valid token was made by the given method. */
    async anyValid(method: string): Promise<boolean> {
      const result = await sql<{ found: boolean }>`
        select exists (select from access_token where method = ${method} and revoke_time is null
          and (expire_time is null or expire_time > clock_timestamp())) as found`.execute(db);
      return result.rows[0]?.found === true;
    },
  };
}

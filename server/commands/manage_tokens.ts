// Makes, lists and revokes bearer tokens for administrators.
// Called by rpc/token_service. Each change has its audit record in the same transaction; the token itself is in none.

import { DomainError } from "../../kit/errors.ts";
import { auditRecord } from "../audit/record.ts";
import type { TokenListRow } from "../storage/token_queries.ts";
import { callTrace } from "./call_trace.ts";
import type { CommandContext } from "./context.ts";
import { readPage } from "./page_token.ts";
import { FINE_RIGHTS, ROLES } from "./rights.ts";
import type { Tokens } from "./tokens.ts";
import type { AccessTokenView, FineRight, Grant, Page, PageRequest, Principal, Role } from "./views.ts";

const SIZES = { sizeDefault: 100, sizeMax: 500 };

/** A token to be made. */
export interface NewToken {
  readonly name: string;
  readonly kind: "user" | "service";
  readonly groups: readonly string[];
  readonly claims: Readonly<Record<string, string>>;
  readonly roles: readonly Role[];
  readonly rights: readonly FineRight[];
  /** Where roles and rights hold; everywhere when empty. */
  readonly namespaces: readonly string[];
  /** In ms from now; absent: until it is revoked. */
  readonly ttlMs?: number;
}

type Context = Pick<CommandContext, "store">;

/** Makes a token: the only time that it is told. */
export async function createToken(
  context: Context,
  tokens: Tokens,
  principal: Principal,
  asked: NewToken,
): Promise<{ token: string; view: AccessTokenView }> {
  const { name, kind, groups, claims, roles, rights, namespaces, ttlMs } = asked;
  const scoped = namespaces.length > 0;
  const grants: Grant[] = scoped
    ? namespaces.flatMap((namespace) => [...roles, ...rights].map((right) => ({ right, namespace })))
    : rights.map((right) => ({ right }));
  const { id, token } = await tokens.make(
    { id: name, kind, groups, claims, roles: scoped ? [] : roles, grants, method: "token" },
    { actor: principal.id, ...callTrace(principal), ...(ttlMs !== undefined && { ttlMs }) },
  );
  return { token, view: await readToken(context, id) };
}

/** A page of tokens, newest first. @throws PAGE_TOKEN_INVALID */
export async function listTokens(
  context: Context,
  ended: boolean,
  request: PageRequest,
): Promise<Page<AccessTokenView>> {
  const page = await readPage(
    { name: "tokens", filter: ended, ...SIZES },
    request,
    (after, limit) => context.store.read((queries) => queries.tokens.list(ended, after?.[0], limit)),
    (row) => [row.id],
  );
  return { ...page, items: page.items.map(tokenView) };
}

/** Revokes a token; one that was revoked before stays as it is. @throws TOKEN_NOT_FOUND */
export async function revokeToken(context: Context, principal: Principal, tokenId: string): Promise<AccessTokenView> {
  await context.store.transaction(async (tx) => {
    const revoked = await tx.tokens.revoke(tokenId);
    const row = revoked ? await tx.tokens.one(tokenId) : undefined;
    if (row === undefined) return;
    const detail = { tokenId, principal: row.principal_id };
    const event = { kind: "token.revoked", actor: principal.id, ...callTrace(principal), detail } as const;
    await tx.audit.insert([auditRecord(event)]);
  });
  return await readToken(context, tokenId);
}

async function readToken(context: Context, tokenId: string): Promise<AccessTokenView> {
  const row = await context.store.read((queries) => queries.tokens.one(tokenId));
  if (row !== undefined) return tokenView(row);
  throw new DomainError("TOKEN_NOT_FOUND", `token ${tokenId} does not exist; list tokens to find its id`, {
    token: tokenId,
  });
}

function tokenView(row: TokenListRow): AccessTokenView {
  const held: readonly string[] = [...row.roles, ...row.grants.map(({ right }) => right)];
  return {
    id: row.id,
    name: row.principal_id,
    kind: row.kind as AccessTokenView["kind"],
    groups: row.groups,
    claims: row.claims,
    roles: ROLES.filter((role) => held.includes(role)),
    rights: FINE_RIGHTS.filter((right) => held.includes(right)),
    namespaces: [...new Set(row.grants.flatMap(({ namespace }) => namespace ?? []))],
    method: row.method,
    createTime: row.create_time,
    ...(row.expire_time !== null && { expireTime: row.expire_time }),
    ...(row.revoke_time !== null && { revokeTime: row.revoke_time }),
    createdBy: row.create_by,
  };
}

// TokenService: checks the fields of each request, calls one use case, maps its result.
// Called by Connect; wired by listeners.ts.
// The one place where a token leaves the server: the answer to the call that made it.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { DAY } from "../../kit/units.ts";
import type { AccessTokenSchema, CreateTokenRequest, TokenService } from "../../proto/gen/orloj/v1/token_pb.ts";
import type { NewToken } from "../commands/manage_tokens.ts";
import { FINE_RIGHTS, ROLES } from "../commands/rights.ts";
import type { AccessTokenView } from "../commands/views.ts";
import { LABEL, LABEL_RULE } from "../manifests/fields.ts";
import { planeOf, principalOf } from "./call_context.ts";
import * as check from "./request_checks.ts";

const PAGE_SIZE_MAX = 500;
const ITEMS_MAX = 100;
const TTL_MS_MIN = 1_000;
const TTL_MS_MAX = 3_650 * DAY;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$/;
/** Principals that the control plane names itself. */
const TAKEN = ["server", "anonymous", "dev", "local-worker"];

/** The service over the use cases. */
export function tokenService(): ServiceImpl<typeof TokenService> {
  return {
    async createToken(request, context) {
      const { token, view } = await planeOf(context).createToken(principalOf(context), newToken(request));
      return { token, accessToken: tokenToWire(view) };
    },
    async listTokens(request, context) {
      const page = await planeOf(context).listTokens(request.includeEnded, check.pageOf(request, PAGE_SIZE_MAX));
      return { accessTokens: page.items.map(tokenToWire), nextPageToken: page.nextPageToken ?? "" };
    },
    async revokeToken(request, context) {
      const tokenId = check.requiredText("token_id", request.tokenId);
      return { accessToken: tokenToWire(await planeOf(context).revokeToken(principalOf(context), tokenId)) };
    },
  };
}

function newToken(request: CreateTokenRequest): NewToken {
  const { name, kind, groups, claims, roles, rights, namespaces, ttl } = request;
  if (!NAME.test(name) || TAKEN.includes(name)) {
    throw check.invalidField(
      "name",
      `is not a name of a token: use letters, digits, ". _ - @", and none of ${TAKEN.join(", ")}`,
    );
  }
  if (kind !== "" && kind !== "user" && kind !== "service") {
    throw check.invalidField("kind", "is no kind of a caller: use service or user; workers have the join token");
  }
  for (const [field, items] of Object.entries({ groups, roles, rights, namespaces })) {
    check.itemCount(field, items.length, 0, ITEMS_MAX);
  }
  namespaces.forEach((namespace, index) => {
    if (!LABEL.test(namespace)) throw check.invalidField(`namespaces[${index}]`, `is not a name: use ${LABEL_RULE}`);
  });
  if (namespaces.length > 0 && roles.length + rights.length === 0) {
    throw check.invalidField("namespaces", "bound roles and rights, and there are none: give one");
  }
  const ttlMs = ttl === undefined ? undefined : check.durationOf("ttl", ttl, 0, TTL_MS_MAX);
  if (ttlMs !== undefined && ttlMs < TTL_MS_MIN)
    throw check.invalidField("ttl", "is shorter than a second: use a longer one");
  const callers = ROLES.filter((role) => role !== "worker");
  return {
    ...{ name, kind: kind === "user" ? "user" : "service", claims: check.textMap("claims", claims) },
    groups: groups.map((group, index) => check.requiredText(`groups[${index}]`, group)),
    roles: roles.map((role, index) => oneOf(`roles[${index}]`, role, callers)),
    rights: rights.map((right, index) => oneOf(`rights[${index}]`, right, FINE_RIGHTS)),
    namespaces,
    ...(ttlMs !== undefined && { ttlMs }),
  };
}

function oneOf<Word extends string>(field: string, value: string, words: readonly Word[]): Word {
  const found = words.find((word) => word === value);
  if (found === undefined) throw check.invalidField(field, `is not one of ${words.join(", ")}`);
  return found;
}

function tokenToWire(view: AccessTokenView): MessageInitShape<typeof AccessTokenSchema> {
  const { id, name, kind, groups, claims, roles, rights, namespaces, method, createdBy } = view;
  return {
    ...{ id, name, kind, groups: [...groups], claims: { ...claims }, roles: [...roles], rights: [...rights] },
    ...{ namespaces: [...namespaces], method, createdBy, createTime: timestampFromDate(view.createTime) },
    ...(view.expireTime && { expireTime: timestampFromDate(view.expireTime) }),
    ...(view.revokeTime && { revokeTime: timestampFromDate(view.revokeTime) }),
  };
}

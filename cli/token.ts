// The verbs `orloj token create`, `list` and `revoke`: bearer tokens of services and people.
// Called by main.ts. A token is printed once, alone on standard output, so that a script can keep it; nothing else ever shows it.
// JSON: create {"token": …, "accessToken": {…}}, list {"items": […], "more": …, "nextPageToken": …}, revoke {"items": […]}.

import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Command } from "commander";
import { DAY, parseDuration, SECOND } from "../kit/units.ts";
import { type AccessToken, AccessTokenSchema } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./failure.ts";
import { age, millis, pairs } from "./format.ts";
import { presentable } from "./json_output.ts";
import { type Listing, type ListOptions, listOptions, print, showListing } from "./listing.ts";
import { collect, collectPairs } from "./options.ts";
import { allPages, type Pages } from "./pages.ts";

interface CreateOptions {
  readonly name: string;
  readonly kind?: string;
  readonly role?: string[];
  readonly right?: string[];
  readonly group?: string[];
  readonly claim?: Readonly<Record<string, string>>;
  readonly namespace?: string[];
  readonly expires?: string;
}

/** Adds the verbs to the program. */
export function register(program: Command, context: Context): void {
  const token = program.command("token").description("Make, list and revoke bearer tokens.");
  token
    .command("create")
    .description("Make a token and print it, this once.")
    .requiredOption("--name <id>", "id of the principal that it stands for")
    .option("--kind <kind>", "service or user (default: service)")
    .option("--role <role>", "admin, operator, invoker or auditor; repeatable", collect)
    .option("--right <right>", "policies.write, policies.mode, policies.delete or invoke-as; repeatable", collect)
    .option("--group <group>", "group of the principal; repeatable", collect)
    .option("--claim <name=value>", "authenticated claim, for policies and tags; repeatable", collectPairs)
    .option("-n, --namespace <name>", "roles and rights hold in this namespace alone; repeatable", collect)
    .option("--expires <duration>", "valid for this long, such as 90d (default: until it is revoked)")
    .action((options: CreateOptions) => create(context, options));
  listOptions(
    token
      .command("list")
      .description("List tokens, newest first; what they are is not known any more.")
      .option("-a, --all", "those that expired or were revoked as well"),
  ).action(async (options: ListOptions & { readonly all?: boolean }) => {
    await showListing(context, tokenListing(context), options, (limit, startToken) =>
      tokens(context, options.all === true, limit, startToken),
    );
  });
  token
    .command("revoke")
    .description("Revoke a token: no replica takes it from now on.")
    .argument("<token>", "its id (tok_…), or the name that it alone has")
    .action(async (word: string) => {
      const tokenId = await idOf(context, word);
      const { accessToken } = await context.client.tokens.revokeToken({ tokenId });
      if (accessToken !== undefined) print(context, tokenListing(context), [accessToken]);
    });
}

async function create(context: Context, options: CreateOptions): Promise<void> {
  const { name, kind = "", role = [], right = [], group = [], claim = {}, namespace = [], expires } = options;
  const ttlMs = expires === undefined ? undefined : parseDuration(expires);
  if (expires !== undefined && (ttlMs === undefined || ttlMs < SECOND || ttlMs > 3_650 * DAY)) {
    throw new UsageError(`--expires ${expires}: use a duration from 1s to 3650d, such as 90d`);
  }
  const { token, accessToken } = await context.client.tokens.createToken({
    ...{ name, kind, roles: role, rights: right, groups: group, claims: { ...claim }, namespaces: namespace },
    ...(ttlMs === undefined ? {} : { ttl: durationFromMs(ttlMs) }),
  });
  if (context.json) {
    const made = accessToken === undefined ? null : presentable(AccessTokenSchema, accessToken);
    context.printJson({ token, accessToken: made });
    return;
  }
  context.print(token);
  context.note(`Keep it now: it is not shown again. It is ${accessToken?.id ?? "a token"} of ${name}.`);
  if (role.length + right.length === 0) {
    context.note("It has no role of its own: it may do what the server's configuration grants its name and groups.");
  }
}

function tokens(
  context: Context,
  includeEnded: boolean,
  limit?: number,
  startToken?: string,
): Promise<Pages<AccessToken>> {
  return allPages(
    async (pageToken, pageSize) => {
      const page = await context.client.tokens.listTokens({ includeEnded, pageToken, pageSize });
      return { items: page.accessTokens, nextPageToken: page.nextPageToken };
    },
    limit,
    undefined,
    startToken,
  );
}

async function idOf(context: Context, word: string): Promise<string> {
  if (word.startsWith("tok_")) return word;
  const named = (await tokens(context, false)).items.filter(({ name }) => name === word);
  const [one] = named;
  if (one !== undefined && named.length === 1) return one.id;
  if (one === undefined) throw new UsageError(`no valid token has the name ${word}`, "orloj token list");
  throw new UsageError(
    `${named.length} tokens have the name ${word}`,
    `revoke one of ${named.map(({ id }) => id).join(", ")}`,
  );
}

function tokenListing(context: Context): Listing<AccessToken> {
  return {
    what: "tokens",
    columns: [
      { header: "ID", cell: (item) => item.id },
      { header: "NAME", cell: (item) => item.name },
      { header: "KIND", cell: (item) => item.kind },
      { header: "ROLES", cell: (item) => [...item.roles, ...item.rights].join(",") || "-" },
      { header: "NAMESPACES", cell: (item) => item.namespaces.join(",") || "all" },
      { header: "GROUPS", cell: (item) => item.groups.join(",") || "-" },
      { header: "CLAIMS", cell: (item) => pairs(item.claims) },
      {
        ...{ header: "MADE", moving: true as const },
        cell: (item, nowMs) => `${age(item.createTime, nowMs)} ago`,
        sortBy: (item) => -(millis(item.createTime) ?? 0),
      },
      { header: "BY", cell: (item) => item.createdBy },
      { header: "STATE", cell: (item) => stateOf(item, context.host.clock.now()) },
    ],
    name: (item) => item.id,
    json: (item) => presentable(AccessTokenSchema, item),
    none: "There is no token.",
  };
}

function stateOf(item: AccessToken, nowMs: number): string {
  if (item.revokeTime !== undefined) return "revoked";
  const expireMs = millis(item.expireTime);
  if (expireMs === undefined) return "valid";
  return expireMs <= nowMs ? "expired" : `valid until ${new Date(expireMs).toISOString()}`;
}

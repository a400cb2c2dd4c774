// Opaque page tokens: base64url JSON of the listing, its filter and the key to go on after.
// Called by the read commands. A token is only good for the listing and filter that it came from (AIP-158).
// Holds nothing secret and is not signed: a forged one names another place in what the caller may list anyway.

import { DomainError } from "../../kit/errors.ts";
import { type Json, jsonDigest } from "../../kit/json.ts";
import type { Page, PageRequest } from "./views.ts";

const FORMAT = 1;
const TOKEN_CHARACTERS_MAX = 4_096;
const FILTER_DIGEST_CHARACTERS = 16;

/** One listing: its name, its filter, and how long its pages are. */
export interface Listing {
  readonly name: string;
  readonly filter: Json;
  readonly sizeDefault: number;
  readonly sizeMax: number;
}

/**
 * Reads one page of a listing.
 *
 * @param read returns at most `limit` rows after the key (absent: from the start); one more than the page is asked for.
 * @param keyOf the key of a row: strings only, as many as `keyLength`.
 * @throws PAGE_TOKEN_INVALID if the token is not one of this listing and filter
 */
export async function readPage<Row>(
  listing: Listing,
  request: PageRequest,
  read: (after: readonly string[] | undefined, limit: number) => Promise<readonly Row[]>,
  keyOf: (row: Row) => readonly string[],
  keyLength = 1,
): Promise<Page<Row>> {
  const asked = Number.isInteger(request.pageSize) && request.pageSize > 0 ? request.pageSize : listing.sizeDefault;
  const size = Math.min(asked, listing.sizeMax);
  const after = request.pageToken === "" ? undefined : decode(listing, request.pageToken, keyLength);
  const rows = await read(after, size + 1);
  const items = rows.slice(0, size);
  const last = items.at(-1);
  return rows.length > size && last !== undefined ? { items, nextPageToken: encode(listing, keyOf(last)) } : { items };
}

function encode(listing: Listing, key: readonly string[]): string {
  return Buffer.from(JSON.stringify([FORMAT, listing.name, filterDigest(listing), ...key])).toString("base64url");
}

function decode(listing: Listing, token: string, keyLength: number): readonly string[] {
  const parts = token.length > TOKEN_CHARACTERS_MAX ? undefined : parse(token);
  if (!Array.isArray(parts)) throw invalid("it is not a token that this server made");
  const [format, name, filter, ...key] = parts as unknown[];
  if (format !== FORMAT || name !== listing.name) throw invalid("it belongs to another listing");
  if (filter !== filterDigest(listing)) throw invalid("it belongs to the same listing with another filter");
  if (key.length !== keyLength || !key.every(isKeyPart)) throw invalid("it is not a token that this server made");
  return key;
}

function isKeyPart(part: unknown): part is string {
  return typeof part === "string" && part.isWellFormed() && !part.includes("\0");
}

function parse(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
}

function filterDigest(listing: Listing): string {
  return jsonDigest(listing.filter).slice(-FILTER_DIGEST_CHARACTERS);
}

function invalid(why: string): DomainError {
  return new DomainError(
    "PAGE_TOKEN_INVALID",
    `the page token cannot be used: ${why}; start again without one, or repeat the filter that the token came with`,
  );
}

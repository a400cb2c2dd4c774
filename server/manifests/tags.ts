// Takes the tags of an invocation from the sources that its template declares.
// Called by commands/prepare_invocation.ts, by dry decisions, and by policy tests. Pure.
// Nothing that an agent or a tool says ever reaches this place.

import type { TagSource } from "./specs.ts";

/** Tags with their values, and what hinders an invocation. */
export interface TakenTags {
  readonly tags: Readonly<Record<string, string>>;
  /** Tags that the caller gave and may not. */
  readonly refused: readonly { readonly tag: string; readonly source: TagSource | undefined }[];
  /** Required tags without a value. */
  readonly missing: readonly { readonly tag: string; readonly source: TagSource }[];
}

/**
 * Tags by their sources, in the order in which they are declared.
 *
 * @param claims claims of the requester, as authenticated.
 * @param given  tags that the caller sets; only those declared `from: request` are taken.
 */
export function takeTags(
  declared: Readonly<Record<string, TagSource>>,
  claims: Readonly<Record<string, string>>,
  given: Readonly<Record<string, string>>,
): TakenTags {
  const refused = Object.keys(given)
    .map((tag) => ({ tag, source: Object.hasOwn(declared, tag) ? declared[tag] : undefined }))
    .filter(({ source }) => source?.from !== "request");
  const tags: Record<string, string> = {};
  const missing: { tag: string; source: TagSource }[] = [];
  for (const [tag, source] of Object.entries(declared)) {
    const value = valueFrom(tag, source, claims, given);
    if (value !== undefined) tags[tag] = value;
    else if (source.from !== "template" && source.required) missing.push({ tag, source });
  }
  return { tags, refused, missing };
}

// Own members only: a claim named "constructor" that nobody has is missing.
function valueFrom(
  tag: string,
  source: TagSource,
  claims: Readonly<Record<string, string>>,
  given: Readonly<Record<string, string>>,
): string | undefined {
  if (source.from === "template") return source.value;
  if (source.from === "claim") return Object.hasOwn(claims, source.claim) ? claims[source.claim] : undefined;
  return Object.hasOwn(given, tag) ? given[tag] : undefined;
}

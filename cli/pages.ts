// Walks the pages of a listing.
// Called by every verb that lists. Never asks for a page that is not needed.

/** One page as the services return it. */
export interface WirePage<Item> {
  readonly items: readonly Item[];
  readonly nextPageToken: string;
}

/**
 * Items of a listing, up to a limit.
 *
 * @returns the items, and whether there are more.
 */
export async function allPages<Item>(
  fetchPage: (pageToken: string, pageSize: number) => Promise<WirePage<Item>>,
  limit = 10_000,
  pageSizeMax = 500,
): Promise<{ items: Item[]; more: boolean }> {
  const items: Item[] = [];
  for (let token = ""; ; ) {
    const page = await fetchPage(token, Math.min(pageSizeMax, limit - items.length));
    items.push(...page.items);
    if (page.nextPageToken === "") return { items: items.slice(0, limit), more: items.length > limit };
    if (items.length >= limit) return { items: items.slice(0, limit), more: true };
    token = page.nextPageToken;
  }
}

// Walks the pages of a listing.
// Called by every verb that lists. Never asks for a page that is not needed.

/** One page as the services return it. */
export interface WirePage<Item> {
  readonly items: readonly Item[];
  readonly nextPageToken: string;
}

/** Items of a listing that were read. */
export interface Pages<Item> {
  readonly items: Item[];
  /** There are more. */
  readonly more: boolean;
  /** Where the next call goes on; empty when there is nothing more. */
  readonly nextPageToken: string;
}

/** Items that a listing reads at most unless it is told otherwise. */
export const ITEMS_MAX = 10_000;

/** Items of a listing, up to a limit, from the start or from where an earlier call ended. */
export async function allPages<Item>(
  fetchPage: (pageToken: string, pageSize: number) => Promise<WirePage<Item>>,
  limit = ITEMS_MAX,
  pageSizeMax = 500,
  startToken = "",
): Promise<Pages<Item>> {
  const items: Item[] = [];
  for (let token = startToken; ; ) {
    const page = await fetchPage(token, Math.min(pageSizeMax, limit - items.length));
    items.push(...page.items);
    const { nextPageToken } = page;
    if (nextPageToken === "" || items.length >= limit) {
      const more = nextPageToken !== "" || items.length > limit;
      return { items: items.slice(0, limit), more, nextPageToken };
    }
    token = page.nextPageToken;
  }
}

// Every listing in one way: formats, wide columns, sorting, paging, and watching.
// Called by the verbs that list; a listing says its columns, its names, and how it is read.
// JSON: {"items": […], "more": …, "nextPageToken": …}; with --watch one {"type", "item"} a line.

import { type Command, Option } from "commander";
import type { Json } from "../kit/json.ts";
import { HOUR, parseDuration, SECOND } from "../kit/units.ts";
import { Code, OrlojError } from "../sdk/index.ts";
import type { Context } from "./context.ts";
import { EXIT, UsageError } from "./failure.ts";
import { type Cell, table } from "./format.ts";
import { parseLimit } from "./options.ts";
import { ITEMS_MAX, type Pages } from "./pages.ts";
import { safeLine } from "./sanitize.ts";

/** What `-o` may say where things are listed. */
export const LIST_FORMATS = ["table", "wide", "name", "json"] as const;

/** A column of a table. */
export interface Column<Item> {
  readonly header: string;
  cell(item: Item, nowMs: number): Cell;
  /** Only with -o wide. */
  readonly wide?: true;
  /** Its text changes as time goes by: no change for a watch. */
  readonly moving?: true;
  /** What --sort compares; the text of the cell unless it is given. */
  sortBy?(item: Item): number;
}

/** Things that can be listed. */
export interface Listing<Item> {
  /** In the plural, such as "runs". */
  readonly what: string;
  readonly columns: readonly Column<Item>[];
  /** Columns of the terminal that a cell has at most, 60 unless given; -o wide cuts at four times that. */
  readonly widest?: number;
  /** What -o name prints: other verbs take it. */
  name(item: Item): string;
  json(item: Item): Json;
  /** Told, with what to do, when there are none. */
  readonly none: string;
  readonly next?: string;
}

/** Options of listings, beside their filters. */
export interface ListOptions {
  readonly limit?: number;
  readonly pageToken?: string;
  readonly sort?: string;
  readonly watch?: boolean;
  readonly interval?: string;
}

/** Reads items up to a limit, on from a page token; empty: from the start. */
export type ReadItems<Item> = (limit: number, pageToken: string) => Promise<Pages<Item>>;

const INTERVAL_MS = { default: 2 * SECOND, least: SECOND / 10, most: HOUR };
const FAILURES_MAX = 15;
const WIDEST = 60;

/** Adds the options that every listing has. */
export function listOptions(command: Command, limit = ITEMS_MAX): Command {
  return command
    .option("--limit <count>", "at most so many", parseLimit, limit)
    .option("--page-token <token>", "go on where an earlier call ended")
    .option("--sort <column>", "by a column of the table, such as AGE; -AGE the other way round")
    .option("-w, --watch", "then go on with what changes, until interrupted")
    .addOption(new Option("--interval <duration>", "between two looks of --watch").default("2s"));
}

/** Reads and shows a listing as the options say. @throws UsageError for an option that does not fit */
export async function showListing<Item>(
  context: Context,
  listing: Listing<Item>,
  options: ListOptions,
  read: ReadItems<Item>,
): Promise<void> {
  const { limit = ITEMS_MAX, pageToken = "" } = options;
  const sorted = sorter(listing, options.sort, context);
  if (options.watch === true)
    return await watch(context, listing, options, async () => {
      const pages = await read(limit, pageToken);
      return { ...pages, items: sorted(pages.items) };
    });
  const { items, more, nextPageToken } = await read(limit, pageToken);
  print(context, listing, sorted(items), { more, nextPageToken });
  if (!more || context.json) return;
  const rest = nextPageToken === "" ? "" : `, or go on with --page-token ${nextPageToken}`;
  context.note(`There are more than these ${items.length} ${listing.what}: narrow them, raise --limit${rest}.`);
}

/** Prints items that are there already. */
export function print<Item>(
  context: Context,
  listing: Listing<Item>,
  items: readonly Item[],
  rest?: { readonly more: boolean; readonly nextPageToken: string },
): void {
  if (context.json) context.printJson({ items: items.map(listing.json), ...(rest && { ...rest }) });
  else if (context.format === "name") context.print(...items.map((item) => safeLine(listing.name(item))));
  else if (items.length > 0) context.print(...tableOf(context, listing, items));
  else {
    context.note(listing.none);
    if (listing.next !== undefined) context.next(listing.next);
  }
}

/** The table of items. */
export function tableOf<Item>(context: Context, listing: Listing<Item>, items: readonly Item[]): string[] {
  const columns = columnsFor(context, listing);
  const nowMs = context.host.clock.now();
  const rows = items.map((item) => columns.map((column) => column.cell(item, nowMs)));
  return table(
    columns.map(({ header }) => header),
    rows,
    context.paint,
    (listing.widest ?? WIDEST) * (context.format === "wide" ? 4 : 1),
  );
}

function columnsFor<Item>(context: Context, { columns }: Listing<Item>): readonly Column<Item>[] {
  return context.format === "wide" ? columns : columns.filter(({ wide }) => wide !== true);
}

function sorter<Item>(listing: Listing<Item>, sort: string | undefined, context: Context) {
  if (sort === undefined) return (items: readonly Item[]) => items;
  const backwards = sort.startsWith("-");
  const wanted = sort.replace(/^-/, "").toUpperCase().replaceAll("-", " ");
  const column = listing.columns.find(({ header }) => header === wanted);
  if (column === undefined) {
    const known = listing.columns.map(({ header }) => header.replaceAll(" ", "-")).join(", ");
    throw new UsageError(`--sort ${sort}: there is no such column`, `use one of ${known}`);
  }
  const nowMs = context.host.clock.now();
  const keyOf = (item: Item) => column.sortBy?.(item) ?? textOf(column.cell(item, nowMs));
  return (items: readonly Item[]) => {
    const order = items.map((item) => ({ item, key: keyOf(item) })).sort((a, b) => compare(a.key, b.key));
    const result = order.map(({ item }) => item);
    return backwards ? result.reverse() : result;
  };
}

function textOf(cell: Cell): string {
  return typeof cell === "string" ? cell : cell.state;
}

function compare(a: string | number, b: string | number): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

async function watch<Item>(
  context: Context,
  listing: Listing<Item>,
  options: ListOptions,
  read: () => Promise<{ readonly items: readonly Item[]; readonly more: boolean }>,
): Promise<void> {
  const intervalMs = intervalOf(options.interval);
  const changes = new Changes(context, listing);
  await context.interruptible(async (signal) => {
    for (let failures = 0; !signal.aborted; ) {
      try {
        const { items, more } = await read();
        failures = 0;
        changes.show(items, more);
      } catch (error) {
        const failure = OrlojError.from(error);
        failures += 1;
        if (failure.code !== Code.Unavailable || failures > FAILURES_MAX) throw error;
        if (failures === 1) context.note("The server cannot answer now; the watch goes on.");
      }
      await context.host.clock.sleep(intervalMs, signal);
    }
    context.exitCode = EXIT.interrupted;
  });
}

/** The value of --interval, in ms. @throws UsageError */
export function intervalOf(text: string | undefined): number {
  if (text === undefined) return INTERVAL_MS.default;
  const ms = parseDuration(text);
  if (ms !== undefined && ms >= INTERVAL_MS.least && ms <= INTERVAL_MS.most) return ms;
  throw new UsageError(`--interval ${text}: use a duration from 100ms to 1h, such as 2s`);
}

// What is there, new, changed, and gone: a row each, aligned with those before.
class Changes<Item> {
  readonly #context: Context;
  readonly #listing: Listing<Item>;
  readonly #shown = new Map<string, { readonly item: Item; readonly steady: string }>();
  #begun = false;

  constructor(context: Context, listing: Listing<Item>) {
    this.#context = context;
    this.#listing = listing;
  }

  /** @param more what is not among the items may still be there */
  show(items: readonly Item[], more: boolean): void {
    const before = new Map(this.#shown);
    const fresh: { type: "there" | "new" | "changed"; item: Item }[] = [];
    for (const item of items) {
      const name = this.#listing.name(item);
      const steady = this.#steady(item);
      const known = before.get(name);
      before.delete(name);
      if (known?.steady === steady) continue;
      this.#shown.set(name, { item, steady });
      fresh.push({ type: known !== undefined ? "changed" : this.#begun ? "new" : "there", item });
    }
    this.#rows(fresh);
    for (const [name, { item }] of before) {
      this.#shown.delete(name);
      if (!more) {
        if (this.#context.json) this.#context.printJsonLine({ type: "gone", item: this.#listing.json(item) });
        else this.#context.print(safeLine(`${name}  gone`));
      }
    }
    this.#begun = true;
  }

  #rows(fresh: readonly { readonly type: string; readonly item: Item }[]): void {
    const { json, format } = this.#context;
    if (json) for (const { type, item } of fresh) this.#context.printJsonLine({ type, item: this.#listing.json(item) });
    else if (format === "name") this.#context.print(...fresh.map(({ item }) => safeLine(this.#listing.name(item))));
    else {
      const all = [...this.#shown.values()].map(({ item }) => item);
      const rows = tableOf(this.#context, this.#listing, [...all, ...fresh.map(({ item }) => item)]);
      const last = fresh.length === 0 ? [] : rows.slice(-fresh.length);
      this.#context.print(...(this.#begun ? last : [rows[0] ?? "", ...last]));
    }
  }

  #steady(item: Item): string {
    const cells = this.#listing.columns.filter(({ moving }) => moving !== true).map((column) => column.cell(item, 0));
    return JSON.stringify(cells);
  }
}

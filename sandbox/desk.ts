// The support desk's side of the sandbox: a payment service that gives refunds, and a help centre with pages.
// Called by service.ts. The tools of examples/support-desk work on it.
// The first refund of each order is paid and its answer is lost: only a caller that repeats its key learns what happened.

import { type Asked, type Effects, type Reply, refusal } from "./reply.ts";

/** Orders that the payment service knows: what was paid for each, in cents. A-1003 was paid with a card that is gone. */
const PAID: ReadonlyMap<string, number> = new Map([
  ["A-1001", 4_900],
  ["A-1002", 25_900],
  ["A-1003", 1_900],
]);
const CLOSED_ACCOUNT = "A-1003";

const PAGES: ReadonlyMap<string, { readonly title: string; readonly text: string }> = new Map([
  [
    "https://help.example.com/exports",
    {
      title: "Exporting your data",
      text: "Exports run every night at 02:00 UTC. An export that is larger than 2 GiB is split into parts.",
    },
  ],
  [
    "https://help.example.com/webhooks",
    {
      title: "Webhooks",
      text: "Deliveries are signed and tried again for 24 hours. A receiver that answers 410 is switched off.",
    },
  ],
  [
    "https://help.example.com/refunds",
    { title: "Refunds", text: "A refund reaches the card within five working days. Up to 100 euros are paid at once." },
  ],
]);

/** See the file header. */
export class Desk {
  readonly #effects: Effects;
  readonly #refunded = new Set<string>();

  constructor(effects: Effects) {
    this.#effects = effects;
  }

  /** Answers what concerns refunds and pages; undefined when it is neither. */
  answer({ method, path, query, body }: Asked): Reply | undefined {
    const [collection, name, part] = path;
    if (part !== undefined) return undefined;
    if (collection === "refunds" && method === "POST" && name !== undefined) return this.#refund(name, body);
    if (collection !== "pages" || method !== "GET") return undefined;
    if (name === undefined) return found(query.get("words") ?? "");
    const page = PAGES.get(name);
    return page === undefined ? refusal(404, "there is no such page") : { status: 200, body: { url: name, ...page } };
  }

  #refund(order: string, body: Asked["body"]): Reply {
    const paid = PAID.get(order);
    const cents = body["amountCents"];
    if (paid === undefined) return refusal(404, "no such order");
    if (order === CLOSED_ACCOUNT) return refusal(422, "the card that paid is closed: a person has to find another way");
    if (this.#refunded.has(order)) return refusal(409, "this order was refunded before");
    if (typeof cents !== "number" || cents > paid) return refusal(422, `${paid} cents were paid, no more goes back`);
    this.#refunded.add(order);
    this.#effects.refunds += 1;
    const refundId = `refund-${this.#effects.refunds}`;
    return { status: 201, body: { refundId, orderId: order, amountCents: cents }, lost: true };
  }
}

function found(words: string): Reply {
  const wanted = words
    .toLowerCase()
    .split(/\W+/)
    .filter((word) => word.length > 3);
  const pages = [...PAGES].filter(([, { title, text }]) => {
    const all = `${title} ${text}`.toLowerCase();
    return wanted.some((word) => all.includes(word));
  });
  return { status: 200, body: { pages: pages.map(([url, { title }]) => ({ url, title })) } };
}

// A receiver of webhooks, as Standard Webhooks 1.0 asks of one: the signature is checked over the bytes that came, an old one
// is refused, and an id that came before has no effect again. Called by service.ts; keeps the notices that it believed.

import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Clock } from "../kit/clock.ts";
import { MINUTE, SECOND } from "../kit/units.ts";
import { type Effects, type Reply, refusal } from "./reply.ts";

/** How far the time of a delivery may be from ours, in ms. */
const TOLERANCE_MS = 5 * MINUTE;

/** See the file header. */
export class Notices {
  readonly #clock: Clock;
  readonly #key: Buffer;
  readonly #effects: Effects;
  readonly #believed = new Map<string, unknown>();

  /** signingSecret is `whsec_` and the base64 of the key. */
  constructor(clock: Clock, signingSecret: string, effects: Effects) {
    this.#clock = clock;
    this.#key = Buffer.from(signingSecret.replace(/^whsec_/, ""), "base64");
    this.#effects = effects;
  }

  /** Takes one delivery. */
  receive(headers: IncomingHttpHeaders, body: Buffer): Reply {
    const id = String(headers["webhook-id"] ?? "");
    const timestamp = String(headers["webhook-timestamp"] ?? "");
    const age = Math.abs(this.#clock.now() - Number(timestamp) * SECOND);
    const good = String(headers["webhook-signature"] ?? "")
      .split(" ")
      .some((signature) => this.#signed(signature, `${id}.${timestamp}.`, body));
    if (id === "" || !(age <= TOLERANCE_MS) || !good) {
      this.#effects.forged += 1;
      return refusal(401, "the signature is missing, wrong, or old");
    }
    const event: unknown = JSON.parse(body.toString("utf8"));
    if (this.#believed.has(id)) this.#effects.repeated += 1;
    else this.#effects.notices += 1;
    this.#believed.set(id, event);
    return { status: 202, body: { accepted: true } };
  }

  /** What was believed, oldest first. */
  list(): Reply {
    return { status: 200, body: { notices: [...this.#believed].map(([id, event]) => ({ id, event })) } };
  }

  #signed(signature: string, head: string, body: Buffer): boolean {
    const [version, given = ""] = signature.split(",");
    const expected = createHmac("sha256", this.#key).update(head).update(body).digest();
    const actual = Buffer.from(given, "base64");
    return version === "v1" && actual.length === expected.length && timingSafeEqual(actual, expected);
  }
}

// Ids: a prefix that says what it names, then 26 characters that sort by time (48 bits of ms, 80 random bits).
// Crockford base 32 in lower case, as in the ULID specification, so that an id is easy to read out and to select.
// Pure but for the clock and randomness that come in.

import type { Clock } from "./clock.ts";
import type { Random } from "./random.ts";

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

/** What an id may name. */
export type IdPrefix = "run" | "task" | "ses" | "rep" | "gra" | "wrk" | "tok";

/** Makes ids and tokens. */
export interface Ids {
  /** A new id such as run_01jd…; ids made later sort after earlier ones of the same process. */
  next(prefix: IdPrefix): string;
  /** 128 random bits as 32 hex digits: a lease token. */
  token(): string;
}

/** Ids from a clock and a source of randomness. */
export function createIds(clock: Clock, random: Random): Ids {
  let lastMs = -1;
  let counter = 0n;
  return {
    next(prefix) {
      const nowMs = Math.max(clock.now(), lastMs);
      if (nowMs === lastMs) counter += 1n;
      else {
        lastMs = nowMs;
        counter = BigInt(`0x${Buffer.from(random.bytes(10)).toString("hex")}`) >> 1n;
      }
      return `${prefix}_${base32((BigInt(nowMs) << 80n) | (counter & ((1n << 80n) - 1n)))}`;
    },
    token: () => Buffer.from(random.bytes(16)).toString("hex"),
  };
}

/** What every id made at this time or later sorts after, or is; ms since the Unix epoch, not negative. */
export function firstIdAt(prefix: IdPrefix, ms: number): string {
  return `${prefix}_${base32(BigInt(Math.floor(ms)) << 80n)}`;
}

function base32(value: bigint): string {
  let text = "";
  for (let shift = 125n; shift >= 0n; shift -= 5n) text += ALPHABET[Number((value >> shift) & 31n)];
  return text;
}

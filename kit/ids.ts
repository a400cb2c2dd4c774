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

const TIME_CHARACTERS = 10;
/** The random bits are two numbers of so many characters, for a number holds no more than 53 bits. */
const HALF_CHARACTERS = 8;
const HALF_VALUES = 2 ** 40;

/** Ids from a clock and a source of randomness. */
export function createIds(clock: Clock, random: Random): Ids {
  let lastMs = -1;
  let time = "";
  let high = 0;
  let low = 0;
  return {
    next(prefix) {
      const nowMs = Math.max(clock.now(), lastMs);
      if (nowMs === lastMs) {
        low = (low + 1) % HALF_VALUES;
        if (low === 0) high = (high + 1) % HALF_VALUES;
      } else {
        lastMs = nowMs;
        time = base32(nowMs, TIME_CHARACTERS);
        const bytes = Buffer.from(random.bytes(10));
        // The lower half of the values, so that counting up has room.
        high = Math.floor(bytes.readUIntBE(0, 5) / 2);
        low = bytes.readUIntBE(5, 5);
      }
      return `${prefix}_${time}${base32(high, HALF_CHARACTERS)}${base32(low, HALF_CHARACTERS)}`;
    },
    token: () => Buffer.from(random.bytes(16)).toString("hex"),
  };
}

/** What every id made at this time or later sorts after, or is; ms since the Unix epoch, not negative. */
export function firstIdAt(prefix: IdPrefix, ms: number): string {
  return `${prefix}_${base32(Math.floor(ms), TIME_CHARACTERS)}${base32(0, 2 * HALF_CHARACTERS)}`;
}

// Digits of a whole number, the highest first.
function base32(value: number, characters: number): string {
  let text = "";
  let rest = value;
  for (let count = 0; count < characters; count += 1) {
    text = `${ALPHABET[rest % 32]}${text}`;
    rest = Math.floor(rest / 32);
  }
  return text;
}

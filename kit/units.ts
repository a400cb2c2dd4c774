// Units for constants, so that they read as they are spoken: 5 * MINUTE, 4 * MIB.
// Leaf: imports nothing.

/** Milliseconds in a second. */
export const SECOND = 1_000;
/** Milliseconds in a minute. */
export const MINUTE = 60 * SECOND;
/** Milliseconds in an hour. */
export const HOUR = 60 * MINUTE;
/** Milliseconds in a day of 24 hours. */
export const DAY = 24 * HOUR;
/** Bytes in a kibibyte. */
export const KIB = 1_024;
/** Bytes in a mebibyte. */
export const MIB = 1_024 * KIB;

const DURATION = /^(\d{1,9})(ms|s|m|h|d)$/;
const FACTORS: Record<string, number> = { ms: 1, s: SECOND, m: MINUTE, h: HOUR, d: DAY };

/**
 * Milliseconds of a duration such as 500ms, 30s, 15m, 2h, 90d.
 *
 * @returns undefined if the text is not a duration.
 */
export function parseDuration(text: string): number | undefined {
  const match = DURATION.exec(text);
  if (match === null) return undefined;
  return Number(match[1]) * (FACTORS[match[2] as string] as number);
}

// Wall clocks of IANA time zones: which offset holds at an instant, and at which instant a wall clock shows a time.
// Called by window.ts. A time that daylight saving skips is the first instant after the gap; one that it repeats, the first of the two.
// Offsets are kept for each quarter of an hour, at which zones change them.

import { HOUR, MINUTE } from "../kit/units.ts";

const QUARTER_MS = 15 * MINUTE;
/** Offsets that a zone keeps before it forgets them all. */
const OFFSETS_MAX = 4_096;

/** A time zone. */
export interface TimeZone {
  readonly name: string;
  /** What the wall clock shows at an instant, as ms since 1970-01-01T00:00 on that clock. */
  wallAt(ms: number): number;
  /** The first instant at which the wall clock shows this time or, where it is skipped, a later one. */
  instantOf(wallMs: number): number;
}

const zones = new Map<string, TimeZone>();

/** The zone of an IANA name; undefined if there is none. */
export function timeZone(name: string): TimeZone | undefined {
  const known = zones.get(name);
  if (known !== undefined) return known;
  // Offsets such as +02:00 know no daylight saving, which is why a name is asked for.
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{1,63}$/.test(name)) return undefined;
  try {
    const zone = makeZone(name);
    zones.set(name, zone);
    return zone;
  } catch {
    return undefined;
  }
}

function makeZone(name: string): TimeZone {
  const format = new Intl.DateTimeFormat("en-US", {
    ...{ timeZone: name, calendar: "gregory", numberingSystem: "latn", hourCycle: "h23" },
    ...{ year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" },
  });
  const offsets = new Map<number, number>();
  const offsetAt = (ms: number): number => {
    const quarter = Math.floor(ms / QUARTER_MS);
    let offset = offsets.get(quarter);
    if (offset === undefined) {
      offset = readOffset(format, quarter * QUARTER_MS);
      if (offsets.size >= OFFSETS_MAX) offsets.clear();
      offsets.set(quarter, offset);
    }
    return offset;
  };
  return {
    name,
    wallAt: (ms) => ms + offsetAt(ms),
    instantOf(wallMs) {
      const before = offsetAt(wallMs - 24 * HOUR);
      const after = offsetAt(wallMs + 24 * HOUR);
      const found = [before, after]
        .map((offset) => wallMs - offset)
        .filter((ms) => ms + offsetAt(ms) === wallMs)
        .sort((a, b) => a - b);
      if (found[0] !== undefined) return found[0];
      // Skipped: the clocks went from before to after at one of the quarters between the two guesses.
      let instant = Math.ceil((wallMs - Math.max(before, after)) / QUARTER_MS) * QUARTER_MS;
      while (instant + offsetAt(instant) < wallMs) instant += QUARTER_MS;
      return instant;
    },
  };
}

function readOffset(format: Intl.DateTimeFormat, ms: number): number {
  const part: Record<string, number> = {};
  for (const { type, value } of format.formatToParts(ms)) part[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
  return Date.UTC(year, month - 1, day, hour, minute, second) - ms;
}

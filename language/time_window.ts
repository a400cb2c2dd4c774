// Compiles time windows of policies: recurring ones (cron, duration, time zone) and ones between two instants. Half-open.
// Called by manifests (to check) and by server/policy (to evaluate). A recurring window begins when its cron fires on the wall clock of
// its zone and lasts its duration in elapsed time, whatever the clocks do meanwhile. Time comes in as a value.

import { DAY, MINUTE, parseDuration } from "../kit/units.ts";
import { type Cron, parseCron } from "./cron.ts";
import { type TimeZone, timeZone } from "./time_zone.ts";

/** How far a wall clock may be set back: times up to so many minutes ahead of it may have been shown already. */
const SET_BACK_MINUTES = 180;
/** Longest duration of a recurring window. */
export const WINDOW_MS_MAX = 31 * DAY;

/** A window as a manifest says it. */
export interface WindowText {
  readonly cron?: string;
  readonly duration?: string;
  readonly timeZone?: string;
  readonly from?: string;
  readonly to?: string;
}

/** A compiled window. */
export interface TimeWindow {
  /** True from its first instant to before its last. */
  contains(nowMs: number): boolean;
}

/** What is wrong with a window, and in which member. */
export interface WindowError {
  readonly ok: false;
  readonly member: keyof WindowText;
  readonly error: string;
  readonly hint: string;
}

/** Compiles a window; what it does not need must be absent. */
export function compileWindow(text: WindowText): { readonly ok: true; readonly value: TimeWindow } | WindowError {
  return text.cron === undefined ? compileSpan(text) : compileRecurring(text.cron, text);
}

function compileSpan(text: WindowText): ReturnType<typeof compileWindow> {
  const from = readInstant(text.from);
  const to = readInstant(text.to);
  const hint = "write it as 2026-01-31T18:00:00Z";
  if (from === undefined) return wrong("from", `"${text.from ?? ""}" is not a time with an offset`, hint);
  if (to === undefined) return wrong("to", `"${text.to ?? ""}" is not a time with an offset`, hint);
  if (from >= to) return wrong("to", "the window ends before it begins", "let `to` be later than `from`");
  return { ok: true, value: { contains: (nowMs) => nowMs >= from && nowMs < to } };
}

function compileRecurring(cronText: string, text: WindowText): ReturnType<typeof compileWindow> {
  const cron = parseCron(cronText);
  if (!cron.ok) return wrong("cron", cron.error, "for example 0 9 * * mon-fri");
  const durationMs = parseDuration(text.duration ?? "");
  if (durationMs === undefined || durationMs < MINUTE || durationMs > WINDOW_MS_MAX) {
    return wrong("duration", `"${text.duration ?? ""}" is no duration of a window`, "between 1m and 31d, such as 8h");
  }
  const zone = timeZone(text.timeZone ?? "");
  if (zone === undefined) {
    return wrong("timeZone", `"${text.timeZone ?? ""}" is not an IANA time zone`, "for example Europe/Prague or UTC");
  }
  return { ok: true, value: { contains: recurring(cron.value, zone, durationMs) } };
}

// What fired last does not change within a minute, so it is looked up once a minute at most.
function recurring(cron: Cron, zone: TimeZone, durationMs: number): (nowMs: number) => boolean {
  let minute = Number.NaN;
  let last: number | undefined;
  return (nowMs) => {
    if (!Number.isFinite(nowMs)) throw new RangeError("a window needs a time");
    const current = Math.floor(nowMs / MINUTE);
    if (current !== minute) {
      last = lastFire(cron, zone, nowMs, durationMs);
      minute = current;
    }
    return last !== undefined && nowMs >= last && nowMs < last + durationMs;
  };
}

// All windows of a cron last equally long, so that the latest one decides.
function lastFire(cron: Cron, zone: TimeZone, nowMs: number, lookBackMs: number): number | undefined {
  const wall = zone.wallAt(nowMs);
  const today = Math.floor(wall / DAY);
  const nowMinute = Math.floor((wall - today * DAY) / MINUTE);
  const daysBack = Math.ceil(lookBackMs / DAY) + 1;
  for (let day = today + 1; day >= today - daysBack; day -= 1) {
    if (!cron.firesOn(day)) continue;
    for (const minuteOfDay of cron.minutesOfDay) {
      if ((day - today) * 1_440 + minuteOfDay > nowMinute + SET_BACK_MINUTES) continue;
      const instant = zone.instantOf(day * DAY + minuteOfDay * MINUTE);
      if (instant <= nowMs) return instant;
    }
  }
  return undefined;
}

/** Milliseconds since the epoch of a time with an offset, such as 2026-01-31T18:00:00Z; undefined if it is none. */
export function readInstant(text = ""): number | undefined {
  const form = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/;
  const ms = form.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

function wrong(member: keyof WindowText, error: string, hint: string): WindowError {
  return { ok: false, member, error, hint };
}

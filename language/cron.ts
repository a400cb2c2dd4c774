// Reads five-field cron expressions: minute, hour, day of month, month, day of week; lists, ranges, steps, names of months and days.
// Called by window.ts. As cron does it: when both day fields are restricted, either of them suffices.
// Knows no time zone and no clock.

import { DAY } from "../kit/units.ts";

/** When something fires, in wall-clock terms. */
export interface Cron {
  /** Minutes of the day at which it fires, descending. */
  readonly minutesOfDay: readonly number[];
  /** True if it fires on the day so many days after 1970-01-01. */
  firesOn(day: number): boolean;
}

/** Result of reading a cron expression. */
export type ParsedCron = { readonly ok: true; readonly value: Cron } | { readonly ok: false; readonly error: string };

interface FieldRule {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly words?: readonly string[];
}

const FIELDS: readonly FieldRule[] = [
  { name: "minute", min: 0, max: 59 },
  { name: "hour", min: 0, max: 23 },
  { name: "day of month", min: 1, max: 31 },
  {
    name: "month",
    min: 1,
    max: 12,
    words: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
  },
  { name: "day of week", min: 0, max: 7, words: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

/** Reads an expression such as `0 9 * * mon-fri`. */
export function parseCron(text: string): ParsedCron {
  const fields = text.trim().split(/\s+/);
  if (fields.length !== FIELDS.length || text.length > 256) {
    return { ok: false, error: `"${text.slice(0, 80)}" is not a cron expression of five fields` };
  }
  const sets: ReadonlySet<number>[] = [];
  for (const [index, rule] of FIELDS.entries()) {
    const set = readField(fields[index] as string, rule);
    if (typeof set === "string") return { ok: false, error: set };
    sets.push(set);
  }
  const [minutes, hours, days, months, weekdays] = sets as [Numbers, Numbers, Numbers, Numbers, Numbers];
  const [, , dayField, , weekdayField] = fields as [string, string, string, string, string];
  const anyDay = dayField.startsWith("*");
  const anyWeekday = weekdayField.startsWith("*");
  const minutesOfDay = [...hours].flatMap((hour) => [...minutes].map((minute) => hour * 60 + minute));
  return {
    ok: true,
    value: {
      minutesOfDay: minutesOfDay.sort((a, b) => b - a),
      firesOn(day) {
        const date = new Date(day * DAY);
        if (!months.has(date.getUTCMonth() + 1)) return false;
        const onDay = days.has(date.getUTCDate());
        const weekday = date.getUTCDay();
        const onWeekday = weekdays.has(weekday) || (weekday === 0 && weekdays.has(7));
        return anyDay || anyWeekday ? onDay && onWeekday : onDay || onWeekday;
      },
    },
  };
}

type Numbers = ReadonlySet<number>;

// The numbers of a field, or what is wrong with it.
function readField(text: string, rule: FieldRule): Numbers | string {
  const numbers = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^(?:\*|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:\/(\d{1,2}))?$/i.exec(part);
    const step = match?.[3] === undefined ? 1 : Number(match[3]);
    const first = match?.[1] === undefined ? rule.min : numberOf(match[1], rule);
    const open = match?.[1] === undefined || (match[2] === undefined && match[3] !== undefined);
    const last = match?.[2] === undefined ? (open ? rule.max : first) : numberOf(match[2], rule);
    if (match === null || step === 0 || first === undefined || last === undefined || first > last) {
      return `"${part.slice(0, 40)}" is not a ${rule.name} (${rule.min} to ${rule.max}, as in 5, 1-5, */10)`;
    }
    for (let value = first; value <= last; value += step) numbers.add(value);
  }
  return numbers;
}

function numberOf(text: string, { min, max, words = [] }: FieldRule): number | undefined {
  const word = words.indexOf(text.toLowerCase());
  if (word >= 0) return word + min;
  const value = /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : undefined;
}

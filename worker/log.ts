// What a worker tells the person who runs it: one line an event, on stderr, as JSON or as short text.
// Made by main.ts (or by the program that embeds a worker) and passed down; nothing else prints.
// Values are escaped, so that text from outside cannot forge a line; redactingLog leaves the secrets of tasks out.

import type { Clock } from "../kit/clock.ts";
import { escapeControls } from "../kit/log_text.ts";
import type { Redactor } from "../kit/redactor.ts";

/** Levels, from the most to the least talkative. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
/** One of the levels. */
export type LogLevel = (typeof LOG_LEVELS)[number];
/** Facts of an event. */
export type LogFields = Readonly<Record<string, string | number | boolean>>;
/** Takes an event. */
export type Log = (level: LogLevel, message: string, fields?: LogFields) => void;

/** How events are written. */
export interface LogOptions {
  readonly format: "json" | "text";
  /** Events below it are left out. */
  readonly level: LogLevel;
  readonly clock: Clock;
  readonly write: (line: string) => void;
}

/** A log that writes lines. */
export function createLog({ format, level, clock, write }: LogOptions): Log {
  return (eventLevel, message, fields = {}) => {
    if (LOG_LEVELS.indexOf(eventLevel) < LOG_LEVELS.indexOf(level)) return;
    const time = new Date(clock.now()).toISOString();
    if (format === "json") {
      write(`${escapeControls(JSON.stringify({ time, level: eventLevel, message, ...fields }))}\n`);
      return;
    }
    write(`${time.slice(11, 19)} ${eventLevel.padEnd(5)} ${escapeControls(message)}${factsText(fields)}\n`);
  };
}

/** Facts as text: ` name=value` for each, quoted where a value is more than a word. */
export function factsText(fields: LogFields): string {
  return Object.entries(fields)
    .map(([name, value]) => ` ${name}=${plain(value)}`)
    .join("");
}

function plain(value: string | number | boolean): string {
  const text = String(value);
  return /^[\w.:/@-]+$/.test(text) ? text : escapeControls(JSON.stringify(text));
}

/** A log that leaves out the secrets that a redactor knows when an event comes. */
export function redactingLog(log: Log, redactor: Redactor): Log {
  const clean = (value: string | number | boolean) => {
    return typeof value === "boolean" ? value : (redactor.json(value) as string | number);
  };
  return (level, message, fields = {}) => {
    const told = Object.entries(fields).map(([name, value]) => [name, clean(value)] as const);
    log(level, redactor.text(message), Object.fromEntries(told));
  };
}

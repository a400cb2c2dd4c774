// What a worker tells the person who runs it: one line an event, on stderr, as JSON or as short text.
// Made by main.ts (or by the program that embeds a worker) and passed down; nothing else prints.
// Values are escaped, so that text from outside cannot forge a line. Never given a secret.

import type { Clock } from "../kit/clock.ts";

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
      write(`${JSON.stringify({ time, level: eventLevel, message, ...fields })}\n`);
      return;
    }
    const facts = Object.entries(fields).map(([name, value]) => ` ${name}=${plain(value)}`);
    write(`${time.slice(11, 19)} ${eventLevel.padEnd(5)} ${escaped(message)}${facts.join("")}\n`);
  };
}

function plain(value: string | number | boolean): string {
  const text = String(value);
  return /^[\w.:/@-]+$/.test(text) ? text : JSON.stringify(escaped(text));
}

function escaped(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

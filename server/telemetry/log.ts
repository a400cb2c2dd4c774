// The log: one JSON object a line, on stderr unless another sink is given.
// Called by every room of the server that has something to tell an operator.
// Never throws, never buffers; escapes control characters so that a logged value cannot forge a line or move a cursor, and leaves
// out the secrets that its redactor knows.

import type { Clock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import { escapeControls } from "../../kit/log_text.ts";
import { Redactor } from "../../kit/redactor.ts";

/** How grave a line is. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Facts beside the event; an Error becomes its name, message, stack and causes. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Takes log lines. Events are dotted and stable, such as "rpc.failed". */
export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  with(fields: LogFields): Logger;
}

/** How a logger is made. */
export interface LoggerOptions {
  readonly clock: Clock;
  /** Least level written; "info" by default. */
  readonly level?: LogLevel;
  /** Takes one line with its line feed; stderr by default. */
  readonly sink?: (line: string) => void;
  /** Leaves out what must not be told; nothing by default. */
  readonly redactor?: Redactor;
}

const LEVELS: Readonly<Record<LogLevel, number>> = Object.freeze({ debug: 0, info: 1, warn: 2, error: 3 });
const CAUSES_MAX = 5;

/** A logger. */
export function createLogger(options: LoggerOptions): Logger {
  const sink = options.sink ?? ((line: string) => void process.stderr.write(line));
  const { clock, redactor = new Redactor() } = options;
  return build({ clock, redactor, least: LEVELS[options.level ?? "info"], sink }, {});
}

interface Writing {
  readonly clock: Clock;
  readonly redactor: Redactor;
  readonly least: number;
  readonly sink: (line: string) => void;
}

function build(writing: Writing, bound: LogFields): Logger {
  const { clock, redactor, least, sink } = writing;
  const write = (level: LogLevel, event: string, fields: LogFields = {}) => {
    if (LEVELS[level] < least) return;
    sink(line({ time: new Date(clock.now()).toISOString(), level, event, ...bound, ...fields }, redactor));
  };
  return {
    debug: (event, fields) => write("debug", event, fields),
    info: (event, fields) => write("info", event, fields),
    warn: (event, fields) => write("warn", event, fields),
    error: (event, fields) => write("error", event, fields),
    with: (fields) => build(writing, { ...bound, ...fields }),
  };
}

function line(entry: LogFields, redactor: Redactor): string {
  let text: string;
  try {
    text = redactor.jsonText(JSON.stringify(entry, (_key, value: unknown) => plain(value)));
  } catch {
    // A cycle: the event alone is better than no line.
    text = JSON.stringify({ time: entry.time, level: entry.level, event: entry.event, unserialisable: true });
  }
  return `${escapeControls(text)}\n`;
}

function plain(value: unknown, depth = 0): unknown {
  if (typeof value === "bigint") return value.toString();
  if (!(value instanceof Error)) return value;
  return {
    name: value.name,
    message: value.message,
    ...(value instanceof DomainError && { reason: value.reason, metadata: value.metadata }),
    ...("code" in value && { code: String(value.code) }),
    stack: value.stack,
    ...(value.cause !== undefined && depth < CAUSES_MAX && { cause: plain(value.cause, depth + 1) }),
  };
}

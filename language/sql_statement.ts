// Reads a tool's SQL statement just far enough to say whether it may be one: a single statement that reads or changes rows,
// with numbered parameters, and no call of a function that leaves the database. Not a parser: the database is.
// Called at apply by server/manifests, and again by the worker before it hands the text to a driver that would read on.
// What it cannot read for certain (an open string, an escaped identifier) it refuses.

/** Databases that a tool may ask. */
export type SqlDriver = "postgres" | "sqlite";

/** Words that may begin a statement. */
const READS = { postgres: ["select", "with", "values", "table"], sqlite: ["select", "with", "values"] } as const;
const WRITES = {
  postgres: ["insert", "update", "delete", "merge"],
  sqlite: ["insert", "update", "delete", "replace"],
} as const;

// Functions that read or write files, open connections, run SQL from a text, change settings or roles, or end other sessions.
const FORBIDDEN = {
  postgres:
    /^(?:pg_(?:read|ls|file|log|logical|rotate|switch|create|drop|replication|wal|backup|start|stop|export)_.*|pg_(?:stat_file|promote|reload_conf|terminate_backend|cancel_backend|notify)|lo_.*|loread|lowrite|dblink.*|set_config|(?:query|table|cursor|schema|database)_to_xml.*|xpath_table|nextval|setval)$/,
  sqlite: /^(?:load_extension|readfile|writefile|edit|fts3_tokenizer|sqlite_.*|pragma_.*)$/,
};

/** What a statement is made of. */
interface Scanned {
  /** Words, identifiers and single characters outside strings and comments, lower case unless quoted. */
  readonly tokens: readonly string[];
  /** Numbers of the parameters, $1 is 1. */
  readonly parameters: ReadonlySet<number>;
}

class Unreadable extends Error {}

/**
 * Why the text may not be a tool's statement; undefined if it may.
 *
 * @param parameters how many values are given for $1, $2, …
 */
export function sqlProblem(
  text: string,
  of: { readonly driver: SqlDriver; readonly readOnly: boolean; readonly parameters: number },
): string | undefined {
  let scanned: Scanned;
  try {
    scanned = scan(text, of.driver);
  } catch (error) {
    if (error instanceof Unreadable) return error.message;
    throw error;
  }
  const { tokens } = scanned;
  const end = tokens.indexOf(";");
  if (end !== -1 && tokens.slice(end).some((token) => token !== ";")) return "it is more than one statement";
  const first = tokens[0] ?? "";
  const allowed: readonly string[] = of.readOnly ? READS[of.driver] : [...READS[of.driver], ...WRITES[of.driver]];
  if (!allowed.includes(first)) {
    return `it begins with ${first === "" ? "nothing" : `"${first.slice(0, 40)}"`}; a ${of.readOnly ? "readOnly" : "readWrite"} statement begins with ${allowed.join(", ")}`;
  }
  const called = tokens.find(
    (token, index) => tokens[index + 1] === "(" && FORBIDDEN[of.driver].test(token.toLowerCase()),
  );
  if (called !== undefined) return `it calls ${called.slice(0, 60)}, which reaches beyond the rows of the database`;
  return parameterProblem(scanned.parameters, of.parameters);
}

function parameterProblem(used: ReadonlySet<number>, given: number): string | undefined {
  for (let number = 1; number <= given; number += 1) {
    if (!used.has(number)) return `${given} parameters are given and it does not use $${number}`;
  }
  const beyond = [...used].find((number) => number < 1 || number > given);
  return beyond === undefined ? undefined : `it uses $${beyond} and ${given} parameters are given`;
}

const WORD = /[\p{L}_][\p{L}\p{N}_$]*/uy;

function scan(text: string, driver: SqlDriver): Scanned {
  const tokens: string[] = [];
  const parameters = new Set<number>();
  let at = 0;
  while (at < text.length) {
    const char = text[at] as string;
    const next = text[at + 1];
    if (char === "\0") throw new Unreadable("it holds U+0000");
    if (/\s/.test(char)) at += 1;
    else if (char === "-" && next === "-") at = until(text, "\n", at, true);
    else if (char === "/" && next === "*") at = comment(text, at);
    else if (char === "'") at = quoted(text, at, escapes(text, at, driver));
    else if (char === '"' || (driver === "sqlite" && char === "`")) {
      if (driver === "postgres" && /u&$/i.test(text.slice(Math.max(0, at - 2), at))) {
        throw new Unreadable('it holds an escaped identifier (U&"…"); write the name out');
      }
      const end = quoted(text, at, false);
      tokens.push(text.slice(at + 1, end - 1).replaceAll(char + char, char));
      at = end;
    } else if (driver === "sqlite" && char === "[") {
      const end = until(text, "]", at, false);
      tokens.push(text.slice(at + 1, end - 1));
      at = end;
    } else if (char === "$") at = dollar(text, at, driver, parameters);
    else if (driver === "sqlite" && (char === "?" || char === ":" || char === "@" || char === "#")) {
      throw new Unreadable(`it uses ${char} for a parameter; write $1, $2, …`);
    } else {
      WORD.lastIndex = at;
      const word = WORD.exec(text)?.[0];
      tokens.push(word?.toLowerCase() ?? char);
      at += word?.length ?? 1;
    }
  }
  return { tokens, parameters };
}

// E'…' takes backslashes in Postgres; so does nothing else while standard_conforming_strings is on, which the worker sets.
function escapes(text: string, at: number, driver: SqlDriver): boolean {
  return driver === "postgres" && /(?:^|[^\p{L}\p{N}_$])e$/iu.test(text.slice(Math.max(0, at - 2), at));
}

// Nested comments are one in Postgres and end early in SQLite: what reads differently is not accepted.
function comment(text: string, at: number): number {
  const end = until(text, "*/", at + 2, false);
  if (text.slice(at + 2, end).includes("/*")) throw new Unreadable("it holds a comment within a comment");
  return end;
}

function quoted(text: string, from: number, backslashes: boolean): number {
  const quote = text[from] as string;
  for (let at = from + 1; at < text.length; at += 1) {
    if (backslashes && text[at] === "\\") at += 1;
    else if (text[at] === quote) {
      if (text[at + 1] !== quote) return at + 1;
      at += 1;
    }
  }
  throw new Unreadable(`a ${quote} is not closed`);
}

// $1 is a parameter, $tag$…$tag$ a string of Postgres.
function dollar(text: string, at: number, driver: SqlDriver, parameters: Set<number>): number {
  const number = /^\$(\d{1,4})(?![\p{L}\p{N}_$])/u.exec(text.slice(at, at + 8));
  if (number !== null) {
    parameters.add(Number(number[1]));
    return at + number[0].length;
  }
  const tag =
    driver === "postgres" ? /^\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$/u.exec(text.slice(at, at + 70))?.[0] : undefined;
  if (tag === undefined) throw new Unreadable("a $ begins no parameter; write $1, $2, …");
  return until(text, tag, at + tag.length, false);
}

function until(text: string, close: string, from: number, endIsFine: boolean): number {
  const found = text.indexOf(close, from);
  if (found !== -1) return found + close.length;
  if (endIsFine) return text.length;
  throw new Unreadable(`${close} is missing`);
}

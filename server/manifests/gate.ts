// Decides whether bytes may be given to the YAML parser that keeps positions: that one can be made to abort the process by
// 900 bytes of "[" and to take minutes by a megabyte of keys, so nothing reaches it but what passed here.
// Called by parse.ts only. Pure; builds no objects: it reads the event stream of a parser that limits depth.
// Refuses: over 1 MiB, invalid UTF-8, NUL, depth over 32, anchors, aliases, merge keys, directives, prototype keys, huge numbers.

import { EVENT_ID, type Event, getScalarValue, parseEvents, SCALAR_STYLE, YAMLException } from "js-yaml";
import { messageOf } from "../../kit/errors.ts";
import { MIB } from "../../kit/units.ts";
import type { Findings, Position } from "./diagnostics.ts";

/** Bytes of a manifest file at most. */
export const MANIFEST_BYTES_MAX = 1 * MIB;
/** Nesting of a manifest at most. */
export const DEPTH_MAX = 32;
/** Keys and values of a file at most; keeps the thread's answer small enough to be read in a few ms. */
export const NODES_MAX = 20_000;
/** Lines of a file at most; the parser keeps every line break and comment, so empty lines cost as much as full ones. */
export const LINES_MAX = 50_000;
const REFUSALS_MAX = 20;
const INTEGER_MAX = 2n ** 53n;
const INTEGER = /^[-+]?(?:\d+|0x[0-9a-fA-F]+|0o[0-7]+)$/;
const FORBIDDEN_KEYS = new Set(["__proto__", "constructor", "prototype"]);

/** Text of the bytes, without a byte order mark, if they may be parsed; else undefined, with the reason in findings. */
export function gate(bytes: Uint8Array, findings: Findings): string | undefined {
  const start: Position = { line: 1, column: 1 };
  if (bytes.byteLength > MANIFEST_BYTES_MAX) {
    findings.error(
      "E-YAML-LIMIT",
      start,
      "",
      `the file has ${bytes.byteLength} bytes; at most ${MANIFEST_BYTES_MAX} are read`,
      "split it into several files",
    );
    return undefined;
  }
  const text = decode(bytes);
  if (text === undefined) {
    findings.error("E-YAML-LIMIT", start, "", "the file is not valid UTF-8", "save it as UTF-8");
    return undefined;
  }
  const nul = text.indexOf("\0");
  if (nul >= 0) {
    findings.error("E-YAML-LIMIT", positionOf(text, nul), "", "the file holds a NUL character", "remove it");
    return undefined;
  }
  if (text.split("\n", LINES_MAX + 1).length > LINES_MAX) {
    findings.error(
      "E-YAML-LIMIT",
      start,
      "",
      `the file has more than ${LINES_MAX} lines`,
      "split it into several files",
    );
    return undefined;
  }
  try {
    return checkEvents(text, parseEvents(text, { maxDepth: DEPTH_MAX }), findings) ? text : undefined;
  } catch (error) {
    reportSyntax(text, error, findings);
    return undefined;
  }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function reportSyntax(text: string, error: unknown, findings: Findings): void {
  if (!(error instanceof YAMLException)) {
    findings.error("E-YAML", { line: 1, column: 1 }, "", messageOf(error));
    return;
  }
  const at = { line: (error.mark?.line ?? 0) + 1, column: (error.mark?.column ?? 0) + 1 };
  const deep = error.reason.includes("maxDepth");
  if (deep) findings.error("E-YAML-LIMIT", at, "", `nested deeper than ${DEPTH_MAX} levels`, "flatten it");
  else findings.error("E-YAML", at, "", error.reason, unquotedHint(text, at.line));
}

/** Hint for a line that probably holds an expression without quotes; empty otherwise. */
export function unquotedHint(text: string, line: number): string {
  const written = text.split("\n", line)[line - 1] ?? "";
  const expression = written.includes("${{") || /(?:^|[{,\s])(?:when|cel|over|key)\s*:/.test(written);
  return expression ? "the line holds an expression: quote it" : "";
}

function checkEvents(text: string, events: readonly Event[], findings: Findings): boolean {
  const before = findings.errors;
  if (events.length > NODES_MAX) {
    const message = `the file has more than ${NODES_MAX} keys and values`;
    findings.error("E-YAML-LIMIT", { line: 1, column: 1 }, "", message, "split it into several files");
    return false;
  }
  const refuse = (offset: number, message: string, hint = "") =>
    findings.error("E-YAML-LIMIT", positionOf(text, offset), "", message, hint);
  // true: the next event is a key; false: a value; undefined: not inside a mapping.
  const expectsKey: (boolean | undefined)[] = [];
  const advance = () => {
    const top = expectsKey.at(-1);
    if (top !== undefined) expectsKey[expectsKey.length - 1] = !top;
  };
  for (const event of events) {
    // Finding a position costs a walk over the text, so a file full of refusals is not listed to its end.
    if (findings.errors - before >= REFUSALS_MAX) return false;
    if (event.type === EVENT_ID.POP) {
      expectsKey.pop();
      if (expectsKey.length > 0) advance();
      continue;
    }
    if (event.type === EVENT_ID.DOCUMENT) {
      if (event.directives.length > 0)
        refuse(0, "YAML directives are not allowed", "remove the line that begins with %");
      expectsKey.push(undefined);
      continue;
    }
    if (event.anchorStart >= 0) {
      const what = event.type === EVENT_ID.ALIAS ? "aliases" : "anchors";
      refuse(event.anchorStart - 1, `${what} are not allowed`, "write the value out, or quote it if it is text");
    }
    if (event.type === EVENT_ID.SCALAR) checkScalar(text, event, expectsKey.at(-1) === true, refuse);
    if (event.type === EVENT_ID.MAPPING) expectsKey.push(true);
    else if (event.type === EVENT_ID.SEQUENCE) expectsKey.push(undefined);
    else advance();
  }
  return findings.errors === before;
}

type Scalar = Extract<Event, { valueStart: number }>;

function checkScalar(
  text: string,
  event: Scalar,
  isKey: boolean,
  refuse: (at: number, m: string, h?: string) => void,
): void {
  const value = getScalarValue(text, event);
  const plain = event.style === SCALAR_STYLE.PLAIN;
  if (isKey && FORBIDDEN_KEYS.has(value))
    refuse(event.valueStart, `the key ${JSON.stringify(value)} is not allowed`, "rename it");
  if (isKey && plain && value === "<<") refuse(event.valueStart, "merge keys are not allowed", "write the keys out");
  if (plain && INTEGER.test(value)) {
    const digits = value.replace(/^[-+]/, "");
    if (digits.length > 40 || BigInt(digits) > INTEGER_MAX) {
      refuse(event.valueStart, "integers beyond 2^53 are not allowed", "quote it to make it a string");
    }
  }
}

/** Place of an offset in a text. */
export function positionOf(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  return { line: before.split("\n").length, column: offset - (before.lastIndexOf("\n") + 1) + 1 };
}

// Finds where a CEL expression ends inside a templated string, and how deep its brackets nest, without parsing it.
// Called by template.ts (end of an insertion) and expression.ts (limits, before the parser sees the text).
// Knows CEL's strings (raw, triple-quoted), comments and brackets; decides nothing about validity.

/** What a scan found. */
export interface Scan {
  /** Offset of the closing braces, or the length of the text when there are none. */
  readonly end: number;
  /** True if closing braces were found outside strings and map literals. */
  readonly closed: boolean;
  /** Deepest nesting of ( [ { at any point. */
  readonly depth: number;
}

/**
 * Scans from an offset to the `}}` that closes an insertion, or to the end of the text.
 *
 * @param untilClose false: the whole rest is one expression, `}}` has no meaning.
 */
export function scanExpression(text: string, from: number, untilClose: boolean): Scan {
  let depth = 0;
  let deepest = 0;
  let braces = 0;
  let at = from;
  while (at < text.length) {
    const char = text[at] as string;
    if (char === '"' || char === "'") {
      at = skipString(text, at);
      continue;
    }
    if (char === "/" && text[at + 1] === "/") {
      const newline = text.indexOf("\n", at);
      at = newline === -1 ? text.length : newline;
      continue;
    }
    if (char === "(" || char === "[" || char === "{") {
      depth += 1;
      if (char === "{") braces += 1;
      deepest = Math.max(deepest, depth);
    } else if (char === "}" && braces === 0) {
      if (untilClose && text[at + 1] === "}") return { end: at, closed: true, depth: deepest };
    } else if (char === ")" || char === "]" || char === "}") {
      depth = Math.max(0, depth - 1);
      if (char === "}") braces -= 1;
    }
    at += 1;
  }
  return { end: text.length, closed: false, depth: deepest };
}

// Offset after the string literal that opens at `at`; the end of the text if it is never closed.
function skipString(text: string, at: number): number {
  const quote = text[at] as string;
  const close = text.startsWith(quote.repeat(3), at) ? quote.repeat(3) : quote;
  const raw = isRaw(text, at);
  let next = at + close.length;
  while (next < text.length) {
    if (text.startsWith(close, next)) return next + close.length;
    if (close.length === 1 && (text[next] === "\n" || text[next] === "\r")) return next;
    next += text[next] === "\\" && !raw ? 2 : 1;
  }
  return text.length;
}

// r"…", br"…" and rb"…" are raw unless the letters end a longer name.
function isRaw(text: string, at: number): boolean {
  let start = at;
  while (start > 0 && /[A-Za-z0-9_]/.test(text[start - 1] as string)) start -= 1;
  return /^(?:r|br|rb)$/i.test(text.slice(start, at));
}

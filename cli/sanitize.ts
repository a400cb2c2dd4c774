// Makes text from the server safe for a terminal: what could move the cursor, recolour, or reorder letters becomes visible.
// Called by everything that prints. Pure.
// Covers C0 and C1 controls, DEL, bidirectional overrides, zero-width characters and lone surrogates.

const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;
const UNSAFE_LINES =
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

/** One line: newlines and tabs become a space, other unsafe characters visible escapes such as \x1b. */
export function safeLine(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\t\r\n]+/g, " ")
    .replace(UNSAFE, visible);
}

/** Several lines: newlines stay, tabs become two spaces, other unsafe characters visible escapes. */
export function safeText(text: string): string {
  return text.toWellFormed().replace(/\r\n/g, "\n").replace(/\t/g, "  ").replace(UNSAFE_LINES, visible);
}

/** True for a text with something that safeText would change. */
export function isUnsafe(text: string): boolean {
  return text.search(UNSAFE_LINES) >= 0 || !text.isWellFormed();
}

/** JSON text with unsafe characters as JSON escapes; the value stays the same. */
export function safeJson(text: string): string {
  return text.replace(UNSAFE_LINES, (unsafe) => `\\u${hex(unsafe, 4)}`);
}

/** Columns that a text takes in a terminal: wide East Asian letters and emoji take two. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) columns += WIDE.test(character) ? 2 : COMBINING.test(character) ? 0 : 1;
  return columns;
}

/** The text cut to a number of columns, with … where something was left out. */
export function cutTo(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  let result = "";
  let used = 0;
  for (const character of text) {
    used += columnsOf(character);
    if (used > columns - 1) break;
    result += character;
  }
  return `${result}…`;
}

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}]/u;
const COMBINING = /\p{Mn}/u;

function visible(unsafe: string): string {
  return unsafe.length === 1 && unsafe.charCodeAt(0) <= 0xff ? `\\x${hex(unsafe, 2)}` : `\\u${hex(unsafe, 4)}`;
}

function hex(character: string, digits: number): string {
  return character.charCodeAt(0).toString(16).padStart(digits, "0");
}

// Nothing in a line of a log can end it, move a cursor, or turn or hide letters; JSON keeps its value.

import { expect, test } from "vitest";
import { escapeControls } from "../../kit/log_text.ts";

test("controls, line ends, and marks that turn or hide text become escapes", () => {
  const unsafe = [
    "\0",
    "\t",
    "\n",
    "\r",
    "\u001b",
    "\u007f",
    "\u0085",
    "\u009b",
    "\u200b",
    "\u2028",
    "\u202e",
    "\ufeff",
  ];
  for (const mark of unsafe) {
    const code = mark.charCodeAt(0).toString(16).padStart(4, "0");
    expect(escapeControls(`a${mark}b`)).toBe(`a\\u${code}b`);
  }
  expect(escapeControls("plain text, žluť, 字, 😀")).toBe("plain text, žluť, 字, 😀");
  expect(escapeControls("half \ud83d of a pair")).toBe("half \ufffd of a pair");
});

test("JSON text means the same afterwards", () => {
  const value = { 'k\u202e"': "a\u009b2J\u2028\r\n\\u0000 \u0000" };
  const text = escapeControls(JSON.stringify(value));
  expect(JSON.parse(text)).toEqual(value);
  expect(text).toMatch(/^[\x20-\x7e]+$/);
});

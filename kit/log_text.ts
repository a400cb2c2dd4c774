// Escapes what could forge a line, move a cursor, recolour or reorder letters in a log that a person reads in a terminal.
// Called by the logs of the server and of the worker, on a whole line. Pure.
// C0 and C1 controls, DEL, the line ends of Unicode, and the marks that turn or hide letters.

const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** The text with \uXXXX for each of them: a JSON escape, so that JSON text keeps its value. */
export function escapeControls(text: string): string {
  return text.toWellFormed().replace(UNSAFE, (unsafe) => `\\u${unsafe.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

// What a process writes to standard error, as lines without secrets, while it runs: for the log of its task.
// Made by command.ts and mcp.ts for each process; fed with what comes, in any pieces. Never the message of a failure: process.ts makes that.
// The first SHOWN_BYTES_MAX are told line by line, the end of what follows when the process has ended, so that a flood costs little. A line
// is told once no secret can begin in it and end behind it.

import type { Redactor } from "../../kit/redactor.ts";
import { KIB } from "../../kit/units.ts";

/** Bytes that are told as they come. */
export const SHOWN_BYTES_MAX = 32 * KIB;
/** Bytes of the end that are told of a longer output. */
export const END_BYTES_MAX = 8 * KIB;
/** A line is told in pieces of so many characters. */
const LINE_CHARACTERS_MAX = 2 * KIB;
/** Longest form of a secret that is waited for. */
const SECRET_CHARACTERS_MAX = 16 * KIB;

/** See the file header. */
export class StderrLines {
  readonly #redactor: Redactor;
  readonly #tell: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #pending = "";
  #shownBytes = 0;
  #end: Buffer = Buffer.alloc(0);
  #skippedBytes = 0;

  /** @param tell takes one line, without secrets and without a line feed. */
  constructor(redactor: Redactor, tell: (line: string) => void) {
    this.#redactor = redactor;
    this.#tell = tell;
  }

  /** Takes what came. */
  take(chunk: Buffer): void {
    const room = SHOWN_BYTES_MAX - this.#shownBytes;
    const shown = chunk.subarray(0, Math.max(0, room));
    this.#shownBytes += shown.length;
    if (shown.length > 0) this.#show(this.#decoder.decode(shown, { stream: true }));
    this.#keep(chunk.subarray(shown.length));
  }

  /** The process has ended: tells what is left. */
  end(): void {
    this.#lines(this.#pending + this.#decoder.decode());
    this.#pending = "";
    const kept = this.#end;
    if (kept.length === 0) return;
    const over = kept.length - END_BYTES_MAX;
    const clean = this.#redactor.text(kept.toString("utf8"));
    const skipped = this.#skippedBytes - Math.min(kept.length, END_BYTES_MAX);
    if (skipped > 0) this.#tell(`… ${skipped} bytes are left out …`);
    this.#split(over > 0 ? clean.slice(-END_BYTES_MAX) : clean);
  }

  #show(text: string): void {
    this.#pending += text;
    const held = Math.min(this.#redactor.longest, SECRET_CHARACTERS_MAX);
    const cut = this.#pending.lastIndexOf("\n", this.#pending.length - 1 - held);
    if (cut < 0) return;
    const head = this.#pending.slice(0, cut + 1);
    const rest = this.#pending.slice(cut + 1);
    const whole = this.#redactor.text(this.#pending);
    const clean = this.#redactor.text(head);
    // A secret stands across the cut: it waits for the next one.
    if (whole !== clean + this.#redactor.text(rest)) return;
    this.#pending = rest;
    this.#split(clean.replace(/\r?\n$/, ""));
  }

  // More than is told is kept: a secret that the beginning of the end cuts would not be known as one.
  #keep(rest: Buffer): void {
    if (rest.length === 0) return;
    this.#skippedBytes += rest.length;
    const bytesMax = END_BYTES_MAX + 3 * Math.min(this.#redactor.longest, SECRET_CHARACTERS_MAX);
    this.#end = Buffer.concat([this.#end, rest.subarray(-bytesMax)]).subarray(-bytesMax);
  }

  #lines(text: string): void {
    if (text !== "") this.#split(this.#redactor.text(text));
  }

  #split(text: string): void {
    for (const line of text.split(/\r?\n/)) {
      for (let at = 0; at < line.length; at += LINE_CHARACTERS_MAX)
        this.#tell(line.slice(at, at + LINE_CHARACTERS_MAX));
    }
  }
}

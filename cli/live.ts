// An area at the end of a terminal that is drawn again in place.
// Called by watch_run.ts and the demo. The only file that writes cursor movements.
// Never taller than the terminal: what scrolled away could not be drawn again. The last drawing may be of any height.

/** A terminal to draw on. */
export interface Screen {
  write(text: string): void;
  /** Its size now. */
  size(): { readonly columns: number; readonly rows: number };
}

// A line that wrapped would be two rows high and spoil the next drawing.
const WRAP_OFF = "\u001b[?7l";
const WRAP_ON = "\u001b[?7h";

/** See the file header. */
export class LiveArea {
  readonly #screen: Screen;
  #height = 0;
  #last = "";

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  /** Replaces the last drawing. Lines are cut at the last column; lines that do not fit the rows are left out at the top. */
  draw(lines: readonly string[]): void {
    const rows = Math.max(2, this.#screen.size().rows - 1);
    const shown = lines.length > rows ? ["⋮", ...lines.slice(lines.length - rows + 1)] : lines;
    const text = shown.join("\n");
    if (text === this.#last && this.#height > 0) return;
    this.#screen.write(`${this.#back()}${WRAP_OFF}${text}${WRAP_ON}\n`);
    this.#height = shown.length;
    this.#last = text;
  }

  /** Replaces the last drawing for good: all lines, however many. */
  finish(lines: readonly string[]): void {
    this.#screen.write(`${this.#back()}${lines.length === 0 ? "" : `${lines.join("\n")}\n`}`);
    this.#height = 0;
    this.#last = "";
  }

  #back(): string {
    if (this.#height === 0) return "";
    // Row by row: some terminals keep a copy of what one erasure clears from the first row on.
    return `\u001b[${this.#height}A\r${"\u001b[2K\n".repeat(this.#height)}\u001b[${this.#height}A`;
  }
}

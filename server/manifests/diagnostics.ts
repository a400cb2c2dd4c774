// What a finding in a manifest is, in which order findings are shown, and how one is written on a line.
// Called by every reader and check of this room, by the CLI (offline validate) and by rpc (the same findings on the wire).
// Never decides what is wrong: that is the reader's or the check's affair.

/** A finding in a manifest file. Structurally the DiagnosticView of commands. */
export interface Diagnostic {
  readonly severity: "error" | "warning";
  /** Stable code such as E-UNKNOWN-KEY; warnings begin with W-. */
  readonly code: string;
  readonly file: string;
  /** 1-based; 0: no position. */
  readonly line: number;
  readonly column: number;
  /** Path inside the document, such as spec.nodes[2].input; empty for the document itself. */
  readonly path: string;
  readonly message: string;
  /** What to do about it, or the word that was probably meant; empty if there is no advice. */
  readonly hint: string;
}

/** A place in a file, 1-based. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Findings that a file may have before the rest is only counted. */
export const DIAGNOSTICS_MAX = 200;

/** Gathers the findings of one file. */
export class Findings {
  readonly file: string;
  readonly list: Diagnostic[] = [];
  /** True for stored documents: they were checked when they were applied, so expressions are not compiled again. */
  readonly trusted: boolean;
  readonly #seen = new Set<string>();
  #errors = 0;

  constructor(file: string, trusted = false) {
    this.file = file;
    this.trusted = trusted;
  }

  /** Number of errors so far, to tell whether a part was read without any. */
  get errors(): number {
    return this.#errors;
  }

  /** Adds an error; beyond DIAGNOSTICS_MAX errors are counted but not kept. */
  error(code: string, at: Position, path: string, message: string, hint = ""): void {
    this.#errors += 1;
    this.#add({ severity: "error", code, file: this.file, ...place(at), path, message, hint });
  }

  /** Adds a warning. */
  warning(code: string, at: Position, path: string, message: string, hint = ""): void {
    this.#add({ severity: "warning", code, file: this.file, ...place(at), path, message, hint });
  }

  #add(diagnostic: Diagnostic): void {
    // A key that is read twice, or an expression that is checked alone and in its graph, is reported once.
    const key = JSON.stringify(diagnostic);
    if (this.#seen.has(key) || this.list.length >= DIAGNOSTICS_MAX) return;
    this.#seen.add(key);
    this.list.push(diagnostic);
  }
}

function place(at: Position): Position {
  return { line: at.line, column: at.column };
}

/** Order in which findings are shown: file, line, column, code. */
export function compareDiagnostics(left: Diagnostic, right: Diagnostic): number {
  return (
    compareText(left.file, right.file) ||
    left.line - right.line ||
    left.column - right.column ||
    compareText(left.code, right.code) ||
    compareText(left.message, right.message)
  );
}

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** One line: `file:line:col: error[CODE] path: message (hint)`. */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { file, line, column, severity, code, path, message, hint } = diagnostic;
  const where = line > 0 ? `${file}:${line}:${column}` : file;
  return `${where}: ${severity}[${code}] ${path === "" ? "" : `${path}: `}${message}${hint === "" ? "" : ` (${hint})`}`;
}

/** Hint `did you mean "…"?` when one of the known words is near the given one, else an empty text. */
export function didYouMean(word: string, known: Iterable<string>): string {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase(), bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best === undefined ? "" : `did you mean "${best}"?`;
}

// Damerau's distance on adjacent letters; gives up at `limit`, and on words that are too long to be a slip of the finger.
function editDistance(left: string, right: string, limit: number): number {
  if (Math.abs(left.length - right.length) >= limit || left.length > 64 || right.length > 64) return limit;
  let before: number[] = [];
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i += 1) {
    const current = [i];
    for (let j = 1; j <= right.length; j += 1) {
      const cost = left[i - 1] === right[j - 1] ? 0 : 1;
      let value = Math.min(previous[j]! + 1, current[j - 1]! + 1, previous[j - 1]! + cost);
      const swapped = i > 1 && j > 1 && left[i - 1] === right[j - 2] && left[i - 2] === right[j - 1];
      if (swapped) value = Math.min(value, before[j - 2]! + 1);
      current.push(value);
    }
    before = previous;
    previous = current;
  }
  return previous[right.length]!;
}

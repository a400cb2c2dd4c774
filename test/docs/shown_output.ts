// Compares what a block printed with what its page shows, after whatever is different each time is masked on both sides.
// Called by page_run.ts. Pure.

/** What is another each time, and what stands for it. Dates before times, ids before digests. */
const MASKS: readonly (readonly [RegExp, string])[] = [
  [/\u001b\[[0-9;]*m/g, ""],
  [/\b(run|task|ses|tok|grant|worker|bundle|lease|call)_[0-9a-z…]{4,}/g, "$1_ID"],
  [/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?Z| UTC|[+-]\d\d:?\d\d)?/g, "TIME"],
  [/\b\d{4}-\d\d-\d\d\b/g, "DATE"],
  [/\b\d\d:\d\d:\d\d(\.\d+)?\b/g, "TIME"],
  [/\b(sha256:)?[0-9a-f]{7,64}…?(?![\w])/g, "DIGEST"],
  [/\b\d+(\.\d+)?( ?(ms|min|s|m|h|d))( ?\d+(\.\d+)?(ms|s|m|h))*(?!\w)/g, "DURATION"],
  [/(127\.0\.0\.1|localhost):\d+/g, "$1:PORT"],
  [/[ \t]+/g, " "],
  [/─{2,}|-{3,}|═{2,}/g, "RULE"],
];

/** A line with what is another each time masked. */
export function mask(line: string): string {
  return MASKS.reduce((text, [pattern, by]) => text.replace(pattern, by), line).trim();
}

/**
 * Says how an output differs from what is shown; undefined if it does not.
 * In what is shown, a line `…` stands for any lines and `…` inside of a line for any text. Empty lines do not count.
 */
export function difference(shown: string, printed: string): string | undefined {
  const wanted = linesOf(shown);
  const found = linesOf(printed);
  const at = firstMismatch(wanted, found);
  if (at === undefined) return undefined;
  const line = wanted[at];
  const reason = line === undefined ? "the page shows less than was printed" : `nothing fits the shown line "${line}"`;
  return `${reason}; printed:\n${printed.trimEnd()}`;
}

function linesOf(text: string): string[] {
  const lines = text.split("\n").map((line) => (line.trim() === "…" ? "…" : mask(line)));
  return lines.filter((line) => line !== "");
}

/** Index of the shown line at which the furthest attempt ended; undefined when all fits. */
function firstMismatch(wanted: readonly string[], found: readonly string[]): number | undefined {
  let furthest = 0;
  const fits = (shown: number, printed: number): boolean => {
    furthest = Math.max(furthest, shown);
    const line = wanted[shown];
    if (line === undefined) return printed === found.length;
    if (line === "…") {
      for (let next = printed; next <= found.length; next += 1) if (fits(shown + 1, next)) return true;
      return false;
    }
    return printed < found.length && patternOf(line).test(found[printed] as string) && fits(shown + 1, printed + 1);
  };
  return fits(0, 0) ? undefined : furthest;
}

function patternOf(line: string): RegExp {
  const parts = line.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`);
}

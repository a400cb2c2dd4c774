// The differences of two texts as a unified diff: lines that go, lines that come, and three lines around them.
// Called by diff.ts. Pure. Myers' algorithm (An O(ND) Difference Algorithm, 1986): the shortest script of deletions and insertions.

/** A line of a script of changes. */
interface Step {
  readonly sign: " " | "-" | "+";
  readonly line: string;
}

const CONTEXT_LINES = 3;
/** Beyond so many differing lines the texts are shown as one block that goes and one that comes. */
const DIFFERENCES_MAX = 800;

/** Lines of the diff without its two name lines; empty when the texts are equal. */
export function unifiedDiff(before: string, after: string): string[] {
  const steps = stepsBetween(linesOf(before), linesOf(after));
  const changed = steps.flatMap(({ sign }, index) => (sign === " " ? [] : [index]));
  const hunks: { from: number; to: number }[] = [];
  for (const index of changed) {
    const from = Math.max(0, index - CONTEXT_LINES);
    const to = Math.min(steps.length, index + CONTEXT_LINES + 1);
    const last = hunks.at(-1);
    if (last !== undefined && from <= last.to) last.to = to;
    else hunks.push({ from, to });
  }
  return hunks.flatMap(({ from, to }) => [hunkHead(steps, from, to), ...steps.slice(from, to).map(lineOf)]);
}

function linesOf(text: string): string[] {
  return text === "" ? [] : text.replace(/\n$/, "").split("\n");
}

function lineOf({ sign, line }: Step): string {
  return `${sign}${line}`;
}

function hunkHead(steps: readonly Step[], from: number, to: number): string {
  const count = (part: readonly Step[], sign: "-" | "+") =>
    part.filter((step) => step.sign === " " || step.sign === sign).length;
  const range = (sign: "-" | "+") => {
    const lines = count(steps.slice(from, to), sign);
    const start = count(steps.slice(0, from), sign) + (lines === 0 ? 0 : 1);
    return lines === 1 ? `${start}` : `${start},${lines}`;
  };
  return `@@ -${range("-")} +${range("+")} @@`;
}

function stepsBetween(before: readonly string[], after: readonly string[]): Step[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  const most = Math.min(before.length, after.length) - start;
  while (end < most && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  const same = (line: string): Step => ({ sign: " ", line });
  return [
    ...before.slice(0, start).map(same),
    ...shortest(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...before.slice(before.length - end).map(same),
  ];
}

function shortest(before: readonly string[], after: readonly string[]): Step[] {
  const whole = (): Step[] => [
    ...before.map((line): Step => ({ sign: "-", line })),
    ...after.map((line): Step => ({ sign: "+", line })),
  ];
  const most = Math.min(before.length + after.length, DIFFERENCES_MAX);
  // reached[k]: how far into `before` a script with the present number of differences gets on diagonal k.
  const trace: Map<number, number>[] = [];
  const reached = new Map<number, number>([[1, 0]]);
  for (let differences = 0; differences <= most; differences += 1) {
    trace.push(new Map(reached));
    for (let k = -differences; k <= differences; k += 2) {
      let x = comesDown(reached, k, differences) ? at(reached, k + 1) : at(reached, k - 1) + 1;
      while (x < before.length && x - k < after.length && before[x] === after[x - k]) x += 1;
      reached.set(k, x);
      if (x >= before.length && x - k >= after.length) return walkBack(before, after, trace);
    }
  }
  return whole();
}

function walkBack(before: readonly string[], after: readonly string[], trace: readonly Map<number, number>[]): Step[] {
  const steps: Step[] = [];
  let x = before.length;
  let y = after.length;
  for (let differences = trace.length - 1; differences >= 0; differences -= 1) {
    const reached = trace[differences] as Map<number, number>;
    const k = x - y;
    const previous = comesDown(reached, k, differences) ? k + 1 : k - 1;
    const fromX = at(reached, previous);
    const fromY = fromX - previous;
    while (x > fromX && y > fromY) {
      x -= 1;
      y -= 1;
      steps.push({ sign: " ", line: before[x] as string });
    }
    if (differences === 0) break;
    if (x > fromX) steps.push({ sign: "-", line: before[--x] as string });
    else steps.push({ sign: "+", line: after[--y] as string });
  }
  return steps.reverse();
}

// True if the best way to diagonal k is an insertion, from the diagonal above.
function comesDown(reached: ReadonlyMap<number, number>, k: number, differences: number): boolean {
  return k === -differences || (k !== differences && at(reached, k - 1) < at(reached, k + 1));
}

function at(reached: ReadonlyMap<number, number>, k: number): number {
  return reached.get(k) ?? 0;
}

// Waiting, bounded: the one place of the harness where time passes.
// Used by the nemesis, the driver and main.ts.

/** Passes so many ms. */
export function pass(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The first value that is not undefined, looked for every pollMs; undefined after timeoutMs. */
export async function until<Found>(
  look: () => Promise<Found | undefined> | Found | undefined,
  timeoutMs: number,
  pollMs = 20,
): Promise<Found | undefined> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined || performance.now() > end) return found;
    await pass(pollMs);
  }
}

/** Does something until a count has reached its target, so often at most: not everything that is done counts. */
export async function reach(target: number, count: () => number, act: () => Promise<void>, timesMax: number) {
  for (let times = 0; count() < target && times < timesMax; times += 1) await act();
}

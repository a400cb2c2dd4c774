// The value below which a share of samples lies.
// Called by the suites of bench/main.ts. Pure.

/** Percentile of samples; share from 0 to 1. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

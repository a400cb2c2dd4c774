// Figures out of samples: percentiles, medians, rounding, the slope of a line.
// Called by all suites. Pure.

import { percentile } from "./percentile.ts";

/** To one decimal. */
export function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

/** To two decimals. */
export function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}

/** To three decimals. */
export function thousandths(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}

/** The middle one of samples; of two middle ones their mean. @throws Error without samples */
export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const [low, high] = [sorted[Math.ceil(sorted.length / 2) - 1], sorted[Math.floor(sorted.length / 2)]];
  if (low === undefined || high === undefined) throw new Error("there is no median of nothing");
  return (low + high) / 2;
}

/** Times in ms as a result shows them. */
export interface Times {
  readonly p50: number;
  readonly p99: number;
}

/** Half of the samples, and 99 % of them, are at or below these. */
export function timesOf(samples: readonly number[]): Times {
  return { p50: tenths(percentile(samples, 0.5)), p99: tenths(percentile(samples, 0.99)) };
}

/** Least squares: how much y grows for each x. 0 for fewer than two points. */
export function slopeOf(points: readonly { readonly x: number; readonly y: number }[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(points.map((point) => point.x)), mean(points.map((point) => point.y))];
  const over = points.reduce((sum, point) => sum + (point.x - x) * (point.y - y), 0);
  const under = points.reduce((sum, point) => sum + (point.x - x) ** 2, 0);
  return under === 0 ? 0 : over / under;
}

// Times of the lease protocol: every ttl that may be configured has some, and a lost lease is found soon after its end.

import { expect, test } from "vitest";
import { timingOf } from "../../server/dispatch/timing.ts";

test.each([
  [1_000, 125],
  [2_000, 250],
  [30_000, 1_000],
  [600_000, 1_000],
])("with a lease of %i ms the tick comes every %i ms", (leaseTtlMs, tickMs) => {
  expect(timingOf(leaseTtlMs).tickMs).toBe(tickMs);
});

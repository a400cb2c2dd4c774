// A host for SDK tests: keys that count up, and waiting that returns at once and is written down.

import type { Host } from "../../sdk/index.ts";

export function fakeHost(): Host & { waits: number[] } {
  let keys = 0;
  const waits: number[] = [];
  return {
    waits,
    async sleep(delayMs) {
      waits.push(delayMs);
    },
    random: () => 1,
    uniqueKey: () => `key-${++keys}`,
  };
}

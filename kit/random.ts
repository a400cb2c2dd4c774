// Randomness as a value that comes in by constructor: the system's here, a seeded one for tests.
// Only main files make the system one.
// Lease tokens and secrets need systemRandom; jitter may use either.

import { randomBytes } from "node:crypto";

/** A source of randomness. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Random bytes. */
  bytes(count: number): Uint8Array;
}

/** Bytes that are drawn at once: a token is 16, and asking the system for them takes longer than the rest of making one. */
const DRAWN = 4_096;

/** Cryptographic randomness of this machine. */
export function systemRandom(): Random {
  let drawn = Buffer.alloc(0);
  let used = 0;
  const bytes = (count: number): Buffer => {
    if (count > DRAWN) return randomBytes(count);
    if (used + count > drawn.length) {
      drawn = randomBytes(DRAWN);
      used = 0;
    }
    const taken = Buffer.from(drawn.subarray(used, used + count));
    // What was given out is nobody's to find here.
    drawn.fill(0, used, used + count);
    used += count;
    return taken;
  };
  return { next: () => bytes(6).readUIntBE(0, 6) / 2 ** 48, bytes };
}

/** Repeatable randomness from a 32-bit seed (mulberry32); never for tokens. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, bytes: (count) => Uint8Array.from({ length: count }, () => Math.floor(next() * 256)) };
}

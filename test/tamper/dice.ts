// Draws from a seeded source: the same seed, the same attacks.

import type { Random } from "../../kit/random.ts";

/** A whole number from 0 up to, not including, a limit. */
export const below = (random: Random, limit: number): number => Math.floor(random.next() * limit);

/** True with a probability from 0 to 1. */
export const chance = (random: Random, probability: number): boolean => random.next() < probability;

/** One of a list that is not empty. */
export const pick = <Item>(random: Random, items: readonly Item[]): Item => items[below(random, items.length)] as Item;

/** Some different places of a list of a length, in rising order; fewer if there are not so many. */
export function places(random: Random, length: number, count: number): number[] {
  const drawn = new Set<number>();
  while (drawn.size < Math.min(count, length)) drawn.add(below(random, length));
  return [...drawn].sort((a, b) => a - b);
}

// Makes a history that breaks a rule as short and plain as it goes: a person reads it. fast-check has halved it before; here each
// word is left out, made clean, or given smaller arguments, as long as something is still broken.

import type { Word } from "./schedule.ts";

/** Tries at most; each costs one history. */
const TRIES_MAX = 2_000;

export function shorten(words: readonly Word[], isBroken: (words: readonly Word[]) => boolean): readonly Word[] {
  let shortest = words;
  let tries = 0;
  for (let again = true; again; ) {
    again = false;
    for (const candidate of plainer(shortest)) {
      tries += 1;
      if (tries > TRIES_MAX) return shortest;
      if (!isBroken(candidate)) continue;
      shortest = candidate;
      again = true;
      break;
    }
  }
  return shortest;
}

function* plainer(words: readonly Word[]): Generator<readonly Word[]> {
  for (let index = words.length - 1; index >= 0; index -= 1) yield words.toSpliced(index, 1);
  for (const [index, word] of words.entries()) {
    if (word.fate !== "clean") yield words.with(index, { ...word, fate: "clean" });
    for (const argument of ["a", "b", "c"] as const) {
      const value = word[argument];
      for (const smaller of [0, value >> 1, value - 1]) {
        if (smaller >= 0 && smaller < value) yield words.with(index, { ...word, [argument]: smaller });
      }
    }
  }
}

// Histories that once broke a rule, kept: every search replays them first. The words are what a counterexample prints.

export interface Regression {
  readonly name: string;
  readonly words: readonly string[];
}

export const REGRESSIONS: readonly Regression[] = [];

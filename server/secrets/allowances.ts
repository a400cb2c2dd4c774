// Which secrets the manifests of a namespace may name: the operator's list, read once at start by read_allowances.ts.
// Called by secret_access.ts for every secret that is handed out, and by commands when manifests are applied.
// Without a list every namespace may name every secret; with one, what is not listed is refused.

import type { SecretName } from "./secrets.ts";

/** Patterns of each namespace: NAME/KEY, NAME/*, or *. The namespace "*" is every one. */
export type AllowanceList = Readonly<Record<string, readonly string[]>>;

/** Stands for every namespace, and for every secret. */
export const ALL = "*";

/** See the file header. */
export class Allowances {
  readonly #patterns: ReadonlyMap<string, ReadonlySet<string>> | undefined;

  /** @param list absent: everything is allowed. */
  constructor(list?: AllowanceList) {
    this.#patterns =
      list && new Map(Object.entries(list).map(([namespace, patterns]) => [namespace, new Set(patterns)]));
  }

  /** False if there is no list. */
  get isRestricted(): boolean {
    return this.#patterns !== undefined;
  }

  /** Whether manifests of the namespace may name the secret. */
  allows(namespace: string, { name, key }: SecretName): boolean {
    if (this.#patterns === undefined) return true;
    const listed = [this.#patterns.get(namespace), this.#patterns.get(ALL)];
    return listed.some((patterns) => [`${name}/${key}`, `${name}/*`, ALL].some((pattern) => patterns?.has(pattern)));
  }
}

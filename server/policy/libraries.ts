// Finds and compiles library policies: those that are attached to nothing and used by policyRef.
// Called by compile.ts while it compiles a set. A name is looked for in the namespace of the policy that uses it, then in `system`.
// What is missing, attached itself, or uses itself in a circle is undefined, which makes the condition that uses it Unknown.

import { isJsonObject } from "../../kit/json.ts";
import { compileRoot, type Library } from "./condition.ts";
import type { LivePolicy } from "./types.ts";

/** See the file header. */
export class Libraries {
  readonly #policies: ReadonlyMap<string, LivePolicy>;
  /** Undefined: it cannot be used. */
  readonly #compiled = new Map<string, Library | undefined>();

  constructor(policies: readonly LivePolicy[]) {
    this.#policies = new Map(policies.map((policy) => [`${policy.namespace}/${policy.name}`, policy]));
  }

  /** The library policy that a policy of this namespace means. */
  find(namespace: string, name: string): Library | undefined {
    const policy = this.#policyOf(namespace, name);
    return policy === undefined ? undefined : this.#compile(policy);
  }

  #policyOf(namespace: string, name: string): LivePolicy | undefined {
    return this.#policies.get(`${namespace}/${name}`) ?? this.#policies.get(`system/${name}`);
  }

  #compile(policy: LivePolicy): Library | undefined {
    const key = keyOf(policy);
    if (this.#compiled.has(key)) return this.#compiled.get(key);
    const library = this.#usesItself(policy) ? undefined : this.#read(policy);
    this.#compiled.set(key, library);
    return library;
  }

  // Every policy of a circle is useless, wherever the circle is entered: else the order of compilation would matter.
  #usesItself(policy: LivePolicy): boolean {
    const seen = new Set<string>();
    const pending = this.#usedBy(policy);
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (keyOf(next) === keyOf(policy)) return true;
      if (seen.has(keyOf(next))) continue;
      seen.add(keyOf(next));
      pending.push(...this.#usedBy(next));
    }
    return false;
  }

  #usedBy({ namespace, spec }: LivePolicy): LivePolicy[] {
    return refsIn([spec?.allow, spec?.deny]).flatMap((name) => this.#policyOf(namespace, name) ?? []);
  }

  #read(policy: LivePolicy): Library | undefined {
    const { namespace, spec } = policy;
    if (spec?.attachTo?.length !== 0 || (spec.allow === undefined && spec.deny === undefined)) return undefined;
    const context = { policy: keyOf(policy), library: (name: string) => this.find(namespace, name) };
    return { allow: compileRoot(spec, "allow", context), deny: compileRoot(spec, "deny", context) };
  }
}

function keyOf({ namespace, name }: LivePolicy): string {
  return `${namespace}/${name}`;
}

// Whatever may be compiled as a reference, also beside what cannot be read: a circle that is overlooked would be followed for ever.
function refsIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(refsIn);
  if (!isJsonObject(value)) return [];
  return Object.entries(value).flatMap(([member, inner]) =>
    member === "policyRef" && typeof inner === "string" ? [inner] : refsIn(inner),
  );
}

// Names of generated types: made of the words of a namespace, a workflow, or a definition, and given once each.
// Called by catalog.ts and schema_types.ts. Pure: equal names asked for in equal order give equal results.

/** Upper camel case of what letters and digits a text has: "refund-flow" becomes RefundFlow. */
export function camel(text: string): string {
  const words = text.match(/[A-Za-z0-9]+/g) ?? [];
  return words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("");
}

/** Gives out names, none of them twice. */
export class Names {
  readonly #taken: Set<string>;

  constructor(reserved: readonly string[]) {
    this.#taken = new Set(reserved);
  }

  /** The name itself, or with the first number from 2 on that makes it free. A digit cannot begin it. */
  take(wanted: string): string {
    const base = /^[0-9]/.test(wanted) ? `Workflow${wanted}` : wanted;
    let name = base;
    for (let number = 2; this.#taken.has(name); number += 1) name = `${base}${number}`;
    this.#taken.add(name);
    return name;
  }
}

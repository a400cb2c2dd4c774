// A map that keeps the entries used last and forgets the others; for what is costly to compile and cheap to keep.
// Called by expression.ts and json_schema.ts. Holds no timers; entries never expire, only give way.

/** A bounded cache by text. */
export interface BoundedCache<Value> {
  /** The kept value, or the one that is made now and kept. */
  get(key: string, make: () => Value): Value;
}

/** A cache of at most `entriesMax` entries. */
export function bounded<Value>(entriesMax: number): BoundedCache<Value> {
  const entries = new Map<string, Value>();
  return {
    get(key, make) {
      const kept = entries.get(key);
      if (kept !== undefined) {
        // Moves it to the end: a Map iterates in insertion order.
        entries.delete(key);
        entries.set(key, kept);
        return kept;
      }
      const made = make();
      entries.set(key, made);
      if (entries.size > entriesMax) entries.delete(entries.keys().next().value as string);
      return made;
    },
  };
}

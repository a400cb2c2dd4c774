// Wraps a secret value so that it cannot be printed by accident: logs, JSON and string templates show [redacted].
// Made by secrets.ts; unwrapped by grant rendering and nowhere else.

import { inspect } from "node:util";

const REDACTED = "[redacted]";

/** A secret value. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself, for the means of one granted call. Never log, store or hash it. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}

// Hands secrets out: what a namespace may name, the value of this moment, and the redactor that knows it from then on.
// Made by replica.ts; called by commands when a call is granted or a task is claimed. Whether a secret exists is never told of one
// that the namespace may not name.

import { messageOf } from "../../kit/errors.ts";
import type { Redactor } from "../../kit/redactor.ts";
import type { Allowances } from "./allowances.ts";
import type { Secret } from "./secret.ts";
import type { SecretName, Secrets } from "./secrets.ts";

/** What secrets are handed out from. */
export interface SecretAccessOptions {
  readonly secrets: Secrets;
  readonly allowances: Allowances;
  readonly redactor: Redactor;
  /** Takes what an operator must know; never a value. */
  readonly onTrouble: (event: string, fields: Readonly<Record<string, string>>) => void;
}

/** A secret's value, or why there is none. */
export type GivenSecret =
  | { readonly ok: true; readonly secret: Secret }
  | { readonly ok: false; readonly why: "forbidden" | "missing" };

/** See the file header. */
export class SecretAccess {
  readonly #options: SecretAccessOptions;
  /** Secrets whose shortness was told already. */
  readonly #told = new Set<string>();

  constructor(options: SecretAccessOptions) {
    this.#options = options;
  }

  /** False if every namespace may name every secret. */
  get isRestricted(): boolean {
    return this.#options.allowances.isRestricted;
  }

  /** Whether manifests of the namespace may name the secret. */
  allows(namespace: string, name: SecretName): boolean {
    return this.#options.allowances.allows(namespace, name);
  }

  /** The secret as it is now, if the namespace may name it. One that cannot be read is missing; the operator learns why. */
  give(namespace: string, name: SecretName): GivenSecret {
    if (!this.allows(namespace, name)) return { ok: false, why: "forbidden" };
    const { secrets, onTrouble } = this.#options;
    let secret: Secret | undefined;
    try {
      secret = secrets.read(name.name, name.key);
    } catch (error) {
      onTrouble("secret.unreadable", { ...name, error: messageOf(error) });
    }
    if (secret === undefined) return { ok: false, why: "missing" };
    this.#learn(name, secret);
    return { ok: true, secret };
  }

  /**
   * Makes every secret known to the redactor. For a worker that comes from another replica, or from before a restart: what it
   * reports may hold what was granted there.
   */
  learnAll(): void {
    const { secrets, onTrouble } = this.#options;
    try {
      for (const [name, secret] of secrets.all()) this.#learn(name, secret);
    } catch (error) {
      onTrouble("secret.unreadable", { error: messageOf(error) });
    }
  }

  #learn(name: SecretName, secret: Secret): void {
    const { redactor, onTrouble } = this.#options;
    const id = JSON.stringify([name.name, name.key]);
    if (redactor.learn(secret.reveal()) || this.#told.has(id)) return;
    this.#told.add(id);
    onTrouble("secret.short", {
      ...name,
      message: "too short to be redacted from logs and results; use a longer value",
    });
  }
}

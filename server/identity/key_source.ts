// The public keys of one issuer, from a URL or a file: kept, read again in time, and read again for a key that is not known.
// Called by jwt.ts. Keys that were read go on while their source cannot be reached; without any, nobody is let in.
//
// nothing read → (first token) read; after REFRESH_MS, or for an unknown key and at most once in COOLDOWN_MS, read again → kept

import { readFile } from "node:fs/promises";
import {
  type CryptoKey,
  createLocalJWKSet,
  errors,
  type FlattenedJWSInput,
  type JSONWebKeySet,
  type JWSHeaderParameters,
} from "jose";
import type { Clock } from "../../kit/clock.ts";
import { DomainError } from "../../kit/errors.ts";
import { HOUR, KIB, MINUTE, SECOND } from "../../kit/units.ts";
import type { IssuerSetting } from "./settings.ts";

/** Keys are read again when they are this old, in ms. */
export const REFRESH_MS = 10 * MINUTE;
/** Keys are not asked for again within this time, in ms, whatever tokens name. */
export const COOLDOWN_MS = 30 * SECOND;
/** Keys that could not be read again for this long are no longer taken, in ms: what an issuer withdrew must end some time. */
export const KEPT_MS_MAX = 24 * HOUR;
const FETCH_MS_MAX = 5 * SECOND;
const BYTES_MAX = 256 * KIB;
const KEYS_MAX = 100;

type Keys = ReturnType<typeof createLocalJWKSet>;

/** See the file header. */
export class KeySource {
  readonly #setting: Pick<IssuerSetting, "issuer" | "jwksUri" | "jwksFile">;
  readonly #clock: Clock;
  readonly #onTrouble: (error: unknown) => void;
  #kept: { readonly keys: Keys; readonly since: number } | undefined;
  #asked = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  constructor(
    setting: Pick<IssuerSetting, "issuer" | "jwksUri" | "jwksFile">,
    clock: Clock,
    onTrouble: (error: unknown) => void,
  ) {
    this.#setting = setting;
    this.#clock = clock;
    this.#onTrouble = onTrouble;
  }

  /** The key that a token's header names. @throws JOSEError if there is none, IDENTITY_UNAVAILABLE if no keys could be read */
  async key(header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<CryptoKey> {
    const keys = await this.#current();
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !this.#mayAsk()) throw error;
      await this.#read();
      return await (await this.#current())(header, token);
    }
  }

  async #current(): Promise<Keys> {
    const age = () => this.#clock.monotonic() - (this.#kept?.since ?? Number.NEGATIVE_INFINITY);
    if (age() >= REFRESH_MS && this.#mayAsk()) await this.#read();
    if (this.#kept !== undefined && age() < KEPT_MS_MAX) return this.#kept.keys;
    const message = `the keys of ${this.#setting.issuer} cannot be read: try again in a moment`;
    throw new DomainError("IDENTITY_UNAVAILABLE", message, { issuer: this.#setting.issuer });
  }

  // Also while somebody reads: then this call waits for the same answer.
  #mayAsk(): boolean {
    return this.#reading !== undefined || this.#clock.monotonic() - this.#asked >= COOLDOWN_MS;
  }

  #read(): Promise<void> {
    this.#reading ??= this.#load()
      .catch(this.#onTrouble)
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }

  async #load(): Promise<void> {
    this.#asked = this.#clock.monotonic();
    const { jwksUri, jwksFile = "" } = this.#setting;
    const text = jwksUri === undefined ? await readFile(jwksFile, "utf8") : await this.#download(jwksUri);
    this.#kept = { keys: createLocalJWKSet(publicKeys(text)), since: this.#clock.monotonic() };
  }

  async #download(uri: string): Promise<string> {
    const late = new AbortController();
    const cancel = this.#clock.after(FETCH_MS_MAX, () => late.abort(new Error(`${uri} does not answer in time`)));
    try {
      const headers = { accept: "application/jwk-set+json, application/json" };
      const response = await fetch(uri, { redirect: "error", headers, signal: late.signal });
      if (!response.ok || response.body === null) {
        await response.body?.cancel();
        throw new Error(`${uri} answers ${response.status}`);
      }
      return await textWithin(response.body, uri);
    } finally {
      cancel();
    }
  }
}

async function textWithin(body: AsyncIterable<Uint8Array>, uri: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > BYTES_MAX) throw new Error(`${uri} answers more than ${BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

// Shared secrets and private keys have no place in a key set: they are left out, so that neither can verify anything.
function publicKeys(text: string): JSONWebKeySet {
  const value = JSON.parse(text) as { keys?: unknown } | null;
  if (!Array.isArray(value?.keys)) throw new Error("it is no JSON Web Key Set");
  const keys = (value.keys as JSONWebKeySet["keys"]).filter((key) => key?.kty !== "oct" && key?.d === undefined);
  if (keys.length > KEYS_MAX) throw new Error(`it has more than ${KEYS_MAX} keys`);
  return { keys };
}

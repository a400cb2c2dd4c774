// Signed heads of the chain: what a checkpoint says, how it is signed and named, and how a signature is checked. Ed25519.
// Made by commands/sign_audit.ts, written out by dispatch/head_keeper.ts, checked by verify.ts. Pure: the time and the key are given.
// A checkpoint names the one before it by hash, so that a file of them is a chain of its own.

import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { DomainError } from "../../kit/errors.ts";
import { canonicalJson, sha256 } from "../../kit/json.ts";

/** What is signed. */
export interface CheckpointContent {
  /** From 1, without gaps. */
  readonly number: number;
  /** The newest sealed segment, its last id, and all records up to it. */
  readonly segment: number;
  readonly lastId: string;
  readonly lastSequence: number;
  readonly head: string;
  /** Hash of the checkpoint before it; 64 zeros for the first one. */
  readonly previous: string;
  /** Database time in UTC with microseconds. */
  readonly time: string;
  /** Name of the key: see keyName. */
  readonly key: string;
}

/** A signed head. */
export interface Checkpoint extends CheckpointContent {
  /** Base64. */
  readonly signature: string;
}

/** What the first checkpoint names as the one before it. */
export const NO_CHECKPOINT = "0".repeat(64);

/** The key of a server, as it is used. */
export interface SigningKey {
  readonly name: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** Keys that signatures are checked by, by name. */
export type PublicKeys = ReadonlyMap<string, KeyObject>;

/** The signing key in a PEM text (PKCS #8). @throws CONFIG_INVALID if it holds none, or one of another kind than Ed25519 */
export function signingKey(pem: string, source: string): SigningKey {
  const privateKey = readKey(() => createPrivateKey(pem), "private", source);
  const publicKey = createPublicKey(privateKey);
  return { name: keyName(publicKey), privateKey, publicKey };
}

/** The public key in a PEM text; a private one serves too. @throws CONFIG_INVALID if it holds none, or one of another kind than Ed25519 */
export function publicKeyOf(pem: string, source: string): KeyObject {
  return readKey(() => createPublicKey(pem), "public", source);
}

/** PEM text of a public key. */
export function publicPem(key: KeyObject): string {
  return key.export({ type: "spki", format: "pem" }) as string;
}

/** Name of a key: the first 16 hex digits of the SHA-256 of its public half (SPKI, DER). */
export function keyName(publicKey: KeyObject): string {
  return digits(publicKey.export({ type: "spki", format: "der" })).slice(0, 16);
}

/** Signs a head. */
export function signCheckpoint(content: Omit<CheckpointContent, "key">, key: SigningKey): Checkpoint {
  const whole = { ...content, key: key.name };
  return { ...whole, signature: signText(canonicalJson(whole), key) };
}

/** True if one of the keys signed exactly this content. */
export function isSigned(checkpoint: Checkpoint, keys: PublicKeys): boolean {
  const { signature, ...content } = checkpoint;
  return isTextSigned(canonicalJson(contentOf(content)), signature, content.key, keys);
}

/** Hash that the next checkpoint names; covers the signature. */
export function checkpointHash(checkpoint: Checkpoint): string {
  return digits(canonicalJson({ ...contentOf(checkpoint), signature: checkpoint.signature }));
}

/** Signature of a text, in base64. */
export function signText(text: string, key: SigningKey): string {
  return sign(null, Buffer.from(text), key.privateKey).toString("base64");
}

/** True if the named key is among the keys and signed the text. */
export function isTextSigned(text: string, signature: string, key: string, keys: PublicKeys): boolean {
  const publicKey = keys.get(key);
  return publicKey !== undefined && verify(null, Buffer.from(text), publicKey, Buffer.from(signature, "base64"));
}

// Only what is signed: a row or a line may carry more.
function contentOf({ number, segment, lastId, lastSequence, head, previous, time, key }: CheckpointContent) {
  return { number, segment, lastId, lastSequence, head, previous, time, key };
}

function readKey(read: () => KeyObject, half: "private" | "public", source: string): KeyObject {
  const wanted = `give an Ed25519 ${half} key in PEM, such as openssl genpkey -algorithm ed25519 makes`;
  let key: KeyObject;
  try {
    key = read();
  } catch {
    throw new DomainError("CONFIG_INVALID", `${source} holds no ${half} key: ${wanted}`);
  }
  if (key.asymmetricKeyType === "ed25519") return key;
  throw new DomainError("CONFIG_INVALID", `${source} holds a key of type ${key.asymmetricKeyType}: ${wanted}`);
}

function digits(value: string | Uint8Array): string {
  return sha256(value).slice("sha256:".length);
}

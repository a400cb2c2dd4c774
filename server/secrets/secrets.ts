// Reads secrets live, each time one is granted: from a directory <dir>/<name>/<key>, as Kubernetes mounts them, else from
// ORLOJ_SECRET_<NAME>_<KEY> (upper case, every other character "_"). So rotation needs no restart.
// Called by commands while a grant or an assignment is made: synchronous, for nothing but queries is awaited inside a
// transaction, and the files are small and local. Never stores, caches, logs or audits a value.
// The directory and the environment come in by constructor: config.ts alone reads the real ones.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { DomainError } from "../../kit/errors.ts";
import { MIB } from "../../kit/units.ts";
import { Secret } from "./secret.ts";

/** Largest secret, in bytes. */
export const SECRET_BYTES_MAX = MIB;

// RFC 1123-like names, and keys as Kubernetes has them. No separator and no leading dot: a path cannot leave its directory.
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$/;

/** Files that all() looks at. */
const FILES_MAX = 2_000;

/** A secret's two names. */
export interface SecretName {
  readonly name: string;
  readonly key: string;
}

/** Where secrets are. */
export interface SecretSources {
  /** Absent: only the environment. */
  readonly directory?: string | undefined;
  /** Environment variables; only ORLOJ_SECRET_* are looked at. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Name of the environment variable that holds a secret. */
export function secretVariable(name: string, key: string): string {
  return `ORLOJ_SECRET_${mapped(name)}_${mapped(key)}`;
}

/** See the file header. */
export class Secrets {
  readonly #sources: SecretSources;

  constructor(sources: SecretSources) {
    this.#sources = sources;
  }

  /**
   * Reads one secret; one trailing newline of a file is dropped.
   *
   * @returns undefined if it is nowhere, or its name or key is not a name.
   * @throws DomainError CONFIG_INVALID if its file is too large or cannot be read.
   */
  read(name: string, key: string): Secret | undefined {
    if (!NAME.test(name) || !NAME.test(key)) return undefined;
    const { directory, environment } = this.#sources;
    const text = directory === undefined ? undefined : readSecretFile(join(directory, name, key), name, key);
    const value = text ?? environment[secretVariable(name, key)];
    return value === undefined ? undefined : new Secret(value);
  }

  /**
   * Every secret that can be read, of the directory at most FILES_MAX; those of the environment by the name of their variable.
   *
   * @throws if the directory cannot be read.
   */
  *all(): Generator<readonly [SecretName, Secret]> {
    const { directory, environment } = this.#sources;
    for (const [variable, value] of Object.entries(environment)) {
      if (variable.startsWith("ORLOJ_SECRET_") && value !== undefined) {
        yield [{ name: variable, key: "" }, new Secret(value)];
      }
    }
    let left = FILES_MAX;
    for (const name of directory === undefined ? [] : namesIn(directory)) {
      for (const key of namesIn(join(directory as string, name))) {
        left -= 1;
        const secret = left < 0 ? undefined : this.#readable(name, key);
        if (secret !== undefined) yield [{ name, key }, secret];
      }
    }
  }

  #readable(name: string, key: string): Secret | undefined {
    try {
      return this.read(name, key);
    } catch {
      return undefined;
    }
  }
}

// What is no directory has no names in it.
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => NAME.test(name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return [];
    throw error;
  }
}

function readSecretFile(path: string, name: string, key: string): string | undefined {
  try {
    const { size } = statSync(path);
    if (size > SECRET_BYTES_MAX) {
      const message = `secret ${name}/${key} is ${size} bytes, more than ${SECRET_BYTES_MAX}; a secret is a short text`;
      throw new DomainError("CONFIG_INVALID", message);
    }
    return readFileSync(path, "utf8").replace(/\r?\n$/, "");
  } catch (error) {
    if (error instanceof DomainError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    // The driver's message holds the path, which is the operator's: it stays the cause.
    const message = `secret ${name}/${key} cannot be read (${code ?? "unknown error"}); check the file's permissions`;
    throw new DomainError("CONFIG_INVALID", message, {}, error);
  }
}

function mapped(part: string): string {
  return part.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_");
}

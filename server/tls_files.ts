// The certificate, the key, the client CAs and the revocation lists of a TLS listener: read and checked at start, and read again while the
// server runs, so that a rotation needs no restart. Called by listener_tls.ts. Connections that are open keep the certificates they began with.

import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { caProblem, keyPairProblem, LIST_LABEL, pemOf } from "../kit/certificate_files.ts";
import type { Clock } from "../kit/clock.ts";
import { DomainError, messageOf } from "../kit/errors.ts";
import { SECOND } from "../kit/units.ts";
import type { TlsFiles } from "./config_file.ts";
import { secureContext, type TlsMaterial } from "./rpc/tls_port.ts";

/** How often the files are read again, in ms: with RECHECK_MS, what a list revokes is out within half a minute. */
export const TLS_REREAD_MS = 10 * SECOND;

/**
 * Reads the files.
 *
 * @param of section of the configuration, for messages: "tls" or "workers.tls".
 * @throws CONFIG_INVALID naming the file that cannot be used, and why. What is in a revocation list is checked by whoever takes it.
 */
export function readTlsFiles(files: TlsFiles, nowMs: number, of = "tls"): TlsMaterial {
  const cert = read(`${of}.cert`, files.cert).toString("utf8");
  const key = read(`${of}.key`, files.key).toString("utf8");
  const clientCa = files.clientCa && read(`${of}.clientCa`, files.clientCa).toString("utf8");
  const crl = files.crl && listText(read(`${of}.crl`, files.crl));
  const problem = keyPairProblem({ file: files.cert, pem: cert }, { file: files.key, pem: key }, nowMs);
  if (problem !== undefined) throw invalid(`${of}.${problem.of}`, files[problem.of], problem.why);
  const wrong = clientCa && caProblem(clientCa);
  if (wrong) throw invalid(`${of}.clientCa`, files.clientCa ?? "", wrong);
  const material = { cert, key, ...(clientCa && { clientCa }), ...(crl && { crl }) };
  try {
    createSecureContext(secureContext(material));
  } catch (error) {
    throw invalid(`${of}.cert`, files.cert, `cannot be used: ${messageOf(error)}`);
  }
  return material;
}

/** Reads the files now and then and hands over what changed. */
export class TlsFileWatch {
  readonly #files: TlsFiles;
  readonly #clock: Clock;
  readonly #onChange: (material: TlsMaterial) => void;
  readonly #onTrouble: (error: unknown) => void;
  readonly #of: string;
  #last: string;
  #cancel: () => void = () => undefined;

  /** @param onTrouble told when the files cannot be used, or onChange does not take them; what was taken before stays in use. */
  constructor(
    files: TlsFiles,
    first: TlsMaterial,
    clock: Clock,
    onChange: (material: TlsMaterial) => void,
    onTrouble: (error: unknown) => void,
    of = "tls",
  ) {
    this.#of = of;
    this.#files = files;
    this.#clock = clock;
    this.#onChange = onChange;
    this.#onTrouble = onTrouble;
    this.#last = JSON.stringify(first);
  }

  /** Begins to look. */
  start(): void {
    this.#cancel = this.#clock.after(TLS_REREAD_MS, () => {
      this.#look();
      this.start();
    });
  }

  /** Stops looking. */
  stop(): void {
    this.#cancel();
  }

  #look(): void {
    try {
      const material = readTlsFiles(this.#files, this.#clock.now(), this.#of);
      const text = JSON.stringify(material);
      if (text === this.#last) return;
      this.#onChange(material);
      this.#last = text;
    } catch (error) {
      this.#onTrouble(error);
    }
  }
}

function read(name: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw invalid(name, file, `cannot be read: ${messageOf(error)}`);
  }
}

function listText(bytes: Buffer): string {
  const text = bytes.toString("latin1");
  return text.includes("-----BEGIN ") ? text : pemOf(LIST_LABEL, bytes);
}

function invalid(name: string, file: string, why: string): DomainError {
  return new DomainError("CONFIG_INVALID", `${name}: ${file} ${why}`, { file });
}

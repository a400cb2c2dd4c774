// The certificate, the key and the client CAs of a TLS listener: read and checked at start, and read again while the server runs, so that a
// rotation needs no restart. Called by main.ts. Connections that are open keep what they began with.

import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Clock } from "../kit/clock.ts";
import { DomainError, messageOf } from "../kit/errors.ts";
import { MINUTE } from "../kit/units.ts";
import type { TlsFiles } from "./config_file.ts";
import type { TlsMaterial } from "./rpc/tls_port.ts";

/** How often the files are read again, in ms. */
export const TLS_REREAD_MS = MINUTE;

/** Reads the files. @throws CONFIG_INVALID naming the file that cannot be used, and why */
export function readTlsFiles(files: TlsFiles, nowMs: number): TlsMaterial {
  const cert = read("tls.cert", files.cert);
  const key = read("tls.key", files.key);
  const clientCa = files.clientCa === undefined ? undefined : read("tls.clientCa", files.clientCa);
  const certificate = parse("tls.cert", files.cert, () => new X509Certificate(cert));
  const privateKey = parse("tls.key", files.key, () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) throw invalid("tls.key", files.key, `is not the key of ${files.cert}`);
  if (nowMs >= Date.parse(certificate.validTo))
    throw invalid("tls.cert", files.cert, `expired at ${certificate.validTo}`);
  if (clientCa !== undefined) {
    const ca = parse("tls.clientCa", files.clientCa ?? "", () => new X509Certificate(clientCa));
    if (!ca.ca) throw invalid("tls.clientCa", files.clientCa ?? "", "is not the certificate of a CA");
  }
  return { cert, key, ...(clientCa !== undefined && { clientCa }) };
}

/** Reads the files now and then and hands over what changed. */
export class TlsFileWatch {
  readonly #files: TlsFiles;
  readonly #clock: Clock;
  readonly #onChange: (material: TlsMaterial) => void;
  readonly #onTrouble: (error: unknown) => void;
  #last: string;
  #cancel: () => void = () => undefined;

  /** @param onTrouble told when the files cannot be used; what was read before stays in use. */
  constructor(
    files: TlsFiles,
    first: TlsMaterial,
    clock: Clock,
    onChange: (material: TlsMaterial) => void,
    onTrouble: (error: unknown) => void,
  ) {
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
      const material = readTlsFiles(this.#files, this.#clock.now());
      const text = JSON.stringify(material);
      if (text === this.#last) return;
      this.#onChange(material);
      this.#last = text;
    } catch (error) {
      this.#onTrouble(error);
    }
  }
}

function read(name: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw invalid(name, file, `cannot be read: ${messageOf(error)}`);
  }
}

function parse<T>(name: string, file: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw invalid(name, file, `is not usable PEM: ${messageOf(error)}`);
  }
}

function invalid(name: string, file: string, why: string): DomainError {
  return new DomainError("CONFIG_INVALID", `${name}: ${file} ${why}`, { file });
}

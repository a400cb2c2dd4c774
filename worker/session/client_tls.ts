// The certificate by which a worker proves itself, from files that may change while it runs: read and checked at start, and for each connection.
// Made by worker.ts; asked by stream.ts. A change is told, so that the session can move to a connection that is made with the new files.
// What cannot be used (half written, no pair) is told and leaves the earlier files in use, until they expire.

import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { checkServerIdentity, createSecureContext, type SecureContext } from "node:tls";
import { type ChannelCredentials, type ChannelOptions, credentials } from "@grpc/grpc-js";
import { caProblem, certificatesOf, keyPairProblem } from "../../kit/certificate_files.ts";
import type { Clock } from "../../kit/clock.ts";
import { DomainError, messageOf } from "../../kit/errors.ts";
import { isForClients, spiffeNameOf, workerNameOf } from "../../kit/spiffe.ts";
import { SECOND } from "../../kit/units.ts";
import type { Log } from "../log.ts";

/** How often the files are looked at, in ms. */
export const CLIENT_TLS_LOOK_MS = 10 * SECOND;
/** Keys of 112 bits of security and more, in the server's certificates too. */
const STRONG = "DEFAULT:@SECLEVEL=2";
/** Server name that is sent where the endpoint is an address: TLS allows names only. What is checked is the address. */
const NAME_FOR_ADDRESSES = "orloj";

/** Files of a worker's mutual TLS, PEM. */
export interface ClientTlsFiles {
  /** CAs of the server's certificate. */
  readonly ca: string;
  /** Certificate with the one name spiffe://DOMAIN/worker/NAME; its chain may follow. */
  readonly cert: string;
  readonly key: string;
}

/** How a connection to an endpoint is secured. */
export interface SecuredChannel {
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions;
}

interface Loaded {
  readonly text: string;
  readonly context: SecureContext;
  /** Of the worker, as its certificate says. */
  readonly name: string;
  readonly expiresMs: number;
}

/** See the file header. */
export class ClientTls {
  readonly #files: ClientTlsFiles;
  readonly #clock: Clock;
  readonly #log: Log;
  #loaded: Loaded;
  /** What the files were, in use or not, when they were looked at last. */
  #seen: string;

  /** @throws CONFIG_INVALID naming the file that cannot be used, why, and what to do */
  constructor(files: ClientTlsFiles, clock: Clock, log: Log = () => undefined) {
    this.#files = files;
    this.#clock = clock;
    this.#log = log;
    this.#loaded = load(files, clock.now());
    this.#seen = this.#loaded.text;
  }

  /** Name of the worker in the certificate. */
  get workerName(): string {
    return this.#loaded.name;
  }

  /**
   * Credentials for a new connection, by what the files hold now.
   *
   * @throws CONFIG_INVALID when they cannot be used and what was in use before has expired
   */
  secured(endpoint: string): SecuredChannel {
    this.#read();
    const host = endpoint.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
    const isAddress = isIP(host) !== 0;
    return {
      credentials: credentials.createFromSecureContext(this.#loaded.context, {
        checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
      }),
      options: isAddress ? { "grpc.ssl_target_name_override": NAME_FOR_ADDRESSES } : {},
    };
  }

  /** Looks at the files now and then, and calls back when others can be used. The result stops it. */
  watch(onChange: () => void): () => void {
    let cancel: () => void = () => undefined;
    const again = () => {
      cancel = this.#clock.after(CLIENT_TLS_LOOK_MS, () => {
        const before = this.#loaded.text;
        try {
          this.#read();
          if (this.#loaded.text !== before) onChange();
        } catch {
          // Expired and not replaced: the next connection says so.
        }
        again();
      });
    };
    again();
    return () => cancel();
  }

  #read(): void {
    const nowMs = this.#clock.now();
    try {
      const loaded = load(this.#files, nowMs);
      if (loaded.name !== this.#loaded.name) {
        throw invalid(
          "cert",
          this.#files.cert,
          `is of worker ${loaded.name}, and this one is ${this.#loaded.name}: restart it`,
        );
      }
      if (loaded.text !== this.#loaded.text) {
        this.#log("info", "certificate files changed", { cert: this.#files.cert });
        this.#loaded = loaded;
      }
      this.#seen = loaded.text;
    } catch (error) {
      const seen = messageOf(error);
      if (nowMs >= this.#loaded.expiresMs) throw error;
      if (seen !== this.#seen)
        this.#log("warn", "certificate files cannot be used, keeping the earlier ones", { reason: seen });
      this.#seen = seen;
    }
  }
}

function load(files: ClientTlsFiles, nowMs: number): Loaded {
  const [ca, cert, key] = [read("ca", files.ca), read("cert", files.cert), read("key", files.key)];
  const wrong = caProblem(ca);
  if (wrong !== undefined) throw invalid("ca", files.ca, wrong);
  const problem = keyPairProblem({ file: files.cert, pem: cert }, { file: files.key, pem: key }, nowMs);
  if (problem !== undefined) throw invalid(problem.of, files[problem.of], problem.why);
  const [certificate] = certificatesOf(cert);
  const spiffe = certificate && spiffeNameOf(certificate);
  const name = spiffe && workerNameOf(spiffe);
  if (certificate === undefined || name === undefined || !isForClients(certificate)) {
    const why =
      "is not a worker's: it needs the extended key usage clientAuth and exactly one URI name, spiffe://DOMAIN/worker/NAME";
    throw invalid("cert", files.cert, `${why} (orloj certs issue worker --name NAME makes one)`);
  }
  try {
    const context = createSecureContext({ ca, cert, key, ciphers: STRONG, minVersion: "TLSv1.3" });
    return { text: JSON.stringify([ca, cert, key]), context, name, expiresMs: Date.parse(certificate.validTo) };
  } catch (error) {
    throw invalid("cert", files.cert, `cannot be used: ${messageOf(error)}`);
  }
}

function read(option: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw invalid(option, file, `cannot be read: ${messageOf(error)}`);
  }
}

function invalid(option: string, file: string, why: string): DomainError {
  return new DomainError("CONFIG_INVALID", `${option}: ${file} ${why}`, { file });
}

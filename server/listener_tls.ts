// TLS of one listener while the server runs: its files taken at start and whenever they change, its revocation lists, and words about both.
// Opened by main.ts for each listener that has files. What cannot be used is told, and what was taken before stays in use.
// A list that has run out is told too: from then on nobody gets in, and sessions end.

import type { Clock } from "../kit/clock.ts";
import { DomainError, messageOf } from "../kit/errors.ts";
import type { RevocationList } from "../kit/revocation_list.ts";
import type { TlsFiles } from "./config_file.ts";
import type { CertificateListener } from "./identity/identify.ts";
import type { Revocations } from "./identity/revocations.ts";
import type { TlsMaterial } from "./rpc/tls_port.ts";
import type { Logger } from "./telemetry/log.ts";
import { readTlsFiles, TLS_REREAD_MS, TlsFileWatch } from "./tls_files.ts";

/** Sections of the configuration that name the files. */
const SECTIONS: Readonly<Record<CertificateListener, string>> = { api: "tls", worker: "workers.tls" };

/** What TLS of a listener is made of. */
export interface ListenerTlsOptions {
  readonly listener: CertificateListener;
  readonly files: TlsFiles;
  /** Filled from the files. */
  readonly revocations: Revocations;
  readonly clock: Clock;
  readonly log: Logger;
}

type ReadLists = (content: Uint8Array) => readonly RevocationList[];

/** See the file header. */
export class ListenerTls {
  /** As the files were at start. */
  readonly material: TlsMaterial;
  readonly #options: ListenerTlsOptions;
  readonly #readLists: ReadLists;
  #watch: TlsFileWatch | undefined;
  #told: "expired" | "soon" | undefined;
  #trouble = "";
  #cancel: () => void = () => undefined;

  private constructor(options: ListenerTlsOptions, readLists: ReadLists) {
    this.#options = options;
    this.#readLists = readLists;
    const { files, listener, clock } = options;
    this.material = readTlsFiles(files, clock.now(), SECTIONS[listener]);
    this.#takeLists(this.material);
  }

  /** Reads the files. @throws CONFIG_INVALID for those that cannot be used */
  static async open(options: ListenerTlsOptions): Promise<ListenerTls> {
    // A server without TLS does not load what reads lists, which is large.
    const { readRevocationLists } = await import("../kit/revocation_list.ts");
    return new ListenerTls(options, readRevocationLists);
  }

  /** Begins to look for changes. @param onChange given what new connections get from now on */
  start(onChange: (material: TlsMaterial) => void): void {
    const { files, listener, clock, log } = this.#options;
    const take = (material: TlsMaterial) => {
      this.#takeLists(material);
      onChange(material);
      this.#trouble = "";
      log.info("tls.replaced", { listener });
    };
    this.#watch = new TlsFileWatch(files, this.material, clock, take, (error) => this.#tell(error), SECTIONS[listener]);
    this.#watch.start();
    this.#lookAtLists();
  }

  /** Stops looking. */
  stop(): void {
    this.#watch?.stop();
    this.#cancel();
  }

  #takeLists({ clientCa, crl }: TlsMaterial): void {
    const { files, listener, revocations } = this.#options;
    try {
      revocations.replace(clientCa ?? "", crl === undefined ? undefined : this.#readLists(Buffer.from(crl)));
    } catch (error) {
      const message = `${SECTIONS[listener]}.crl: ${files.crl} cannot be used: ${messageOf(error)}`;
      throw new DomainError("CONFIG_INVALID", message, { file: files.crl ?? "" });
    }
  }

  // The same trouble is told once, however often the files are looked at.
  #tell(error: unknown): void {
    const message = messageOf(error);
    if (message === this.#trouble) return;
    this.#trouble = message;
    this.#options.log.error("tls.unusable", { listener: this.#options.listener, error: message });
  }

  #lookAtLists(): void {
    const { listener, revocations, clock, log, files } = this.#options;
    const expiry = revocations.expiry(clock.now());
    if (expiry !== this.#told) {
      if (expiry === "expired") log.error("tls.revocation_list_expired", { listener, file: files.crl ?? "" });
      else if (expiry === "soon") log.warn("tls.revocation_list_expires_soon", { listener, file: files.crl ?? "" });
      this.#told = expiry;
    }
    this.#cancel = clock.after(TLS_REREAD_MS, () => this.#lookAtLists());
  }
}

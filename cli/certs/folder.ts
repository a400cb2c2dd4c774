// The folder of `orloj certs`: a CA for development, its certificates with their keys, the revocation lists, and an index of all that was made.
//
//   ca.crt  ca.key   CAs, the newest first; older ones stay until a rotation is finished
//   ca.crl           one list a CA      index.json   what was issued, and what is revoked
//   NAME.crt NAME.key
//
// Called by cli/certs.ts. Keys are readable by their owner alone. Nothing is overwritten but by a rotation, and then whole or not at all.
// The index is written before what it lists: nothing is out there that cannot be revoked.

import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { certificatesOf, pemBlocks, plainHex } from "../../kit/certificate_files.ts";
import { fileErrorWords, UsageError } from "../failure.ts";
import {
  type Authority,
  canSign,
  type Made,
  makeAuthority,
  makeCertificate,
  makeRevocationList,
  type Validity,
  type Wanted,
} from "./certificate.ts";

/** A certificate that was made here. */
export interface Entry {
  /** Of the files, without .crt and .key. */
  readonly file: string;
  readonly kind: "server" | "worker" | "client";
  readonly wanted: Wanted;
  /** Upper-case hexadecimal digits. */
  readonly serial: string;
  /** Serial number of its CA. */
  readonly issuer: string;
  readonly untilMs: number;
  readonly revokedMs?: number;
}

interface Index {
  readonly trustDomain: string;
  readonly issued: readonly Entry[];
}

/** See the file header. */
export class CertsFolder {
  readonly path: string;
  readonly trustDomain: string;
  /** The newest first. */
  readonly #authorities: readonly Authority[];
  #issued: readonly Entry[];

  private constructor(path: string, index: Index, authorities: readonly Authority[]) {
    this.path = path;
    this.trustDomain = index.trustDomain;
    this.#authorities = authorities;
    this.#issued = index.issued;
  }

  /** Makes the folder with a CA. @throws UsageError if there is one already */
  static async init(path: string, trustDomain: string, validity: Validity, listUntilMs: number): Promise<CertsFolder> {
    for (const name of ["ca.crt", "ca.key", "index.json"]) {
      if (existsSync(join(path, name))) {
        throw new UsageError(
          `${join(path, name)} exists: there is a CA already`,
          "name another folder with --dir, or rotate it: orloj certs rotate ca",
        );
      }
    }
    writing(path, () => mkdirSync(path, { recursive: true, mode: 0o700 }));
    const made = await makeAuthority(trustDomain, validity);
    const folder = new CertsFolder(path, { trustDomain, issued: [] }, [authorityOf(made.cert, made.key)]);
    folder.#write("index.json", folder.#indexText());
    folder.#write("ca.key", made.key, 0o600);
    folder.#write("ca.crt", made.cert);
    await folder.writeLists({ fromMs: validity.fromMs, untilMs: listUntilMs });
    return folder;
  }

  /** Opens what init made. @throws UsageError saying which file is missing or cannot be used */
  static open(path: string): CertsFolder {
    const read = (name: string) => {
      try {
        return readFileSync(join(path, name), "utf8");
      } catch (error) {
        const why = `${join(path, name)} cannot be read: ${fileErrorWords(error)}`;
        throw new UsageError(why, "orloj certs init makes a CA; --dir names its folder");
      }
    };
    const index = indexOf(join(path, "index.json"), read("index.json"));
    const [certificates, keys] = [pemBlocks(read("ca.crt"), "CERTIFICATE"), pemBlocks(read("ca.key"), "PRIVATE KEY")];
    const broken = () =>
      new UsageError(`${join(path, "ca.key")} does not belong to ca.crt`, "restore the folder from a copy");
    if (certificates.length === 0 || certificates.length !== keys.length) throw broken();
    let authorities: Authority[];
    try {
      authorities = certificates.map((cert, at) => authorityOf(cert, keys[at] as string));
    } catch {
      throw broken();
    }
    if (!authorities.every(({ key }) => canSign(key))) {
      throw new UsageError(`${join(path, "ca.key")} holds a key of a kind that cannot sign here`, "use P-256 keys");
    }
    return new CertsFolder(path, index, authorities);
  }

  /** CAs, the newest first. */
  get authorities(): readonly X509Certificate[] {
    return this.#authorities.map(({ certificate }) => certificate);
  }

  /** Everything that was issued, oldest first. */
  get issued(): readonly Entry[] {
    return this.#issued;
  }

  /** What the files of that name hold now; undefined if nothing was issued under it. */
  current(file: string): Entry | undefined {
    return this.#issued.findLast((entry) => entry.file === file);
  }

  /** False while a rotation of the CA has not reached the certificate. */
  isOfNewestCa({ issuer }: Entry): boolean {
    const [newest] = this.#authorities;
    return newest !== undefined && issuer === plainHex(newest.certificate.serialNumber);
  }

  /** Issues a certificate into new files. @throws UsageError if there are files of that name */
  async issue(file: string, kind: Entry["kind"], wanted: Wanted, validity: Validity): Promise<Entry> {
    for (const name of [`${file}.crt`, `${file}.key`]) {
      if (!existsSync(join(this.path, name))) continue;
      throw new UsageError(
        `${join(this.path, name)} exists`,
        `orloj certs rotate ${file} renews it; or use another name`,
      );
    }
    return await this.#issue(file, kind, wanted, validity);
  }

  /** Issues what the files of that name hold once more, with a new key, into the same files. @throws UsageError if there are none */
  async rotate(file: string, validity: Validity): Promise<Entry> {
    const entry = this.current(file);
    if (entry === undefined) throw unknownName(file);
    return await this.#issue(file, entry.kind, entry.wanted, validity);
  }

  /** A new CA before the others: it signs from now on, and certificates of all of them are good. */
  async rotateAuthority(validity: Validity): Promise<CertsFolder> {
    const { cert, key } = await makeAuthority(this.trustDomain, validity);
    return this.#withAuthorities([authorityOf(cert, key), ...this.#authorities]);
  }

  /** Leaves the newest CA alone. @throws UsageError while files hold a certificate of another */
  finishRotation(): CertsFolder {
    const [newest] = this.#authorities;
    const files = [...new Set(this.#issued.map(({ file }) => file))];
    const old = files.filter((file) => {
      const entry = this.current(file);
      return entry !== undefined && entry.revokedMs === undefined && !this.isOfNewestCa(entry);
    });
    if (old.length > 0) {
      throw new UsageError(
        `certificates of the old CA are in use: ${old.join(", ")}`,
        `orloj certs rotate ${old.join(" ")}`,
      );
    }
    return this.#withAuthorities(newest === undefined ? [] : [newest]);
  }

  /** Revokes what the files of a name hold now, or a serial number. @throws UsageError for what was not issued here, or is revoked */
  revoke(which: string, nowMs: number): Entry {
    const serial = plainHex(which.replaceAll(":", ""));
    const entry = this.current(which) ?? this.#issued.find((one) => one.serial === serial);
    if (entry === undefined) throw unknownName(which);
    if (entry.revokedMs !== undefined) {
      throw new UsageError(`${which} was revoked at ${new Date(entry.revokedMs).toISOString()}`, "orloj certs show");
    }
    const revoked = { ...entry, revokedMs: nowMs };
    this.#issued = this.#issued.map((one) => (one === entry ? revoked : one));
    this.#write("index.json", this.#indexText());
    return revoked;
  }

  /** Signs the lists anew. What has expired needs no entry any more. */
  async writeLists(validity: Validity): Promise<void> {
    const lists = this.#authorities.map(async (authority) => {
      const serial = plainHex(authority.certificate.serialNumber);
      const revoked = this.#issued.flatMap((entry) =>
        entry.issuer === serial && entry.revokedMs !== undefined && entry.untilMs > validity.fromMs
          ? [{ serial: entry.serial, timeMs: entry.revokedMs }]
          : [],
      );
      return await makeRevocationList(authority, revoked, validity);
    });
    this.#write("ca.crl", (await Promise.all(lists)).join(""));
  }

  async #issue(file: string, kind: Entry["kind"], wanted: Wanted, validity: Validity): Promise<Entry> {
    const authority = this.#authorities[0] as Authority;
    const endMs = Date.parse(authority.certificate.validTo);
    if (validity.untilMs > endMs) {
      const message = `the CA is valid until ${new Date(endMs).toISOString()}, and the certificate would be for longer`;
      throw new UsageError(message, "use a shorter --valid, or begin a new CA: orloj certs rotate ca");
    }
    const made: Made = await makeCertificate(authority, wanted, validity);
    const certificate = new X509Certificate(made.cert);
    const entry: Entry = {
      ...{ file, kind, wanted, serial: plainHex(certificate.serialNumber) },
      issuer: plainHex(authority.certificate.serialNumber),
      untilMs: Date.parse(certificate.validTo),
    };
    this.#issued = [...this.#issued, entry];
    this.#write("index.json", this.#indexText());
    this.#write(`${file}.key`, made.key, 0o600);
    this.#write(`${file}.crt`, made.cert);
    return entry;
  }

  #withAuthorities(authorities: readonly Authority[]): CertsFolder {
    const folder = new CertsFolder(this.path, { trustDomain: this.trustDomain, issued: this.#issued }, authorities);
    const keys = authorities.map(({ key }) => key.export({ type: "pkcs8", format: "pem" }).toString());
    folder.#write("ca.key", keys.join(""), 0o600);
    folder.#write("ca.crt", authorities.map(({ certificate }) => certificate.toString()).join(""));
    return folder;
  }

  #indexText(): string {
    const index: Index = { trustDomain: this.trustDomain, issued: this.#issued };
    return `${JSON.stringify(index, null, 2)}\n`;
  }

  // Beside it first, so that whoever reads meanwhile has the old one or the new one.
  #write(name: string, text: string, mode = 0o644): void {
    const path = join(this.path, name);
    writing(path, () => {
      const temporary = `${path}.${process.pid}`;
      writeFileSync(temporary, text, { mode, flag: "wx" });
      renameSync(temporary, path);
    });
  }
}

function authorityOf(cert: string, key: string): Authority {
  const [certificate] = certificatesOf(cert);
  const privateKey = createPrivateKey(key);
  if (certificate?.checkPrivateKey(privateKey) !== true) throw new Error("a key that is not the certificate's");
  return { certificate, key: privateKey };
}

function indexOf(path: string, text: string): Index {
  try {
    const { trustDomain, issued } = JSON.parse(text) as Partial<Index>;
    if (typeof trustDomain === "string" && Array.isArray(issued)) return { trustDomain, issued };
  } catch {
    // Said below.
  }
  throw new UsageError(`${path} is not an index of certificates`, "restore the folder from a copy");
}

function writing(path: string, work: () => unknown): void {
  try {
    work();
  } catch (error) {
    throw new UsageError(`${path} cannot be written: ${fileErrorWords(error)}`, "name another folder with --dir");
  }
}

function unknownName(name: string): UsageError {
  return new UsageError(`${name} was not issued from this folder`, "orloj certs show lists what was");
}

// Files of one folder as one compressed file (tar, gzip), written while they may change, and read back with a check that it is whole.
// Called by backup.ts and restore.ts. Any tar reads it; the first entry says what it is, the last one its count and digest.
// Never follows links, never writes outside of the folder that it unpacks to.

import { createHash, type Hash } from "node:crypto";
import { createReadStream, createWriteStream, type WriteStream } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { finished } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { DomainError, messageOf } from "../../../kit/errors.ts";
import { type Json, parseJson } from "../../../kit/json.ts";
import { MIB } from "../../../kit/units.ts";

const BLOCK = 512;
const NAME_BYTES_MAX = 100;
const READ_BYTES = 1 * MIB;
const LEVEL = 3;
/** Names of the first and the last entry. */
const ABOUT = "orloj-backup.json";
const END = "orloj-backup-end.json";

/** Writes one archive; entries are in the order in which they are added. */
export class ArchiveWriter {
  readonly #gzip = createGzip({ level: LEVEL });
  readonly #digest = createHash("sha256");
  readonly #file: WriteStream;
  readonly #written: Promise<void>;
  #files = 0;
  #bytes = 0;

  /** @param path a new file, readable by its owner only; one that is there is an error */
  constructor(path: string) {
    const file = createWriteStream(path, { mode: 0o600, flags: "wx", flush: true });
    this.#gzip.pipe(file);
    this.#file = file;
    this.#gzip.on("error", (error) => file.destroy(error));
    this.#written = finished(file);
    // Whoever adds or finishes is told.
    this.#written.catch(() => undefined);
  }

  /** Says what the archive is; comes first. */
  async about(what: Json): Promise<void> {
    await this.text(ABOUT, `${JSON.stringify(what, null, 2)}\n`);
  }

  async folder(name: string): Promise<void> {
    await this.#put(header(`${name}/`, 0, "5"));
  }

  async text(name: string, text: string): Promise<void> {
    const bytes = Buffer.from(text);
    await this.#begin(name, bytes.length);
    await this.#content(bytes);
    await this.#put(padding(bytes.length));
  }

  /**
   * Adds a file as long as it is now. What it loses meanwhile is filled with zeros: the log that is kept beside it has the truth.
   *
   * @returns false if the file is gone
   */
  async file(name: string, path: string): Promise<boolean> {
    const file = await open(path, "r").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw error;
    });
    if (file === undefined) return false;
    try {
      const { size } = await file.stat();
      await this.#begin(name, size);
      for (let at = 0; at < size; ) {
        const buffer = Buffer.alloc(Math.min(READ_BYTES, size - at));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
        at += bytesRead === 0 ? buffer.length : bytesRead;
        await this.#content(bytesRead === 0 ? buffer : buffer.subarray(0, bytesRead));
      }
      await this.#put(padding(size));
      return true;
    } finally {
      await file.close();
    }
  }

  /** Writes the end; resolves when all is on disk. */
  async finish(): Promise<{ readonly files: number; readonly bytes: number }> {
    const totals = { files: this.#files, bytes: this.#bytes };
    const end = Buffer.from(`${JSON.stringify({ ...totals, sha256: this.#digest.digest("hex") })}\n`);
    await this.#put(Buffer.concat([header(END, end.length, "0"), end, padding(end.length), Buffer.alloc(2 * BLOCK)]));
    this.#gzip.end();
    await this.#written;
    return totals;
  }

  /** Gives up; the file that was begun is the caller's to remove. */
  abandon(): void {
    this.#gzip.destroy();
    this.#file.destroy();
  }

  async #begin(name: string, size: number): Promise<void> {
    this.#files += 1;
    noteName(this.#digest, name, size);
    await this.#put(header(name, size, "0"));
  }

  async #content(bytes: Buffer): Promise<void> {
    this.#bytes += bytes.length;
    this.#digest.update(bytes);
    await this.#put(bytes);
  }

  async #put(bytes: Buffer): Promise<void> {
    if (bytes.length === 0 || this.#gzip.write(bytes)) return;
    const drained = new Promise<void>((resolve) => this.#gzip.once("drain", () => resolve()));
    // A disk that is full ends the file, and nothing drains any more.
    await Promise.race([drained, this.#written]);
  }
}

/** What an archive says of itself. @throws DomainError CONFIG_INVALID for another file */
export async function readAbout(path: string): Promise<Json> {
  for await (const entry of entriesOf(path)) {
    if (entry.name !== ABOUT) break;
    return parseJson(await textOf(entry));
  }
  throw notWhole(path, "it is no backup of orloj");
}

/** Unpacks an archive into a folder, which is made. @throws DomainError CONFIG_INVALID if it is not whole; then the folder is worth nothing */
export async function unpack(
  path: string,
  folder: string,
): Promise<{ readonly files: number; readonly bytes: number }> {
  const digest = createHash("sha256");
  const totals = { files: 0, bytes: 0 };
  await mkdir(folder, { mode: 0o700 });
  for await (const entry of entriesOf(path)) {
    if (entry.name === END) {
      const said = parseJson(await textOf(entry)) as Record<string, Json>;
      const is = { ...totals, sha256: digest.digest("hex") };
      const same = said["files"] === is.files && said["bytes"] === is.bytes && said["sha256"] === is.sha256;
      if (!same) throw notWhole(path, "its content is not what was written");
      return totals;
    }
    if (entry.folder) {
      await mkdir(join(folder, entry.name), { mode: 0o700, recursive: true });
      continue;
    }
    totals.files += 1;
    noteName(digest, entry.name, entry.size);
    const file = entry.name === ABOUT ? undefined : await newFile(join(folder, entry.name));
    try {
      for await (const bytes of entry.content) {
        totals.bytes += bytes.length;
        digest.update(bytes);
        await file?.write(bytes);
      }
      await file?.sync();
    } finally {
      await file?.close();
    }
  }
  throw notWhole(path, "its end is missing");
}

async function newFile(path: string) {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  return await open(path, "wx", 0o600);
}

function noteName(digest: Hash, name: string, size: number): void {
  digest.update(`\n${name} ${size}\n`);
}

interface Entry {
  readonly name: string;
  readonly size: number;
  readonly folder: boolean;
  /** To be read before the next entry is asked for. */
  readonly content: AsyncIterable<Buffer>;
}

async function textOf({ content }: Entry): Promise<string> {
  const parts: Buffer[] = [];
  for await (const bytes of content) parts.push(bytes);
  return Buffer.concat(parts).toString("utf8");
}

async function* entriesOf(path: string): AsyncGenerator<Entry> {
  const input = createReadStream(path);
  const gunzip = createGunzip();
  input.on("error", (error) => gunzip.destroy(error));
  input.pipe(gunzip);
  const bytes = new ByteSource(gunzip[Symbol.asyncIterator]() as AsyncIterator<Buffer>, path);
  try {
    for (;;) {
      const block = await bytes.exactly(BLOCK);
      if (block.every((byte) => byte === 0)) return;
      const { name, size, folder } = parsedHeader(block, path);
      let left = size;
      const content = async function* () {
        while (left > 0) {
          const part = await bytes.some(left);
          left -= part.length;
          yield part;
        }
      };
      yield { name, size, folder, content: content() };
      while (left > 0) left -= (await bytes.some(left)).length;
      await bytes.exactly(padding(size).length);
    }
  } finally {
    input.destroy();
    gunzip.destroy();
  }
}

class ByteSource {
  readonly #source: AsyncIterator<Buffer>;
  readonly #path: string;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterator<Buffer>, path: string) {
    this.#source = source;
    this.#path = path;
  }

  /** At least one byte, at most so many. @throws when there is none */
  async some(most: number): Promise<Buffer> {
    while (this.#rest.length === 0) {
      const { value, done } = await this.#source.next().catch((error: unknown) => {
        throw unreadable(this.#path, error);
      });
      if (done === true) throw notWhole(this.#path, "it ends too early");
      this.#rest = value;
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    return part;
  }

  async exactly(count: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let left = count; left > 0; ) {
      const part = await this.some(left);
      parts.push(part);
      left -= part.length;
    }
    return Buffer.concat(parts);
  }
}

// POSIX.1-1988 (ustar): https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
function header(name: string, size: number, type: "0" | "5"): Buffer {
  const block = Buffer.alloc(BLOCK);
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) throw new Error(`the name ${name} is too long for an archive`);
  block.write(name, 0);
  block.write(type === "5" ? "0000700" : "0000600", 100);
  for (const at of [108, 116]) block.write("0000000", at);
  block.write(size.toString(8).padStart(11, "0"), 124);
  block.write("00000000000", 136);
  block.write("        ", 148);
  block.write(type, 156);
  block.write("ustar\u000000", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\u0000 `, 148);
  return block;
}

function parsedHeader(block: Buffer, path: string): { name: string; size: number; folder: boolean } {
  const text = (from: number, length: number) =>
    block
      .subarray(from, from + length)
      .toString("utf8")
      .replace(/\u0000.*$/s, "");
  const sum = Buffer.concat([block.subarray(0, 148), Buffer.alloc(8, " "), block.subarray(156)]).reduce(
    (a, b) => a + b,
    0,
  );
  const name = text(0, NAME_BYTES_MAX).replace(/\/$/, "");
  const type = text(156, 1);
  const sound = Number.parseInt(text(148, 8), 8) === sum && text(257, 5) === "ustar" && /^[05]$/.test(type);
  if (!sound) throw notWhole(path, "it is no archive that orloj wrote");
  if (name === "" || name.startsWith("/") || name.split("/").includes("..")) {
    throw notWhole(path, `it holds the name ${JSON.stringify(name)}`);
  }
  return { name, size: Number.parseInt(text(124, 12), 8), folder: type === "5" };
}

function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

function unreadable(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return new DomainError("CONFIG_INVALID", `there is no file ${path}`);
  if (code !== undefined && !/^(Z_|ERR_STREAM_PREMATURE)/.test(code)) return error;
  return notWhole(path, messageOf(error));
}

function notWhole(path: string, why: string): DomainError {
  return new DomainError("CONFIG_INVALID", `${path} cannot be restored: ${why}; take another backup file`);
}

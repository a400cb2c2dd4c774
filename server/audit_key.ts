// The key that signs heads of the audit trail, and the place outside of the database that they go to: a file, or standard output.
// Called by main.ts at start. The key is made once, readable by its owner only (0600), and is never logged or sent.
// A file of heads is only ever appended to; it may be moved away at any time, then a new one begins.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { appendFileSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DomainError, messageOf } from "../kit/errors.ts";
import { type Checkpoint, type SigningKey, signingKey } from "./audit/checkpoint.ts";
import { lineText, readLine } from "./audit/export_lines.ts";
import type { HeadSink } from "./dispatch/head_keeper.ts";

/** Reads the key of a file, or the one under home, which is made when it is not there. @throws CONFIG_INVALID for a file that holds no such key */
export function loadAuditKey(home: string, file: string | undefined): SigningKey {
  const path = file ?? join(home, "audit-key.pem");
  if (file === undefined) makeOnce(home, path);
  try {
    return signingKey(readFileSync(path, "utf8"), path);
  } catch (error) {
    if (error instanceof DomainError) throw error;
    throw new DomainError("CONFIG_INVALID", `--audit-key: ${path} cannot be read: ${messageOf(error)}`);
  }
}

/** Where heads go: `stdout`, or a file; by default one under home. */
export function headSink(home: string, where: string | undefined, print: (text: string) => void): HeadSink {
  if (where === "stdout") return { last: () => undefined, onlyNewest: true, write: (head) => print(textOf(head)) };
  const path = where ?? join(home, "audit-heads.ndjson");
  // A line that a crash cut off gets its end, and stays: the next one must not become part of it.
  let gap = "";
  return {
    last() {
      const text = readHeads(path);
      gap = text === "" || text.endsWith("\n") ? "" : "\n";
      return lastHead(text);
    },
    onlyNewest: false,
    write(head) {
      appendFileSync(path, gap + textOf(head), { mode: 0o644, flush: true });
      gap = "";
    },
  };
}

function textOf(head: Checkpoint): string {
  return `${lineText({ type: "head", ...head })}\n`;
}

// Written whole under another name first: of two servers that start at once one wins, and the other reads what it made.
function makeOnce(home: string, path: string): void {
  mkdirSync(home, { recursive: true, mode: 0o755 });
  const temporary = `${path}.${randomUUID()}`;
  const { privateKey } = generateKeyPairSync("ed25519");
  writeFileSync(temporary, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  try {
    linkSync(temporary, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(temporary);
  }
}

function readHeads(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw new DomainError("CONFIG_INVALID", `--audit-heads: ${path} cannot be read: ${messageOf(error)}`);
  }
}

// The head before a line that was cut off is the last one that left whole.
function lastHead(text: string): Checkpoint | undefined {
  for (const line of text.trimEnd().split("\n").reverse()) {
    const read = readLine(line);
    if (typeof read === "string" || read.type !== "head") continue;
    const { type: _, ...head } = read;
    return head;
  }
  return undefined;
}

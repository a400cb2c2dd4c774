// The thread in which untrusted manifests are parsed and checked, so that none of them can hold the server's event loop.
// Started, fed and terminated by pool.ts only; one validation at a time: begin, file by file, then check.
// Holds no catalog and does no I/O: what it needs of the catalog it names, and gets as plain manifests.

import { parentPort } from "node:worker_threads";
import { messageOf } from "../../kit/errors.ts";
import { type ParsedFile, parseFile, type SourceFile } from "./parse.ts";
import { keysNeeded, lookupIn, type ResourceKey } from "./references.ts";
import type { Kind, Manifest } from "./specs.ts";
import { checkFiles, type ReadFiles, readFiles, type Validation } from "./validate.ts";

/** What the pool asks. */
export type ThreadRequest =
  | { readonly type: "begin"; readonly defaultNamespace: string | undefined }
  | { readonly type: "parse"; readonly source: SourceFile }
  | { readonly type: "file"; readonly source: SourceFile }
  | { readonly type: "needs" }
  | {
      readonly type: "check";
      readonly stored: readonly Manifest[];
      readonly storedNames: Readonly<Partial<Record<Kind, readonly string[]>>>;
      readonly strict: boolean;
    };

/** What the thread answers to each type of request. */
export interface ThreadAnswers {
  begin: null;
  parse: ParsedFile;
  file: null;
  needs: readonly ResourceKey[];
  check: Validation;
}

/** An answer: the value, or why there is none. */
export type ThreadReply =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly error: string };

let defaultNamespace: string | undefined;
const NOTHING: ReadFiles = { documents: [], broken: [], findings: [], diagnostics: [] };
let read: ReadFiles = NOTHING;

function answer(request: ThreadRequest): ThreadAnswers[ThreadRequest["type"]] {
  switch (request.type) {
    case "begin":
      defaultNamespace = request.defaultNamespace;
      read = NOTHING;
      return null;
    case "parse":
      return parseFile(request.source);
    case "file": {
      const { documents, broken, findings, diagnostics } = readFiles([parseFile(request.source)], defaultNamespace);
      read = {
        documents: [...read.documents, ...documents],
        broken: [...read.broken, ...broken],
        findings: [...read.findings, ...findings],
        diagnostics: [...read.diagnostics, ...diagnostics],
      };
      return null;
    }
    case "needs":
      return keysNeeded(read.documents.map((document) => document.manifest));
    case "check": {
      const storedNames = (kind: Kind) => request.storedNames[kind] ?? [];
      return checkFiles(read, lookupIn(request.stored), { strict: request.strict, storedNames });
    }
  }
}

const port = parentPort;
port?.on("message", (request: ThreadRequest) => {
  let reply: ThreadReply;
  try {
    reply = { ok: true, value: answer(request) };
  } catch (error) {
    reply = { ok: false, error: messageOf(error) };
  }
  port.postMessage(reply);
});
port?.postMessage({ ok: true, value: "ready" } satisfies ThreadReply);

// The configuration file: who may call (identity), the certificates of the API listener (tls), and which secrets the manifests of a
// namespace may name (secrets). YAML, strict, with positions.
// Called by config.ts once at start. Paths in it are taken from its folder. Holds names of files, never a secret.

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { DomainError, messageOf } from "../kit/errors.ts";
import { readIdentity } from "./identity/read_settings.ts";
import { type IdentitySettings, NO_IDENTITY } from "./identity/settings.ts";
import { type Diagnostic, Findings, formatDiagnostic } from "./manifests/diagnostics.ts";
import { Fields } from "./manifests/fields.ts";
import { parseFile } from "./manifests/parse.ts";
import type { Tree } from "./manifests/tree.ts";
import type { AllowanceList } from "./secrets/allowances.ts";
import { readAllowances } from "./secrets/read_allowances.ts";

/** Files of TLS, absolute; PEM. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** Whose client certificates are taken; absent: none is asked for. */
  readonly clientCa?: string;
}

/** What the file says. */
export interface FileConfig {
  readonly identity: IdentitySettings;
  readonly tls?: TlsFiles;
  /** Which secrets a namespace's manifests may name. Absent: all. */
  readonly secretAllowances?: AllowanceList;
}

/** Reads the file. @throws CONFIG_INVALID with every finding, one a line: file:line:column */
export function readConfigFile(file: string): FileConfig {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw invalid(`--config ${file} cannot be read: ${messageOf(error)}`);
  }
  const parsed = parseFile({ file, bytes });
  refuse(parsed.diagnostics);
  const [document, second] = parsed.documents;
  const findings = new Findings(file);
  if (document === undefined) return { identity: NO_IDENTITY };
  if (second !== undefined) findings.error("E-VALUE", second.at, "", "the file has several documents", "keep one");
  const config = readDocument(findings, document, dirname(resolve(file)));
  refuse(findings.list);
  return config;
}

function readDocument(findings: Findings, document: Tree, folder: string): FileConfig {
  const root = Fields.of(findings, document, "", ["identity", "tls", "secrets"]);
  if (root === undefined) return { identity: NO_IDENTITY };
  const tree = root.get("identity");
  const identity = tree === undefined ? NO_IDENTITY : readIdentity(findings, tree, "identity");
  const tls = readTls(root, folder);
  const secrets = root.get("secrets");
  const secretAllowances = secrets && readAllowances(findings, secrets, "secrets");
  if (identity.clients.length > 0 && tls?.clientCa === undefined) {
    const hint = "tls.clientCa names whose client certificates are taken";
    findings.error(
      "E-MISSING",
      root.positionOf("identity"),
      "identity.clients",
      "no client certificate is asked for",
      hint,
    );
  }
  if (identity.clients.length === 0 && tls?.clientCa !== undefined) {
    const hint = "identity.clients says whom certificates stand for";
    findings.error("E-MISSING", root.positionOf("tls"), "tls.clientCa", "no client is named", hint);
  }
  const issuers = identity.issuers.map((issuer) =>
    issuer.jwksFile === undefined ? issuer : { ...issuer, jwksFile: resolve(folder, issuer.jwksFile) },
  );
  return { identity: { ...identity, issuers }, ...(tls && { tls }), ...(secretAllowances && { secretAllowances }) };
}

function readTls(root: Fields, folder: string): TlsFiles | undefined {
  const tree = root.get("tls");
  const fields = tree && Fields.of(root.findings, tree, "tls", ["cert", "key", "clientCa"]);
  if (fields === undefined) return undefined;
  const [cert, key, clientCa] = [
    fields.requiredString("cert"),
    fields.requiredString("key"),
    fields.string("clientCa"),
  ];
  if (cert === undefined || key === undefined) return undefined;
  const ca = clientCa === undefined ? {} : { clientCa: resolve(folder, clientCa) };
  return { cert: resolve(folder, cert), key: resolve(folder, key), ...ca };
}

function refuse(diagnostics: readonly Diagnostic[]): void {
  if (diagnostics.length === 0) return;
  throw invalid(`the configuration file has errors\n${diagnostics.map(formatDiagnostic).join("\n")}`);
}

function invalid(message: string): DomainError {
  return new DomainError("CONFIG_INVALID", message);
}

// The configuration file: who may call (identity), the certificates of the API listener (tls) and of the worker listener (workers), which
// secrets the manifests of a namespace may name (secrets), and how much callers and namespaces may use (limits). YAML, strict, with positions.
// Called by config.ts once at start. Paths in it are taken from its folder. Holds names of files, never a secret.

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { DomainError, messageOf } from "../kit/errors.ts";
import { readIdentity, readTrustDomain } from "./identity/read_settings.ts";
import { type IdentitySettings, NO_IDENTITY } from "./identity/settings.ts";
import { type LimitSettings, NO_LIMITS, readLimits } from "./limit_settings.ts";
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
  /** Revocation lists of those CAs, PEM or DER; absent: nothing is revoked. */
  readonly crl?: string;
}

/** What the file says of the worker listener. */
export interface WorkersSection {
  readonly trustDomain?: string;
  readonly tls?: Partial<TlsFiles>;
}

/** What the file says. */
export interface FileConfig {
  readonly identity: IdentitySettings;
  readonly tls?: TlsFiles;
  readonly workers?: WorkersSection;
  /** Which secrets a namespace's manifests may name. Absent: all. */
  readonly secretAllowances?: AllowanceList;
  readonly limits: LimitSettings;
}

const NOTHING: FileConfig = { identity: NO_IDENTITY, limits: NO_LIMITS };

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
  if (document === undefined) return NOTHING;
  if (second !== undefined) findings.error("E-VALUE", second.at, "", "the file has several documents", "keep one");
  const config = readDocument(findings, document, dirname(resolve(file)));
  refuse(findings.list);
  return config;
}

function readDocument(findings: Findings, document: Tree, folder: string): FileConfig {
  const root = Fields.of(findings, document, "", ["identity", "tls", "workers", "secrets", "limits"]);
  if (root === undefined) return NOTHING;
  const tree = root.get("identity");
  const identity = tree === undefined ? NO_IDENTITY : readIdentity(findings, tree, "identity");
  const tls = readTls(root, folder);
  const workers = readWorkers(root, folder);
  const secrets = root.get("secrets");
  const secretAllowances = secrets && readAllowances(findings, secrets, "secrets");
  const limitsTree = root.get("limits");
  const limits = limitsTree === undefined ? NO_LIMITS : readLimits(findings, limitsTree, "limits");
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
  return {
    identity: { ...identity, issuers },
    ...(tls && { tls }),
    ...(workers && { workers }),
    ...(secretAllowances && { secretAllowances }),
    limits,
  };
}

const TLS_FILES = ["cert", "key", "clientCa", "crl"] as const;

function readTls(root: Fields, folder: string): TlsFiles | undefined {
  const tree = root.get("tls");
  const fields = tree && Fields.of(root.findings, tree, "tls", TLS_FILES);
  if (fields === undefined) return undefined;
  const files = filesOf(fields, folder);
  for (const name of ["cert", "key"] as const) if (!fields.has(name)) fields.missing(name);
  if (fields.has("crl") && !fields.has("clientCa")) fields.missing("clientCa");
  const { cert, key } = files;
  return cert === undefined || key === undefined ? undefined : { ...files, cert, key };
}

// Flags and the environment may give what is missing here: worker_listener.ts puts them together.
function readWorkers(root: Fields, folder: string): WorkersSection | undefined {
  const tree = root.get("workers");
  const fields = tree && Fields.of(root.findings, tree, "workers", ["trustDomain", "tls"]);
  if (fields === undefined) return undefined;
  const trustDomain = readTrustDomain(fields);
  const files = fields.get("tls");
  const tls = files && Fields.of(root.findings, files, "workers.tls", TLS_FILES);
  return { ...(trustDomain !== undefined && { trustDomain }), ...(tls && { tls: filesOf(tls, folder) }) };
}

function filesOf(fields: Fields, folder: string): Partial<TlsFiles> {
  const named = TLS_FILES.map((name) => [name, fields.string(name)] as const);
  return Object.fromEntries(
    named.flatMap(([name, file]) => (file === undefined ? [] : [[name, resolve(folder, file)]])),
  );
}

function refuse(diagnostics: readonly Diagnostic[]): void {
  if (diagnostics.length === 0) return;
  throw invalid(`the configuration file has errors\n${diagnostics.map(formatDiagnostic).join("\n")}`);
}

function invalid(message: string): DomainError {
  return new DomainError("CONFIG_INVALID", message);
}

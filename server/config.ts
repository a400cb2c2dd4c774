// The server's configuration: flags, then ORLOJ_* variables, then defaults; joined, checked and frozen once at start.
// Called by main.ts; nothing else of the server reads the environment. Never holds a default credential.

import { isIP } from "node:net";
import { parseArgs } from "node:util";
import { CONFIG_NAMES, unknownConfigNames } from "../kit/config_names.ts";
import { DomainError, messageOf } from "../kit/errors.ts";
import { DAY, HOUR, MINUTE, parseDuration, SECOND } from "../kit/units.ts";
import { readTracing, type TracingSettings } from "../tracing/settings.ts";
import { RETENTION_DEFAULTS, type RetentionSettings } from "./commands/remove_expired.ts";
import { DEVELOPMENT_GROUPS } from "./commands/tokens.ts";
import { type FileConfig, readConfigFile, type TlsFiles } from "./config_file.ts";
import { databaseUrlOf, isPostgresUrl, POSTGRES_URL_RULE } from "./database_urls.ts";
import { LEASE_TTL_MS } from "./dispatch/timing.ts";
import { type IdentitySettings, NO_IDENTITY } from "./identity/settings.ts";
import { type LimitSettings, NO_LIMITS } from "./limit_settings.ts";
import type { PolicySet } from "./policy/types.ts";
import { isLoopback } from "./rpc/listeners.ts";
import type { AllowanceList } from "./secrets/allowances.ts";
import type { LogLevel } from "./telemetry/log.ts";
import {
  readWorkerListener,
  WORKER_LISTENER_FLAGS,
  WORKER_LISTENER_HELP,
  type WorkerListener,
} from "./worker_listener.ts";

/** Environment of a process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The server's configuration. */
export interface ServerConfig {
  readonly help: boolean;
  /** Where state lives when it is not in a database of yours: embedded Postgres, tokens. */
  readonly home: string;
  /** Absent: an embedded Postgres under home. */
  readonly databaseUrl?: string;
  /** As the role that may remove old audit records; absent: the server's own role does it, if it may. */
  readonly maintenanceDatabaseUrl?: string;
  readonly migrate: "auto" | "check";
  /** Address of the API listener; beyond loopback only with tls and somebody who may call. */
  readonly host: string;
  /** Where workers are served, and by which certificates. */
  readonly workers: WorkerListener;
  /** Address of the ops listener, which asks for no credentials wherever it is. */
  readonly opsHost: string;
  /** Certificates of the API listener; absent: no TLS. */
  readonly tls?: TlsFiles;
  /** Who may call, beside those with tokens. */
  readonly identity: IdentitySettings;
  /** 0: any free port. */
  readonly ports: { readonly api: number; readonly worker: number; readonly ops: number };
  /** What the operator bounds otherwise than by default. */
  readonly limits: LimitSettings;
  readonly leaseTtlMs: number;
  readonly retention: RetentionSettings;
  /** What becomes of something that no enforcing policy decides. */
  readonly unattached: PolicySet["unattached"];
  /** The key that signs heads of the audit trail, and where they go: `stdout`, or a file. Absent: files under home. */
  readonly audit: { readonly keyFile?: string; readonly heads?: string };
  readonly logLevel: LogLevel;
  /** Absent: tracing is off. */
  readonly tracing?: TracingSettings;
  readonly developmentGroups: readonly string[];
  readonly secretsDirectory?: string;
  /** Which secrets a namespace's manifests may name. Absent: all. */
  readonly secretAllowances?: AllowanceList;
  readonly poolMax: number;
}

const LOCAL_HOST = "127.0.0.1";
const PORTS = { api: 7601, worker: 7602, ops: 7603 } as const;
const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** Help text of `orloj server`. */
export const SERVER_HELP = `Usage: orloj server [options]

Runs the control plane. With no database of its own it starts an embedded Postgres under ORLOJ_HOME.

Options:
  --config FILE        who may call, TLS, limits, who may name which secrets: see docs/configuration.md (ORLOJ_CONFIG)
  --host ADDR          address of the API; default 127.0.0.1, beyond loopback only with TLS and identities (ORLOJ_HOST)
${WORKER_LISTENER_HELP}  --database-url URL   Postgres to use instead (ORLOJ_DATABASE_URL, or the file that ORLOJ_DATABASE_URL_FILE names)
  --maintenance-database-url URL  the same as the role that removes old audit records (ORLOJ_MAINTENANCE_DATABASE_URL)
  --home DIR           where local state lives; default .orloj (ORLOJ_HOME)
  --api-port N         Connect, gRPC, gRPC-Web and JSON; default ${PORTS.api}, 0 for any (ORLOJ_API_PORT)
  --worker-port N      worker streams; default ${PORTS.worker} (ORLOJ_WORKER_PORT)
  --ops-port N         /healthz, /readyz and /metrics; default ${PORTS.ops} (ORLOJ_OPS_PORT)
  --ops-host ADDR      address of these; default 127.0.0.1. They ask for no credentials: beyond it only in a network you trust (ORLOJ_OPS_HOST)
  --lease-ttl D        lease length, 1s to 10m; default 30s (ORLOJ_LEASE_TTL)
  --run-retention D    how long finished runs are kept, 1h to 3650d; default 90d (ORLOJ_RUN_RETENTION)
  --dead-letter-retention D  and at least those with dead letters; default 30d (ORLOJ_DEAD_LETTER_RETENTION)
  --audit-retention D  how long audit records are kept; default 365d, off: for ever (ORLOJ_AUDIT_RETENTION)
  --audit-key FILE     Ed25519 key (PEM) that signs heads of the audit trail; default: made under home (ORLOJ_AUDIT_KEY)
  --audit-heads WHERE  where signed heads go: a file, or stdout; default audit-heads.ndjson under home (ORLOJ_AUDIT_HEADS)
  --unattached WHAT    allow (default) or deny what no enforcing policy is attached to (ORLOJ_UNATTACHED)
  --migrate MODE       auto (default) or check
  --dev-groups A,B     groups of the development principal; default ${DEVELOPMENT_GROUPS.join(",")}
  --log-level LEVEL    ${LOG_LEVELS.join(", ")} (ORLOJ_LOG_LEVEL)
  --secrets-dir DIR    secrets as files NAME/KEY (ORLOJ_SECRETS_DIR); else ORLOJ_SECRET_<NAME>_<KEY>
  -h, --help           this text

ORLOJ_TRACING=otlp sends traces to OTEL_EXPORTER_OTLP_ENDPOINT; default off.
Workers without certificates are served on 127.0.0.1 only.

Examples:
  orloj server
  orloj server --database-url postgres://orloj@db.example/orloj --migrate check
`;

/** Reads the configuration. @throws CONFIG_INVALID saying which value and what it may be */
export function readServerConfig(argv: readonly string[], env: Environment): ServerConfig {
  const unknown = unknownConfigNames(env);
  if (unknown.length > 0) {
    throw invalid(
      `unknown environment variable ${unknown.join(", ")}; known are ${CONFIG_NAMES.join(", ")} and ORLOJ_SECRET_*`,
    );
  }
  requireDistinctSecrets(env);
  const flags = readFlags(argv);
  const databaseUrl = databaseUrlOf("ORLOJ_DATABASE_URL", flags["database-url"], env);
  const maintenanceUrl = databaseUrlOf("ORLOJ_MAINTENANCE_DATABASE_URL", flags["maintenance-database-url"], env);
  if (maintenanceUrl !== undefined && databaseUrl === undefined) {
    throw invalid(
      "--maintenance-database-url: the embedded Postgres has a role of its own; give --database-url too, or neither",
    );
  }
  const keyFile = flags["audit-key"] ?? env["ORLOJ_AUDIT_KEY"];
  const heads = flags["audit-heads"] ?? env["ORLOJ_AUDIT_HEADS"];
  const configFile = flags.config ?? env["ORLOJ_CONFIG"];
  const file: FileConfig =
    configFile === undefined
      ? { identity: NO_IDENTITY, limits: NO_LIMITS }
      : readConfigFile(named("--config", configFile));
  const secretsDirectory = flags["secrets-dir"] ?? env["ORLOJ_SECRETS_DIR"];
  const workers = readWorkerListener(flags, env, file);
  const tracing = readTracing(env, "orloj-server");
  const config: ServerConfig = {
    help: flags.help === true,
    home: flags.home ?? env["ORLOJ_HOME"] ?? ".orloj",
    ...(databaseUrl !== undefined && { databaseUrl: postgresUrl("ORLOJ_DATABASE_URL", databaseUrl) }),
    ...(maintenanceUrl !== undefined && {
      maintenanceDatabaseUrl: postgresUrl("ORLOJ_MAINTENANCE_DATABASE_URL", maintenanceUrl),
    }),
    migrate: oneOf("--migrate", flags.migrate ?? "auto", ["auto", "check"] as const),
    host: hostOf(flags.host ?? env["ORLOJ_HOST"] ?? LOCAL_HOST, file),
    workers,
    opsHost: addressOf("--ops-host", flags["ops-host"] ?? env["ORLOJ_OPS_HOST"] ?? LOCAL_HOST),
    identity: { ...file.identity, ...(workers.trustDomain && { workerTrustDomain: workers.trustDomain }) },
    limits: file.limits,
    ...(file.tls && { tls: file.tls }),
    ports: {
      api: port("--api-port", flags["api-port"] ?? env["ORLOJ_API_PORT"], PORTS.api),
      worker: port("--worker-port", flags["worker-port"] ?? env["ORLOJ_WORKER_PORT"], PORTS.worker),
      ops: port("--ops-port", flags["ops-port"] ?? env["ORLOJ_OPS_PORT"], PORTS.ops),
    },
    leaseTtlMs: leaseTtl(flags["lease-ttl"] ?? env["ORLOJ_LEASE_TTL"]),
    retention: retention(flags, env),
    unattached: oneOf("--unattached", flags.unattached ?? env["ORLOJ_UNATTACHED"] ?? "allow", [
      "allow",
      "deny",
    ] as const),
    audit: {
      ...(keyFile !== undefined && { keyFile: named("--audit-key", keyFile) }),
      ...(heads !== undefined && { heads: named("--audit-heads", heads) }),
    },
    logLevel: oneOf("--log-level", flags["log-level"] ?? env["ORLOJ_LOG_LEVEL"] ?? "info", LOG_LEVELS),
    ...(tracing && { tracing }),
    developmentGroups: groups(flags["dev-groups"]),
    ...(secretsDirectory !== undefined && { secretsDirectory }),
    ...(file.secretAllowances && { secretAllowances: file.secretAllowances }),
    poolMax: 12,
  };
  return Object.freeze(config);
}

function readFlags(argv: readonly string[]) {
  const text = { type: "string" } as const;
  const workerListenerOptions = Object.fromEntries(WORKER_LISTENER_FLAGS.map((flag) => [flag, text])) as Record<
    (typeof WORKER_LISTENER_FLAGS)[number],
    typeof text
  >;
  try {
    return parseArgs({
      args: [...argv],
      options: {
        ...{ "database-url": text, "maintenance-database-url": text },
        ...{ home: text, "api-port": text, "worker-port": text, "ops-port": text, "ops-host": text },
        ...{ "lease-ttl": text, migrate: text, "dev-groups": text, "log-level": text, "secrets-dir": text },
        ...{ "run-retention": text, "dead-letter-retention": text, "audit-retention": text },
        unattached: text,
        ...workerListenerOptions,
        ...{ "audit-key": text, "audit-heads": text, config: text, host: text },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    throw invalid(`${messageOf(error)}; see orloj server --help`);
  }
}

// Two variables that differ only in case are one secret on some systems and two on others: refuse to guess.
function requireDistinctSecrets(env: Environment): void {
  const seen = new Map<string, string>();
  for (const name of Object.keys(env).filter((key) => key.startsWith("ORLOJ_SECRET_"))) {
    const mapped = name.toUpperCase().replace(/[^A-Z0-9]/g, "_");
    const other = seen.get(mapped);
    if (other !== undefined) throw invalid(`${other} and ${name} name the same secret; keep one`);
    seen.set(mapped, name);
  }
}

// An API that others can reach needs TLS; that it needs somebody who may call is checked once the database is open.
function hostOf(host: string, { tls }: FileConfig): string {
  if (isLoopback(addressOf("--host", host)) || tls !== undefined) return host;
  throw invalid(
    `--host: ${host} is beyond this machine, and there is no TLS: name tls.cert and tls.key in the file of --config`,
  );
}

function addressOf(name: string, host: string): string {
  if (isIP(host) === 0 && host !== "localhost") throw invalid(`${name}: "${host}" is not an IP address`);
  return host;
}

function postgresUrl(name: string, text: string): string {
  if (!isPostgresUrl(text)) throw invalid(`${name} ${POSTGRES_URL_RULE}`);
  return text;
}

function port(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!/^\d{1,5}$/.test(text) || value > 65_535) throw invalid(`${name}: "${text}" is not a port; use 0 to 65535`);
  return value;
}

function leaseTtl(text: string | undefined): number {
  const value = text === undefined ? LEASE_TTL_MS : parseDuration(text);
  if (value === undefined || value < SECOND || value > 10 * MINUTE)
    throw invalid(`--lease-ttl: "${text}" is not a duration between 1s and 10m`);
  return value;
}

function retention(flags: ReturnType<typeof readFlags>, env: Environment): RetentionSettings {
  const runs = flags["run-retention"] ?? env["ORLOJ_RUN_RETENTION"];
  const letters = flags["dead-letter-retention"] ?? env["ORLOJ_DEAD_LETTER_RETENTION"];
  const audit = flags["audit-retention"] ?? env["ORLOJ_AUDIT_RETENTION"];
  return {
    runsMs: keptFor("--run-retention", runs, RETENTION_DEFAULTS.runsMs),
    deadLettersMs: keptFor("--dead-letter-retention", letters, RETENTION_DEFAULTS.deadLettersMs),
    ...(audit !== "off" &&
      audit !== "0" && { auditMs: keptFor("--audit-retention", audit, RETENTION_DEFAULTS.auditMs) }),
  };
}

function keptFor(name: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : parseDuration(text);
  if (value !== undefined && value >= HOUR && value <= 3_650 * DAY) return value;
  const off = name === "--audit-retention" ? ", or off" : "";
  throw invalid(`${name}: "${text}" is not a duration between 1h and 3650d${off}`);
}

function named(name: string, text: string): string {
  if (text.trim() === "") throw invalid(`${name}: is empty; name a file, or leave it out`);
  return text;
}

function groups(text: string | undefined): readonly string[] {
  return text === undefined ? DEVELOPMENT_GROUPS : text.split(",").filter(Boolean);
}

function oneOf<T extends string>(name: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value);
  if (found === undefined) throw invalid(`${name}: "${value}" is not one of ${allowed.join(", ")}`);
  return found;
}

function invalid(message: string): DomainError {
  return new DomainError("CONFIG_INVALID", message);
}

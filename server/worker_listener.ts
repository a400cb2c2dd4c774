// Where workers are served, and by which certificates: flags, then ORLOJ_WORKER_* variables, then the section `workers` of the configuration file.
// Called by config.ts once at start. Each value is taken from the first place that has it.
// On loopback without certificates workers prove themselves with a join token; with certificates it is mutual TLS wherever the listener is.

import { isIP } from "node:net";
import { DomainError } from "../kit/errors.ts";
import { TRUST_DOMAIN, TRUST_DOMAIN_RULE } from "../kit/spiffe.ts";
import type { FileConfig, TlsFiles } from "./config_file.ts";
import { isLoopback } from "./rpc/listeners.ts";

/** The worker listener. */
export interface WorkerListener {
  readonly host: string;
  /** Mutual TLS; absent: none, on loopback alone. */
  readonly tls?: TlsFiles & { readonly clientCa: string };
  /** Of workers' certificates; there with tls. */
  readonly trustDomain?: string;
}

/** Flags of the worker listener, and the variables that stand for them. */
const VARIABLES = {
  "worker-host": "ORLOJ_WORKER_HOST",
  "worker-tls-cert": "ORLOJ_WORKER_TLS_CERT",
  "worker-tls-key": "ORLOJ_WORKER_TLS_KEY",
  "worker-tls-client-ca": "ORLOJ_WORKER_TLS_CLIENT_CA",
  "worker-tls-crl": "ORLOJ_WORKER_TLS_CRL",
  "worker-trust-domain": "ORLOJ_WORKER_TRUST_DOMAIN",
} as const;
/** What mutual TLS cannot be without. */
const NEEDED = ["worker-tls-cert", "worker-tls-key", "worker-tls-client-ca", "worker-trust-domain"] as const;

type Flag = keyof typeof VARIABLES;
type Values = Readonly<Partial<Record<Flag, string>>>;

/** Names of the flags. */
export const WORKER_LISTENER_FLAGS = Object.keys(VARIABLES) as Flag[];

/** Lines of `orloj server --help`. */
export const WORKER_LISTENER_HELP = `  --worker-host ADDR   address of the worker listener; default 127.0.0.1, beyond loopback only with the next four (ORLOJ_WORKER_HOST)
  --worker-tls-cert FILE       certificate that workers see, PEM (ORLOJ_WORKER_TLS_CERT)
  --worker-tls-key FILE        its key (ORLOJ_WORKER_TLS_KEY)
  --worker-tls-client-ca FILE  CAs of workers' certificates (ORLOJ_WORKER_TLS_CLIENT_CA)
  --worker-trust-domain NAME   of spiffe://NAME/worker/… in them; default identity.trustDomain of --config (ORLOJ_WORKER_TRUST_DOMAIN)
  --worker-tls-crl FILE        revocation lists of those CAs, PEM or DER (ORLOJ_WORKER_TLS_CRL)
`;

/** Reads it. @throws CONFIG_INVALID that names what is missing, and how to get it */
export function readWorkerListener(
  flags: Values,
  env: Readonly<Record<string, string | undefined>>,
  { workers, identity }: Pick<FileConfig, "workers" | "identity">,
): WorkerListener {
  const own = (flag: Flag) => flags[flag] ?? (env[VARIABLES[flag]] || undefined);
  const values: Values = Object.fromEntries(
    Object.entries({
      "worker-host": own("worker-host") ?? "127.0.0.1",
      "worker-tls-cert": own("worker-tls-cert") ?? workers?.tls?.cert,
      "worker-tls-key": own("worker-tls-key") ?? workers?.tls?.key,
      "worker-tls-client-ca": own("worker-tls-client-ca") ?? workers?.tls?.clientCa,
      "worker-tls-crl": own("worker-tls-crl") ?? workers?.tls?.crl,
      "worker-trust-domain": own("worker-trust-domain") ?? workers?.trustDomain ?? identity.trustDomain,
    }).filter(([, value]) => value !== undefined),
  );
  for (const [flag, value] of Object.entries(values)) {
    if (value.trim() === "") throw invalid(`--${flag}: is empty; give a value, or leave it out`);
  }
  const host = hostOf(values["worker-host"] ?? "");
  const { "worker-tls-cert": cert, "worker-tls-key": key, "worker-tls-client-ca": clientCa } = values;
  const { "worker-tls-crl": crl, "worker-trust-domain": trustDomain } = values;
  const isAskedFor = [cert, key, clientCa, crl].some((file) => file !== undefined);
  if (!isAskedFor && isLoopback(host)) return { host };
  const missing = NEEDED.filter((flag) => values[flag] === undefined).map((flag) => `--${flag}`);
  if (cert === undefined || key === undefined || clientCa === undefined || trustDomain === undefined) {
    const why = isAskedFor
      ? "workers prove themselves by certificates"
      : `--worker-host: ${host} is beyond this machine`;
    const how = "orloj certs init, and orloj certs issue server, make what is needed for a start";
    throw invalid(`${why}, and mutual TLS needs ${missing.join(", ")} too; ${how}`);
  }
  if (!TRUST_DOMAIN.test(trustDomain)) {
    throw invalid(`--worker-trust-domain: "${trustDomain}" is no trust domain: ${TRUST_DOMAIN_RULE}`);
  }
  return { host, tls: { cert, key, clientCa, ...(crl !== undefined && { crl }) }, trustDomain };
}

function hostOf(host: string): string {
  if (isIP(host) === 0 && host !== "localhost") throw invalid(`--worker-host: "${host}" is not an IP address`);
  return host;
}

function invalid(message: string): DomainError {
  return new DomainError("CONFIG_INVALID", message);
}

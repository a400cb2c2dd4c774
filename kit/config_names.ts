// Names of every environment variable that some Orloj program reads: one list, so that a mistyped one is an error everywhere.
// Read by the config.ts of the server and of the worker. ORLOJ_SECRET_* is always allowed and not listed.
// Leaf: reads nothing itself.

/** Environment variables that Orloj programs know. */
export const CONFIG_NAMES: readonly string[] = [
  "ORLOJ_HOME",
  "ORLOJ_CONFIG",
  "ORLOJ_HOST",
  "ORLOJ_DATABASE_URL",
  "ORLOJ_DATABASE_URL_FILE",
  "ORLOJ_MAINTENANCE_DATABASE_URL",
  "ORLOJ_MAINTENANCE_DATABASE_URL_FILE",
  "ORLOJ_TEST_DATABASE_URL",
  "ORLOJ_API_PORT",
  "ORLOJ_WORKER_PORT",
  "ORLOJ_OPS_PORT",
  "ORLOJ_OPS_HOST",
  "ORLOJ_CONTEXT",
  "ORLOJ_SERVER",
  "ORLOJ_TOKEN",
  "ORLOJ_CA",
  "ORLOJ_CERT",
  "ORLOJ_KEY",
  "ORLOJ_JOIN_TOKEN",
  "ORLOJ_LOG_LEVEL",
  "ORLOJ_LOG_FORMAT",
  "ORLOJ_TASK_LOGS",
  "ORLOJ_TRACING",
  "ORLOJ_LEASE_TTL",
  "ORLOJ_RUN_RETENTION",
  "ORLOJ_DEAD_LETTER_RETENTION",
  "ORLOJ_AUDIT_RETENTION",
  "ORLOJ_UNATTACHED",
  "ORLOJ_AUDIT_KEY",
  "ORLOJ_AUDIT_HEADS",
  "ORLOJ_SECRETS_DIR",
  "ORLOJ_PRIVATE_NETWORKS",
  "ORLOJ_COMMAND_PATH",
  "ORLOJ_WORK_DIR",
  "ORLOJ_TOOL_MEMORY_MIB",
  "ORLOJ_OPENAI_BASE_URL",
  "ORLOJ_ANTHROPIC_BASE_URL",
  "ORLOJ_WORKER_HOST",
  "ORLOJ_WORKER_TLS_CERT",
  "ORLOJ_WORKER_TLS_KEY",
  "ORLOJ_WORKER_TLS_CLIENT_CA",
  "ORLOJ_WORKER_TLS_CRL",
  "ORLOJ_WORKER_TRUST_DOMAIN",
  "ORLOJ_WORKER_CA",
  "ORLOJ_WORKER_CERT",
  "ORLOJ_WORKER_KEY",
  "ORLOJ_WORKER_ENDPOINTS",
  "ORLOJ_WORKER_PROXY",
  "ORLOJ_WORKER_NAME",
  "ORLOJ_WORKER_SLOTS",
  "ORLOJ_DRAIN_WINDOW",
];

/** Names in the environment that begin with ORLOJ_ and that nobody reads, sorted. */
export function unknownConfigNames(env: Readonly<Record<string, string | undefined>>): string[] {
  return Object.keys(env)
    .filter((name) => name.startsWith("ORLOJ_") && !name.startsWith("ORLOJ_SECRET_") && !CONFIG_NAMES.includes(name))
    .sort();
}
